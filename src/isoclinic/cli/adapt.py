"""`isoclinic adapt`: networks of any patient trained on for one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from tyro.conf import Positional

from ..registration import InputFile
from ..training import Subject, TrainConfig, Trainer, TrainingData, adaptation
from ..volumes import Volume
from . import _training
from ._model import model_file, read_model
from ._options import parse_options


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """Train networks of any patient on for one, in minutes.

    Networks, views and detector are those of the model. Ctrl-C stops after the batch at hand and keeps what
    has been learned; --resume goes on from there exactly.

    Attributes:
        model: what isoclinic pretrain made: a model file, or the folder it is in.
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: folder for the networks (model.safetensors), their curves (training.png, training.csv) and
            what it takes to go on (state.safetensors).
        minutes: time to train for, validations included.
        images: simulated X-rays to train on, instead of minutes.
        learning_rate: the highest one.
        seed: of everything drawn.
        device: to train on; "auto" is a GPU where there is one.
        resume: go on with the training that the output folder holds; all other options must be as they were,
            but for its length.
        overwrite: replace an older training.
        tensorboard: write the curves for TensorBoard, too, into the output folder.
        config: TOML file with any of these options; the command line wins.
    """

    model: Positional[Path]
    volume: Positional[Path]
    output: Path
    minutes: float = 3.0
    images: int | None = None
    learning_rate: float = 5e-4
    seed: int = TrainConfig.seed
    device: _training.Device = "auto"
    resume: bool = False
    overwrite: bool = False
    tensorboard: bool = False
    config: Path | None = None


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(AdaptOptions, "adapt", arguments)

    def prepare(device: torch.device) -> Trainer:
        model = read_model(model_file(options.model))
        config = adaptation(model, minutes=options.minutes, learning_rate=options.learning_rate)
        config = replace(config, images=options.images, seed=options.seed)
        subject = Subject(volume=Volume.read(options.volume), sha256=InputFile.of(options.volume).sha256)
        trainer = Trainer(TrainingData(subjects=(subject,), camera=model.record.camera), config, device)
        trainer.start_from(model)
        return trainer

    volume, output = shlex.quote(str(options.volume)), shlex.quote(str(options.output))
    _training.run(
        options,
        prepare,
        "Register X-rays with it:\n"
        f"isoclinic register XRAY --volume {volume} --model {output} --output RESULT",
    )
