"""`isoclinic train`: networks for the registration of one CT."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import torch

from ..provenance import InputFile
from ..training import Subject, Trainer, TrainingData
from ..volumes import Volume
from . import _training
from ._train_options import TrainOptions


def main(options: TrainOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    options.check()

    def prepare(device: torch.device) -> Trainer:
        config, camera = options.train_config, options.camera()
        digest = InputFile.of(options.volume).sha256
        subject = Subject(volume=Volume.read(options.volume), sha256=digest)
        return Trainer(TrainingData(subjects=(subject,), camera=camera), config, device)

    volume, output = shlex.quote(str(options.volume)), shlex.quote(str(options.output))
    _training.run(
        options,
        prepare,
        "Register X-rays with it:\n"
        f"isoclinic register XRAY --volume {volume} --model {output} --output RESULT",
    )
