"""`isoclinic adapt`: fine-tune general networks for one CT."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

import torch

from ..training import Subject, Trainer, TrainingData
from ..training._adaptation import adaptation
from . import _training
from ._adapt_options import AdaptOptions
from ._model import model_file, read_model


def main(options: AdaptOptions, arguments: Sequence[str]) -> None:
    """Run the command."""

    def prepare(device: torch.device) -> Trainer:
        model = read_model(model_file(options.model))
        config = adaptation(model, minutes=options.minutes, learning_rate=options.learning_rate)
        config = replace(config, images=options.images, seed=options.seed)
        subject = Subject.read(options.volume)
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
