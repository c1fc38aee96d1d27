"""Options of `isoclinic train`: those of a training, most of its networks' details in a TOML file only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from tyro.conf import AvoidSubcommands, Positional, Suppress

from ..anatomy import CohortConfig
from ..errors import UsageError
from ..networks import (
    CanonicalConfig,
    CTConditionedRegressorConfig,
    PoseRegressorConfig,
    SphericalEncoderConfig,
)
from ..training import (
    CanonicalPhase,
    CTRegressorPhase,
    EncoderPhase,
    OptimizerConfig,
    PoseConfig,
    RandomizationConfig,
    RegressorPhase,
    TrainConfig,
)
from ..training.part_config import PartConfig, SurroundingsConfig
from ..volumes import XRayOptions
from ._detector import DetectorOptions
from ._options import FLAT, parse_options
from ._run_options import RunOptions

if TYPE_CHECKING:
    from ..geometry import Camera

Preset = Literal["fast", "hospital", "part", "paper", "paper-batched"]


@dataclass(frozen=True, kw_only=True)
class _Geometry(XRayOptions):
    """`XRayOptions` without what says nothing about the detector."""

    source_isocentre_mm: Suppress[float | None] = XRayOptions.source_isocentre_mm
    primary_angle_deg: Suppress[float | None] = XRayOptions.primary_angle_deg
    secondary_angle_deg: Suppress[float | None] = XRayOptions.secondary_angle_deg
    frame: Suppress[int | None] = XRayOptions.frame
    polarity: Suppress[Literal["auto", "bright_air", "dark_air"]] = XRayOptions.polarity
    pixel_scale: Suppress[Literal["auto", "linear", "log"]] = XRayOptions.pixel_scale
    exclude: Suppress[Path | None] = XRayOptions.exclude


@dataclass(frozen=True, kw_only=True)
class _Poses(PoseConfig):
    """Poses of the X-rays that networks are trained on.

    `PoseConfig` without perturbations, which each network has its own of.
    """

    perturbation_mm: Suppress[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class _Regressor(RegressorPhase):
    """How the pose regressor is trained.

    `RegressorPhase` whose details are set in a TOML file only.
    """

    optimizer: Suppress[OptimizerConfig]
    network: Suppress[PoseRegressorConfig]


@dataclass(frozen=True, kw_only=True)
class _CTRegressor(CTRegressorPhase):
    """How the pose regressor that sees the CT, too, is trained.

    `CTRegressorPhase` whose details are set in a TOML file only.
    """

    optimizer: Suppress[OptimizerConfig]
    network: Suppress[CTConditionedRegressorConfig]


@dataclass(frozen=True, kw_only=True)
class _Encoder(EncoderPhase):
    """How this encoder of the learned similarity is trained.

    `EncoderPhase` whose details are set in a TOML file only.
    """

    optimizer: Suppress[OptimizerConfig]
    network: Suppress[SphericalEncoderConfig]


@dataclass(frozen=True, kw_only=True)
class _Canonical(CanonicalPhase):
    """How the canonical network is trained.

    `CanonicalPhase` whose details are set in a TOML file only.
    """

    optimizer: Suppress[OptimizerConfig]
    network: Suppress[CanonicalConfig]


@dataclass(frozen=True, kw_only=True)
class _Part(PartConfig):
    """What the CT is if it is only part of what X-rays show: a bone or an implant.

    `PartConfig` whose details are set in a TOML file only.
    """

    surroundings: Suppress[SurroundingsConfig]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions(TrainConfig):
    """`TrainConfig` whose length is the command's own, and whose details are set in a TOML file only.

    Attributes:
        poses: views, and how the CT may lie in them.
        pose_regressor: its training.
        ct_regressor: its training.
        coarse_encoder: its training.
        fine_encoder: its training.
        canonical: its training.
        part: what the CT is if it is only part of what X-rays show.
    """

    minutes: Suppress[float]
    images: Suppress[int | None]
    randomization: Suppress[RandomizationConfig]
    poses: _Poses
    pose_regressor: _Regressor
    ct_regressor: _CTRegressor
    coarse_encoder: _Encoder
    fine_encoder: _Encoder
    canonical: _Canonical
    cohort: Suppress[CohortConfig | None]
    part: Annotated[_Part | None, AvoidSubcommands]

    @classmethod
    def of(cls, config: TrainConfig) -> TrainingOptions:
        """The same training as options."""
        parts: dict[str, Any] = {
            "poses": _Poses,
            "pose_regressor": _Regressor,
            "ct_regressor": _CTRegressor,
            "coarse_encoder": _Encoder,
            "fine_encoder": _Encoder,
            "canonical": _Canonical,
        }
        parts = {name: kind(**vars(getattr(config, name))) for name, kind in parts.items()}
        parts["part"] = None if config.part is None else _Part(**vars(config.part))
        return cls(**vars(config) | parts)


PRESETS: dict[str, dict[str, TrainingOptions]] = {
    "fast": {"training": TrainingOptions.of(TrainConfig.fast())},
    "hospital": {"training": TrainingOptions.of(TrainConfig.hospital())},
    "part": {"training": TrainingOptions.of(TrainConfig.for_part())},
    "paper": {"training": TrainingOptions.of(TrainConfig.paper())},
    "paper-batched": {"training": TrainingOptions.of(TrainConfig.paper_batched())},
}
PRETRAIN_PRESETS: dict[str, dict[str, TrainingOptions]] = {
    "any-patient": {"training": TrainingOptions.of(TrainConfig.any_patient())},
    "paper": {"training": TrainingOptions.of(TrainConfig.paper_any_patient())},
}


def of_length(training: TrainConfig, minutes: float | None, images: int | None) -> TrainConfig:
    """A training of so many minutes or X-rays; of its own length where both are None.

    Raises:
        UsageError: both are given, or a length that is not positive.
    """
    if minutes is not None and images is not None:
        raise UsageError(
            "--minutes and --images both say how long to train; give one of them", code="options.conflict"
        )
    if images is not None:
        return replace(training, images=images)
    return training if minutes is None else replace(training, minutes=minutes, images=None)


@dataclass(frozen=True, kw_only=True)
class TrainOptions(RunOptions):
    """Train networks on simulated X-rays of a CT, which register X-rays of this patient without a start.

    Ctrl-C stops after the current batch and saves the training; --resume continues exactly from there.

    Attributes:
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        preset: defaults of all further options: "fast" suits half an hour on a processor; "hospital" is the
            same on X-rays with metal, few quanta and other trouble, and needs more of them; "part" is for a
            bone or an implant alone, or a structure of the CT, beside which X-rays show much else; "paper" is
            the published training, number by number, and takes days on a GPU; "paper-batched" has its numbers
            of X-rays in fewer, larger batches that share renderings.
        labels: label map of the CT, which --part.structures chooses from.
        xray: an X-ray like those to be registered, for the geometry of the detector.
        width: columns of the detector, without an X-ray [px].
        height: rows of the detector, without an X-ray [px].
        xray_options: settings of how to read the X-ray; without one, its geometry.
        training: settings of the training.
    """

    volume: Positional[Path]
    preset: Preset = "fast"
    labels: Path | None = None
    xray: Path | None = None
    width: int = DetectorOptions.width
    height: int = DetectorOptions.height
    xray_options: Annotated[_Geometry, FLAT] = field(default_factory=_Geometry)
    training: Annotated[TrainingOptions, FLAT] = field(default_factory=lambda: PRESETS["fast"]["training"])

    def check(self) -> None:
        """Raises UsageError for options that exclude or need each other."""
        of_file = replace(self.xray_options, sdd_mm=None, pixel_spacing_mm=None)
        if self.xray is None and of_file != _Geometry():
            raise UsageError(
                "reading options need an X-ray to apply to: add --xray",
                code="options.unknown-name",
            )
        structures = None if self.training.part is None else self.training.part.structures
        if (self.labels is None) != (structures is None):
            raise UsageError(
                "--labels is the label map that --part.structures chooses from, with --preset part: "
                "give both, or none",
                code="options.conflict",
            )
        size = self.width, self.height
        if self.xray is not None and size != (DetectorOptions.width, DetectorOptions.height):
            raise UsageError(
                "--width and --height are those of --xray; leave them out, or the X-ray",
                code="options.conflict",
            )

    @property
    def train_config(self) -> TrainConfig:
        """What is trained and how long.

        Raises:
            UsageError: a length that is not positive, or two of them.
        """
        return of_length(self.training, self.minutes, self.images)

    def camera(self) -> Camera:
        """Geometry of the X-rays to train on.

        Raises:
            InputError, UsageError: the X-ray cannot be read, or numbers that are no geometry.
        """
        if self.xray is not None:
            from ..volumes import XRay  # it takes torch with it, which options do without

            return XRay.read(self.xray, self.xray_options).camera
        given = {name: getattr(self.xray_options, name) for name in ("sdd_mm", "pixel_spacing_mm")}
        known = {name: value for name, value in given.items() if value is not None}
        return DetectorOptions(width=self.width, height=self.height, **known).camera


def parse(arguments: Sequence[str]) -> TrainOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(TrainOptions, "train", arguments, PRESETS)
