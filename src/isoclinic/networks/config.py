"""Architectures of the networks: options only, importable without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, get_args

from ..errors import UsageError

Metric = Literal["spherical", "euclidean"]


@dataclass(frozen=True, kw_only=True)
class BackboneConfig:
    """A convolutional pyramid with Transformer blocks at its top and a light decoder.

    Every activation is smooth (GELU), because losses and the solver differentiate the network by its input,
    and normalisation is by groups, because they look at single images.

    Attributes:
        channels: channels of the levels; each after the first has half the resolution of the one before, the
            first that of the image.
        transformer_blocks: number of Transformer blocks on the tokens of the coarsest level.
        heads: attention heads of each block; divide the last of `channels`.
        norm_groups: channel groups of the normalisation; divide all of `channels`.
        first_stride: 2 where the first level already has half the resolution of the image, which is most of
            the arithmetic; else 1.
        contrast_px: odd side of the window [px] within which the image is standardised to become a second
            channel, which tone, scatter and shading change least; 0 for the image alone.
    """

    channels: tuple[int, ...] = (16, 32, 64, 96)
    transformer_blocks: int = 2
    heads: int = 4
    norm_groups: int = 8
    first_stride: int = 1
    contrast_px: int = 0

    def __post_init__(self) -> None:
        if len(self.channels) < 2 or any(channels % self.norm_groups for channels in self.channels):
            raise UsageError(
                f"channels {self.channels} must be two or more multiples of {self.norm_groups}",
                code="model.invalid-value",
            )
        if self.channels[-1] % self.heads or self.channels[-1] % 4:
            raise UsageError(
                f"{self.channels[-1]} channels must be a multiple of 4 and of {self.heads} heads",
                code="model.invalid-value",
            )
        if self.first_stride not in (1, 2):
            raise UsageError(
                f"first_stride must be 1 or 2, not {self.first_stride}", code="model.invalid-value"
            )
        if self.contrast_px != 0 and (self.contrast_px < 3 or self.contrast_px % 2 == 0):
            raise UsageError(
                f"contrast_px must be odd and at least 3, or 0 for none, not {self.contrast_px}",
                code="model.invalid-value",
            )

    @property
    def stride(self) -> int:
        """Pixels from one token to the next."""
        return self.first_stride * 2 ** (len(self.channels) - 1)


ImageDomain = Literal["line_integrals", "log_ratio"]

Head = Literal["so4", "quaternion", "matrix"]

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class BoundedPoseConfig:
    """What a pose regressor emits, and its reach.

    Attributes:
        head: the output of the network: two quaternions ("so4"), a quaternion and a translation, or the first
            two columns of a rotation matrix and a translation (Zhou et al. 2019); the last two as ablations.
        length_mm: characteristic length L of the SO(4) head, that of the `PoseSpace` it is trained in.
        rotation_deg: largest rotation vector about the camera's x, y, z [deg].
        translation_mm: largest translation of the isocentre along x, y, z (for "so4" each on its own) [mm].
    """

    head: Head = "so4"
    length_mm: float = 100.0
    rotation_deg: Triple = (60.0, 75.0, 45.0)
    translation_mm: Triple = (90.0, 90.0, 225.0)

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise UsageError(
                f"head must be one of {', '.join(get_args(Head))}, not {self.head!r}",
                code="model.invalid-value",
            )
        if not all(bound > 0 for bound in (*self.rotation_deg, *self.translation_mm, self.length_mm)):
            raise UsageError(
                "rotation_deg, translation_mm and length_mm must be positive", code="model.invalid-value"
            )
        if math.hypot(*self.rotation_deg) >= 180:
            raise UsageError(
                f"rotation_deg {self.rotation_deg} must together stay below 180 degrees",
                code="model.invalid-value",
            )
        if math.hypot(*self.translation_angles) >= math.pi / 2:
            raise UsageError(
                f"translation_mm {self.translation_mm} reaches too far for length_mm {self.length_mm}: "
                "the angles arctan(translation / 2 length) must together stay below 90 degrees",
                code="model.invalid-value",
            )

    @property
    def translation_angles(self) -> Triple:
        """What the largest translations are in SO(4), arctan(t / 2L) [rad]."""
        x, y, z = (math.atan(t / (2 * self.length_mm)) for t in self.translation_mm)
        return x, y, z


@dataclass(frozen=True, kw_only=True)
class PoseRegressorConfig(BoundedPoseConfig):
    """Architecture and reach of a `PoseRegressor`.

    Attributes:
        width: channels of the first stage; ResNet-18 has 64.
        norm: normalisation. "batch" is ResNet's own; "group" does not depend on what else is in the batch.
        groups: channel groups of "group".
    """

    width: int = 64
    norm: Literal["batch", "group"] = "batch"
    groups: int = 8


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
            raise UsageError(
                "image_features, volume_features and stages need at least one number each",
                code="model.invalid-value",
            )
        if min(*widths, self.image_channels, self.depth_features, self.fused_features, self.norm_groups) < 1:
            raise UsageError(
                "channels, hidden layers and norm_groups must be at least 1", code="model.invalid-value"
            )
        if self.radix < 2 or self.cardinality < 1:
            raise UsageError(
                f"split attention needs a radix of at least 2 and a cardinality of at least 1, "
                f"not {self.radix} and {self.cardinality}",
                code="model.invalid-value",
            )
        if any(channels % (self.radix * self.cardinality) for channels in self.stages):
            raise UsageError(
                f"stages {self.stages} must be multiples of radix x cardinality", code="model.invalid-value"
            )
        if self.feature_px < 1 or self.feature_px % 2 ** len(self.stages):
            raise UsageError(
                f"feature_px must be a multiple of {2 ** len(self.stages)}, for {len(self.stages)} stages to "
                f"halve it, not {self.feature_px}",
                code="model.invalid-value",
            )
        if self.image_px not in [self.feature_px * 2**n for n in range(len(self.image_features) + 1)]:
            raise UsageError(
                f"image_px must be feature_px ({self.feature_px}) or twice it, at most "
                f"{len(self.image_features)} times over, not {self.image_px}",
                code="model.invalid-value",
            )
        if self.cube_voxels < 2 or self.cube_voxels % 2 or self.feature_px % (self.cube_voxels // 2):
            raise UsageError(
                f"cube_voxels must be even and its half divide feature_px ({self.feature_px}), "
                f"not {self.cube_voxels}",
                code="model.invalid-value",
            )
        if self.depth_features % self.enlargement**2:
            raise UsageError(
                f"depth_features must be a multiple of {self.enlargement**2} for maps of {self.feature_px} "
                f"px from a cube of {self.cube_voxels} voxels, not {self.depth_features}",
                code="model.invalid-value",
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


@dataclass(frozen=True, kw_only=True)
class SphericalEncoderConfig:
    """Architecture of a `SphericalEncoder`. The defaults, half a million parameters, suit processors.

    Attributes:
        backbone: the network below the head.
        head: "global" for elements of the whole image; "dense" for elements at every location of a map, whose
            squared distances are averaged; "motion" for a map whose differences are read together (see
            the module `networks.embedding`).
        elements: SO(4) elements K, of the image or of each location.
        dense_level: level of the pyramid that "dense" and "motion" decode to: every level halves the map.
        readings: numbers that "motion" reads from the differences, at least 6.
        metric: "spherical", or "euclidean" for the same network without normalisation, as an ablation.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    head: Literal["global", "dense", "motion"] = "global"
    elements: int = 8
    dense_level: int = 2
    metric: Metric = "spherical"
    readings: int = 16

    def __post_init__(self) -> None:
        if self.readings < 6:
            raise UsageError(f"readings must be at least 6, not {self.readings}", code="model.invalid-value")
        if not 0 <= self.dense_level < len(self.backbone.channels):
            raise UsageError(
                f"dense_level must be a level of the pyramid, not {self.dense_level}",
                code="model.invalid-value",
            )

    @classmethod
    def paper(cls, **settings: object) -> SphericalEncoderConfig:
        """For a GPU: about 7 million parameters. `settings` replace fields."""
        backbone = BackboneConfig(channels=(32, 64, 128, 256), transformer_blocks=6, heads=8)
        return cls(**{"backbone": backbone, "elements": 16, **settings})  # type: ignore[arg-type]

    @classmethod
    def motion(cls, **settings: object) -> SphericalEncoderConfig:
        """The encoder whose distance is read from all locations together. `settings` replace fields."""
        backbone = BackboneConfig(channels=(32, 64, 96), first_stride=2, contrast_px=15)
        chosen = {"backbone": backbone, "head": "motion", "elements": 6, "dense_level": 2, **settings}
        return cls(**chosen)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class CanonicalConfig:
    """Architecture of a `CanonicalNetwork`, and what it is to predict.

    Attributes:
        backbone: the U-Net, decoded to full resolution.
        window_px: side of the window within which DRRs are standardised [px], odd.
        floor: contrast below which a window counts as flat [line integrals].
        log_precision_range: bound on the absolute logarithm of the precision.
        hint: whether the network sees a second image, the rendering at the start of a registration, which
            says what to look for and about where: for parts, which may be turned any way.
        saturation: line integral towards which renderings saturate before they are standardised, as
            what metal lets through vanishes in scatter; None to leave them as they are.
    """

    backbone: BackboneConfig = field(default_factory=BackboneConfig)
    window_px: int = 31
    floor: float = 0.05
    log_precision_range: float = 6.0
    hint: bool = False
    saturation: float | None = None

    def __post_init__(self) -> None:
        if self.window_px < 3 or self.window_px % 2 == 0:
            raise UsageError(
                f"window_px must be odd and at least 3, not {self.window_px}", code="model.invalid-value"
            )
        if self.backbone.first_stride != 1:
            raise UsageError(
                "the canonical image has all pixels: its backbone needs first_stride 1",
                code="model.invalid-value",
            )
        if not (self.floor > 0 and self.log_precision_range > 0):
            raise UsageError("floor and log_precision_range must be positive", code="model.invalid-value")
        if self.saturation is not None and not self.saturation > 0:
            raise UsageError("saturation must be positive, or None", code="model.invalid-value")
