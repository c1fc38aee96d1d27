"""A pose from one X-ray and the CT it shows, for any patient.

After RTPIv3 of Chen et al. (ICASSP 2024, arXiv:2305.06252): a 3-D branch on the CT and a 2-D branch on the
X-ray meet in feature maps of one size. Ours are the frame of the CT, which makes the maps of both branches
show the same place at the same pixel, group instead of batch normalisation, and the bounded SO(4) head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from ..errors import UsageError
from ..geometry import Camera
from ..volumes import Volume
from ._blocks import standardized
from ._bounded_pose import BoundedPose, BoundedPoseConfig
from ._split_attention import SplitAttentionBottleneck, convolution
from .pose_space import PoseSpace

_POOLING = 2


@dataclass(frozen=True, kw_only=True)
class CTConditionedRegressorConfig(BoundedPoseConfig):
    """Architecture and reach of a `CTConditionedRegressor`. The defaults, 1 MB, suit processors.

    Attributes:
        image_px: side of the square images.
        image_channels: images that are looked at together, such as an X-ray and the DRR at the nominal view.
        cube_voxels: side of the cube of the CT, see `conditioning_cube`.
        feature_px: side of the maps in which the branches meet: `image_px` after as many halvings as there
            are `image_features` at most, and a multiple of half of `cube_voxels`.
        image_features: channels of the blocks of two convolutions on the image; the first of them halve it.
        volume_features: channels of the convolution on the whole cube, which is then halved, and of the
            blocks of two convolutions after it.
        depth_features: numbers that are left of each voxel of the halved cube.
        fused_features: channels after the branches met.
        stages: channels of the stages of convolution, split attention and halving.
        hidden: sizes of the hidden layers at the end.
        radix: branches of split attention.
        cardinality: channel groups of split attention.
        norm_groups: channel groups of the normalisation, or as many of them as divide the channels.
    """

    image_px: int = 64
    image_channels: int = 1
    cube_voxels: int = 32
    feature_px: int = 32
    image_features: tuple[int, ...] = (16, 32)
    volume_features: tuple[int, ...] = (8, 16, 32)
    depth_features: int = 8
    fused_features: int = 32
    stages: tuple[int, ...] = (32, 32, 16)
    hidden: tuple[int, ...] = (256, 64)
    radix: int = 2
    cardinality: int = 1
    norm_groups: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        widths = (*self.image_features, *self.volume_features, *self.stages, *self.hidden)
        if not (self.image_features and self.volume_features and self.stages):
            raise UsageError("image_features, volume_features and stages need at least one number each")
        if min(*widths, self.image_channels, self.depth_features, self.fused_features, self.norm_groups) < 1:
            raise UsageError("channels, hidden layers and norm_groups must be at least 1")
        if self.radix < 2 or self.cardinality < 1:
            raise UsageError(
                f"split attention needs a radix of at least 2 and a cardinality of at least 1, "
                f"not {self.radix} and {self.cardinality}"
            )
        if any(channels % (self.radix * self.cardinality) for channels in self.stages):
            raise UsageError(f"stages {self.stages} must be multiples of radix x cardinality")
        if self.feature_px < 1 or self.feature_px % 2 ** len(self.stages):
            raise UsageError(
                f"feature_px must be a multiple of {2 ** len(self.stages)}, for {len(self.stages)} stages to "
                f"halve it, not {self.feature_px}"
            )
        if self.image_px not in [self.feature_px * 2**n for n in range(len(self.image_features) + 1)]:
            raise UsageError(
                f"image_px must be feature_px ({self.feature_px}) or twice it, at most "
                f"{len(self.image_features)} times over, not {self.image_px}"
            )
        if self.cube_voxels < 2 or self.cube_voxels % 2 or self.feature_px % (self.cube_voxels // 2):
            raise UsageError(
                f"cube_voxels must be even and its half divide feature_px ({self.feature_px}), "
                f"not {self.cube_voxels}"
            )
        if self.depth_features % self.enlargement**2:
            raise UsageError(
                f"depth_features must be a multiple of {self.enlargement**2} for maps of {self.feature_px} "
                f"px from a cube of {self.cube_voxels} voxels, not {self.depth_features}"
            )

    @classmethod
    def paper(cls, **settings: object) -> CTConditionedRegressorConfig:
        """For a GPU: the published widths, about 2 million parameters. `settings` replace fields."""
        published = {
            "image_px": 256,
            "cube_voxels": 64,
            "feature_px": 64,
            "image_features": (64, 128),
            "volume_features": (1, 64, 128),
            "depth_features": 16,
            "fused_features": 128,
            "stages": (64, 32, 16),
            "hidden": (512, 128),
        }
        return cls(**{**published, **settings})  # type: ignore[arg-type]

    @property
    def halvings(self) -> int:
        """Of the image until the branches meet."""
        return (self.image_px // self.feature_px).bit_length() - 1

    @property
    def enlargement(self) -> int:
        """Of the halved cube's maps until the branches meet."""
        return self.feature_px * _POOLING // self.cube_voxels

    @property
    def ct_features(self) -> int:
        """Channels of the CT's maps where the branches meet."""
        return self.depth_features * self.cube_voxels // (_POOLING * self.enlargement**2)


