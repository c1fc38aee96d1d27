"""Networks for each subject of a data set, trained where there are none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from ..datasets import Dataset
from ..errors import InputError
from ..provenance import InputFile
from ..training import PoseConfig, Subject, TrainConfig, Trainer, TrainingData
from ..training.file_names import MODEL_FILE, STATE_FILE
from ..training.trainer import TrainingProgress
from .methods import volume_digest


def trained_model(
    dataset: Dataset,
    subject: str,
    folder: Path,
    *,
    minutes: float,
    poses: PoseConfig,
    on_batch: Callable[[TrainingProgress], None] = lambda progress: None,
) -> InputFile:
    """The model of a subject in a folder, trained or gone on with unless it has had its minutes.

    It is trained on the CT alone; of the subject's X-rays only the geometry of the first one is used.

    Args:
        dataset: of the subject.
        subject: its name.
        folder: of the training.
        minutes: of training, in all.
        poses: views to train on.
        on_batch: told after every batch.

    Raises:
        InputError: the CT or the X-ray cannot be read; the folder cannot be written to, or holds another
            training.
        UsageError: a package that training needs is not installed.
    """
    sample = dataset[dataset.names_of(subject)[0]]
    data = TrainingData(
        subjects=(Subject(volume=sample.volume, sha256=volume_digest(sample.volume)),),
        camera=sample.xray.camera,
    )
    config = replace(TrainConfig(), minutes=minutes, poses=poses)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer = Trainer(data, config, device)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror}", code="evaluation.unwritable"
        ) from error
    if (folder / STATE_FILE).exists():
        trainer.resume(folder)
    trainer.run(folder, on_batch)
    return InputFile.of(folder / MODEL_FILE)
