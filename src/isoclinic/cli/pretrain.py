"""`isoclinic pretrain`: networks for the registration of any patient."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import torch
from tyro.conf import Positional

from ..errors import InputError, UsageError
from ..registration import InputFile
from ..training import Subject, TrainConfig, Trainer, TrainingData
from ..volumes import Volume, VoxelIdentity, find_volumes, looks_like_labels
from . import _training
from ._detector import DetectorOptions
from ._options import FLAT, parse_options
from ._train_options import PRETRAIN_PRESETS, TrainingOptions, of_length


@dataclass(frozen=True, kw_only=True)
class PretrainOptions:
    """Train networks on simulated X-rays of many patients, to register X-rays of any.

    The patients are variations of the CTs (turned, scaled, mirrored, bent, of other bone and fat, cut) and
    synthetic skeletons. Ctrl-C stops after the batch at hand and keeps what has been learned; --resume goes
    on from there exactly. What matters is how the networks do on patients they have not seen: hold some out.

    Attributes:
        folder: CTs at any depth: NIfTI, NRRD, MetaImage or folders of DICOM files; files whose name ends in
            _label, _labels, _mask, _seg and the like are left out.
        output: folder for the networks (model.safetensors), their curves (training.png, training.csv) and
            what it takes to go on (state.safetensors), written every few minutes.
        held_out: CTs to validate on, which are not trained on even where they lie in the folder.
        minutes: time to train for, validations included; by default what the preset says.
        images: simulated X-rays to train on, instead of minutes.
        preset: where all further options start from: "any-patient" suits an hour on a processor; "paper" is
            the published training, number by number, of the CTs as they are, and takes days on a GPU.
        device: to train on; "auto" is a GPU where there is one.
        resume: go on with the training that the output folder holds; all other options must be as they were,
            but for its length.
        overwrite: replace an older training.
        tensorboard: write the curves for TensorBoard, too, into the output folder.
        config: TOML file with any of these options, and with those of the cohort; the command line wins.
        detector: of the X-rays.
        training: what is trained and how.
    """

    folder: Positional[Path]
    output: Path
    held_out: tuple[Path, ...] = ()
    minutes: float | None = None
    images: int | None = None
    preset: Literal["any-patient", "paper"] = "any-patient"
    device: _training.Device = "auto"
    resume: bool = False
    overwrite: bool = False
    tensorboard: bool = False
    config: Path | None = None
    detector: Annotated[DetectorOptions, FLAT] = field(default_factory=DetectorOptions)
    training: Annotated[TrainingOptions, FLAT] = field(
        default_factory=lambda: TrainingOptions.of(TrainConfig.any_patient())
    )


def _subject(path: Path, config: TrainConfig) -> Subject:
    """A CT to train on.

    Of a cohort only what it is made from: many CTs at full resolution would fill the memory.

    Raises:
        InputError: it is a label map by its values, or cannot be read.
    """
    volume = Volume.read(path)
    if looks_like_labels(volume):
        raise InputError(
            f"{path} looks like a label map, not like a CT: it has few values, all of them whole and none "
            "negative. Move it elsewhere, or call it ..._labels, so that it is left out"
        )
    voxels = VoxelIdentity.of(volume)
    if config.cohort is not None:
        volume = volume.coarsened(config.cohort.voxel_mm)
    return Subject(volume=volume, sha256=InputFile.of(path).sha256, voxels=voxels)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(PretrainOptions, "pretrain", arguments, PRETRAIN_PRESETS)

    def prepare(device: torch.device) -> Trainer:
        config = of_length(options.training, options.minutes, options.images)
        held_out = {path.resolve() for path in options.held_out}
        paths = [path for path in find_volumes(options.folder) if path.resolve() not in held_out]
        if not paths:
            raise UsageError(f"all CTs in {options.folder} are held out; leave some to train on")
        subjects = tuple(_subject(path, config) for path in paths)
        validated = tuple(
            Subject(volume=Volume.read(path), sha256=InputFile.of(path).sha256) for path in options.held_out
        )
        data = TrainingData(
            subjects=subjects, camera=options.detector.camera, held_out=validated, one_patient=False
        )
        return Trainer(data, config, device)

    output = shlex.quote(str(options.output))
    _training.run(
        options,
        prepare,
        f"Register X-rays of any patient with it, or train it on for one:\n"
        f"isoclinic register XRAY --volume CT --model {output} --output RESULT\n"
        f"isoclinic adapt {output} CT --output MODEL",
    )