class CTConditionedRegressor(nn.Module):
    """Predicts the motion [B, 4, 4] of a `PoseSpace` from images and the CT they show, in float64.

    The depth of the CT's features becomes channels, so that a pixel of their maps holds what lies along that
    pixel of the image in the nominal view. Where the maps are finer than the halved cube, each voxel's
    numbers are dealt out to the pixels it covers (sub-pixel convolution, Shi et al. 2016).
    """

    def __init__(self, config: CTConditionedRegressorConfig) -> None:
        super().__init__()
        self.config = config
        groups = config.norm_groups
        self.volume = nn.Sequential(
            convolution(3, 1, config.volume_features[0], groups),
            nn.MaxPool3d(_POOLING),
            *_blocks(3, config.volume_features, groups),
            nn.Conv3d(config.volume_features[-1], config.depth_features, 1),
        )
        image: list[nn.Module] = []
        for index, block in enumerate(_blocks(2, (config.image_channels, *config.image_features), groups)):
            image += [block, nn.AvgPool2d(2)] if index < config.halvings else [block]
        self.image = nn.Sequential(*image)
        met = config.ct_features + config.image_features[-1]
        stages: list[nn.Module] = [convolution(2, met, config.fused_features, groups)]
        for below, here in pairwise((config.fused_features, *config.stages)):
            stages += [
                convolution(2, below, here, groups),
                SplitAttentionBottleneck(here, config.radix, config.cardinality, groups),
                nn.MaxPool2d(2),
            ]
        self.stages = nn.Sequential(*stages)
        self._decode = BoundedPose(config)
        pixels = (config.feature_px // 2 ** len(config.stages)) ** 2
        sizes = (config.stages[-1] * pixels, *config.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for below, here in pairwise(sizes):
            layers += [nn.Linear(below, here), nn.ReLU()]
        last = nn.Linear(sizes[-1], self._decode.outputs)
        self._decode.start_nominal(last)
        self.output = nn.Sequential(*layers, last)

    def forward(self, image: Tensor, ct: Tensor) -> Tensor:
        """Motion [B, 4, 4] float64 predicted from images and the CT of all of them, or of each.

        Args:
            image: [B, H, W], or [B, C, H, W] for several channels, each of any tone.
            ct: cubes [1 or B, D, D, D] of `conditioning_cube`.

        Raises:
            UsageError: images or cubes of another size than the configuration says.
        """
        return self.predict(image, self.encode_ct(ct))

    def encode_ct(self, ct: Tensor) -> Tensor:
        """Features [N, C, h, w] of cubes [N, D, D, D], for `predict`.

        Raises:
            UsageError: cubes of another size than the configuration says.
        """
        config = self.config
        _check_shape("cubes of the CT", ct.shape[1:], (config.cube_voxels,) * 3)
        # Over all three axes at once: contrast between slices is what tells them apart.
        cube = standardized(ct.flatten(-2)).unflatten(-1, ct.shape[-2:])
        voxels = self.volume(cube[:, None])
        return nn.functional.pixel_shuffle(voxels.transpose(1, 2).flatten(1, 2), config.enlargement)

    def predict(self, image: Tensor, features: Tensor) -> Tensor:
        """Motion [B, 4, 4] float64 predicted from images and the features of `encode_ct`.

        Args:
            image: [B, H, W], or [B, C, H, W] for several channels, each of any tone.
            features: [1 or B, C, h, w], of the one CT of all images or of each image's own.

        Raises:
            UsageError: images of another size than the configuration says, or features of neither one nor
                as many CTs as there are images.
        """
        config = self.config
        image = image[:, None] if image.ndim == 3 else image
        _check_shape("images", image.shape[1:], (config.image_channels, config.image_px, config.image_px))
        if len(features) not in (1, len(image)):
            raise UsageError(
                f"{len(image)} images go with features of 1 or {len(image)} CTs, not {len(features)}"
            )
        seen = self.image(standardized(image))
        fused = torch.cat([features.expand(len(image), -1, -1, -1), seen], 1)
        return self._decode(self.output(self.stages(fused)))


def conditioning_cube(volume: Volume, space: PoseSpace, camera: Camera, voxels: int) -> Tensor:
    """A CT as a `CTConditionedRegressor` sees it: attenuation [1/mm] in the axes of the nominal view.

    The cube [depth, row, column], float32, lies about the isocentre. Rows and columns run as those of the
    image do and span its field of view at the isocentre's depth: a row or column is where the image, resized
    to `voxels` x `voxels` px, shows that plane in the nominal view. Depth runs away from the source, with the
    isocentre in the middle and voxels as long as they are wide (as their longer side, for images that are
    not square). There is no perspective in it. The CT is averaged over blocks about as large as the cube's
    voxels, then interpolated linearly; outside of it there is air.

    Raises:
        UsageError: less than one voxel, or an isocentre that is not in front of the source.
    """
    if voxels < 1:
        raise UsageError(f"a cube needs at least one voxel along each side, not {voxels}")
    camera_from_world = np.array(space.nominal_camera_from_world)
    depth_mm = float(camera_from_world[2] @ (*space.isocentre_world, 1.0))
    if depth_mm <= 0:
        raise UsageError(f"the isocentre must be in front of the source, not at a depth of {depth_mm:.6g} mm")
    view = camera.resize(height=voxels, width=voxels)
    column_mm, row_mm = depth_mm / view.fx, depth_mm / view.fy
    voxel_mm = max(abs(column_mm), abs(row_mm))
    camera_from_cube = np.array(
        [
            [0.0, 0.0, column_mm, -column_mm * view.cx],
            [0.0, row_mm, 0.0, -row_mm * view.cy],
            [voxel_mm, 0.0, 0.0, depth_mm - voxel_mm * (voxels - 1) / 2],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )
    coarse = volume.coarsened(voxel_mm)
    voxel_from_cube = np.linalg.inv(camera_from_world @ coarse.world_from_voxel) @ camera_from_cube
    cube = ndimage.affine_transform(
        coarse.attenuation(), voxel_from_cube, output_shape=(voxels,) * 3, order=1, mode="grid-constant"
    )
    return torch.from_numpy(cube)


def _blocks(dimensions: int, channels: Sequence[int], norm_groups: int) -> list[nn.Module]:
    """Blocks of two convolutions, each from one of the channels to the next."""
    return [
        nn.Sequential(
            convolution(dimensions, below, here, norm_groups),
            convolution(dimensions, here, here, norm_groups),
        )
        for below, here in pairwise(channels)
    ]


def _check_shape(what: str, shape: Sequence[int], expected: Sequence[int]) -> None:
    if tuple(shape) != tuple(expected):
        sizes = [" x ".join(map(str, sides)) for sides in (expected, shape)]
        raise UsageError(f"this network takes {what} of {sizes[0]}, not {sizes[1]}")
