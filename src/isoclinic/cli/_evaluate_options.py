"""Options of `isoclinic evaluate`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional

from .._spread_config import SpreadConfig
from ..evaluation import EvaluationConfig
from ._dataset import SourceOptions
from ._model_names import DEFAULT
from ._options import FLAT, REGISTRATION_PRESETS, RegistrationOptions, parse_options


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(SourceOptions):
    """Register X-rays whose poses are known, and report the errors.

    The source is a public data set or a folder of cases: folders with `truth.json`, an
    object with `extrinsic` (camera_from_world, 4x4), `landmarks` (points in the world, RAS
    mm), `inits` (starting poses by name), `xray` and `ct` (files, relative to the folder).
    Without `xray` it is `xray.dcm` in the folder. Registrations that the output folder
    already contains are not repeated, so the same command continues an interrupted
    evaluation.

    Attributes:
        source: file of the data set, or folder of cases at any depth.
        output: folder for the report (report.html, tables, pictures), all measurements (measurements.csv),
            and every pose (cases/SAMPLE/START/METHOD/pose.json).
        subjects: patients or specimens whose X-rays are used; by default all.
        max_samples: largest number of X-rays of each subject, the first ones.
        methods: methods to compare: "isoclinic", as the options below say; "isoclinic-single", the
            same from one start without any search; "paper", the published system, which needs a
            model; "xvr", "diffdrr", "cmaes", others' recipes; NAME=FILE.toml, a configuration of this
            library's registration. By default "isoclinic", or those of the table.
        starts: starting poses: "none" for no initial pose (with a model, the pose that it predicts), "dicom"
            for the C-arm's angles, a view ("ap", "pa", "left", "right"), a name of `inits` in truth.json, or
            a random pose: "mtre:30" has an mTRE of 30 mm, and "diffpose", "diffpose-ljubljana", "xvr",
            as well as "xvr-ljubljana", "prost" and "lra-cma", are drawn from published ranges. By default
            those of the table, else all that truth.json names, else "none".
        seed: seed of random starts.
        model: networks that isoclinic train made for the CT, or pretrain for any, or SUBJECT=MODEL for each
            subject: model files, or the folders they are in. "default" are those that come with isoclinic,
            as a last resort; "none" uses no networks.
        train_minutes: train a model for this many minutes for each subject that has none, into models/ of the
            output folder: one for each subject, or for a patient-agnostic table one for each half of the
            subjects, on the CTs of the other half.
        train_images: simulated X-rays to train each of them on, instead of minutes.
        train_preset: preset of their training, as of isoclinic train and pretrain.
        train_config: TOML file with further options of that training.
        table: measure a published table, by its name; --list names them.
        list: list the published tables and do nothing else.
        overwrite: replace results of other settings or other files in the output folder.
        json: print the table as JSON.
        preset: defaults of the registration's options: "isoclinic", or "paper" for the published one, which
            the method "paper" always uses.
        config: TOML file with any of these options; the command line overrides the file.
        spread: processes or machines; one thread a registration, unless the options say otherwise, so that
            errors are the same wherever they run. Give one registration at a time all cores to measure its
            run time as people see it.
        registration: settings of the registration.
    """

    source: Positional[Path]
    output: Path
    subjects: tuple[str, ...] | None = None
    max_samples: int | None = None
    methods: tuple[str, ...] | None = None
    starts: tuple[str, ...] | None = None
    seed: int = EvaluationConfig.seed
    model: tuple[str, ...] = (DEFAULT,)
    train_minutes: float | None = None
    train_images: int | None = None
    train_preset: Literal["fast", "paper", "paper-batched"] | None = None
    train_config: Path | None = None
    table: str | None = None
    list: bool = False
    overwrite: bool = False
    json: bool = False
    preset: Literal["isoclinic", "paper"] = "isoclinic"
    config: Path | None = None
    spread: Annotated[SpreadConfig, FLAT] = field(default_factory=lambda: SpreadConfig(threads=1))
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)


def parse(arguments: Sequence[str]) -> EvaluateOptions | None:
    """The options of a command line; None for --list, which needs no others."""
    if "--list" in arguments:
        return None
    return parse_options(EvaluateOptions, "evaluate", arguments, REGISTRATION_PRESETS)
