"""Options of `isoclinic pretrain`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from ..training import TrainConfig
from ._detector import DetectorOptions
from ._options import FLAT, parse_options
from ._run_options import RunOptions
from ._train_options import PRETRAIN_PRESETS, TrainingOptions


@dataclass(frozen=True, kw_only=True)
class PretrainOptions(RunOptions):
    """Train networks on simulated X-rays of many patients, to register X-rays of any patient.

    The patients are variations of the CTs (turned, scaled, mirrored, bent, of other bone and fat, cut) and
    synthetic skeletons. Ctrl-C stops after the current batch and saves the training; --resume continues
    exactly from there. Hold some CTs out, because the networks must work on patients that they have not seen.

    Attributes:
        folder: CTs at any depth: NIfTI, NRRD, MetaImage or folders of DICOM files; files whose name ends
            in _label, _labels, _mask, _seg and the like are left out.
        held_out: CTs for validation only; they are never trained on, even if they are in the folder.
        preset: defaults of all further options: "any-patient" suits an hour on a processor; "paper" is
            the published training, number by number, of the CTs as they are, and takes days on a GPU.
        config: TOML file with any of these options, and with those of the cohort; the command line overrides
            the file.
        detector: the detector of the X-rays.
        training: settings of the training.
    """

    folder: Positional[Path]
    held_out: tuple[Path, ...] = ()
    preset: Literal["any-patient", "paper"] = "any-patient"
    detector: Annotated[DetectorOptions, FLAT] = field(default_factory=DetectorOptions)
    training: Annotated[TrainingOptions, FLAT] = field(
        default_factory=lambda: TrainingOptions.of(TrainConfig.any_patient())
    )


def parse(arguments: Sequence[str]) -> PretrainOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(PretrainOptions, "pretrain", arguments, PRETRAIN_PRESETS)
