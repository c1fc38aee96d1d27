"""A pose from one X-ray and the CT it shows, for any patient.

After RTPIv3 of Chen et al. (ICASSP 2024, arXiv:2305.06252): a 3-D branch on the CT and a 2-D branch on the
X-ray meet in feature maps of one size. Ours are the frame of the CT, which makes the maps of both branches
show the same place at the same pixel, group instead of batch normalisation, and the bounded SO(4) head.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor, nn

from ..errors import UsageError
from ..geometry import Camera
from ..volumes import Volume
from ._blocks import standardized
from ._bounded_pose import BoundedPose
from ._split_attention import SplitAttentionBottleneck, convolution
from .config import _POOLING, CTConditionedRegressorConfig
from .pose_space import PoseSpace


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
                f"{len(image)} images go with features of 1 or {len(image)} CTs, not {len(features)}",
                code="model.wrong-shape",
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
        raise UsageError(
            f"a cube needs at least one voxel along each side, not {voxels}", code="model.invalid-value"
        )
    camera_from_world = np.array(space.nominal_camera_from_world)
    depth_mm = float(camera_from_world[2] @ (*space.isocentre_world, 1.0))
    if depth_mm <= 0:
        raise UsageError(
            f"the isocentre must be in front of the source, not at a depth of {depth_mm:.6g} mm",
            code="model.invalid-value",
        )
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
        raise UsageError(f"this network takes {what} of {sizes[0]}, not {sizes[1]}", code="model.wrong-shape")
