"""`isoclinic train`: networks for the registration of one CT."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import torch

from ..training import Subject, Trainer, TrainingData
from . import _training
from ._train_options import TrainOptions


def main(options: TrainOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    options.check()

    def prepare(device: torch.device) -> Trainer:
        config, camera = options.train_config, options.camera()
        data = TrainingData(subjects=(Subject.read(options.volume, options.labels),), camera=camera)
        return Trainer(data, config, device)

    volume, output = shlex.quote(str(options.volume)), shlex.quote(str(options.output))
    _training.run(
        options,
        prepare,
        "Register X-rays with it:\n"
        f"isoclinic register XRAY --volume {volume} --model {output} --output RESULT",
    )
