"""Networks for the subjects of a data set, trained where there are none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..datasets import Dataset
from ..errors import InputError, UsageError
from ..networks import Checkpoint
from ..provenance import InputFile
from ..training import Subject, TrainConfig, Trainer, TrainingData
from ..training.file_names import MODEL_FILE, STATE_FILE
from ..training.trainer import TrainingProgress
from ..volumes import Volume, VoxelIdentity

# Networks of any patient are trained as often, each time without the subjects that they are measured on.
FOLDS = 2


@dataclass(frozen=True, kw_only=True)
class ModelTraining:
    """How networks are trained for a table.

    Attributes:
        config: of the training.
        one_patient: whether every subject has networks of its own; otherwise those of others serve it.
        folder: for the trainings.
    """

    config: TrainConfig
    one_patient: bool
    folder: Path


def trained_models(
    dataset: Dataset,
    subjects: Sequence[str],
    training: ModelTraining,
    on_batch: Callable[[str, TrainingProgress], None] = lambda name, progress: None,
) -> dict[str, InputFile]:
    """Model files by subject, trained or gone on with unless they have had their share.

    Of the X-rays only the geometry of the first one is used.

    Args:
        dataset: of the subjects.
        subjects: that need a model.
        training: how.
        on_batch: told after every batch, with the name of the training.

    Raises:
        InputError: a CT or an X-ray cannot be read; the folder cannot be written to, or holds another
            training.
        UsageError: a package that training needs is not installed, or networks of any patient for a data set
            with one subject alone.
    """
    if training.one_patient:
        return {subject: _trained(dataset, subject, (subject,), training, on_batch) for subject in subjects}
    folds = folds_of(dataset.subjects)
    files: dict[int, InputFile] = {}
    for fold in sorted({folds[subject] for subject in subjects}):
        others = tuple(subject for subject in dataset.subjects if folds[subject] != fold)
        if not others:
            raise UsageError(
                "networks of any patient are trained on subjects that they are not measured on, and the data "
                "set has one alone: give a `model`, which isoclinic pretrain makes of other CTs",
                code="training.no-ct",
            )
        files[fold] = _trained(dataset, f"without-fold-{fold}", others, training, on_batch)
    return {subject: files[folds[subject]] for subject in subjects}


def folds_of(subjects: Sequence[str]) -> Mapping[str, int]:
    """Fold of every subject of a data set: by turns, in the data set's own order.

    Networks of any patient that are measured on a fold are trained on all others, so that every subject is
    measured, and none by networks that have seen it.
    """
    return {subject: index % FOLDS for index, subject in enumerate(subjects)}


def check_unseen(model: Checkpoint, volumes: Mapping[str, Callable[[], Volume]], name: str) -> None:
    """Refuse networks of any patient that were trained on one of the CTs they are to be measured on.

    Args:
        model: the networks; those of older versions do not say what they were trained on.
        volumes: what reads the CT of each subject.
        name: of the model, for the message.

    Raises:
        InputError: they were.
    """
    trained_on = set(model.record.trained_on)
    if not trained_on:
        return
    seen = [subject for subject, read in volumes.items() if VoxelIdentity.of(read()).sha256 in trained_on]
    if seen:
        raise InputError(
            f"{name} was trained on the CT of {', '.join(seen)}, which it is to be measured on: choose other "
            "`subjects`, or a `model` that has not seen them",
            code="model.unsuitable",
        )


def _trained(
    dataset: Dataset,
    name: str,
    subjects: Sequence[str],
    training: ModelTraining,
    on_batch: Callable[[str, TrainingProgress], None],
) -> InputFile:
    """The model of a training on the CTs of subjects, in a folder of that name."""
    camera = dataset[dataset.names_of(subjects[0])[0]].xray.camera
    data = TrainingData(
        subjects=tuple(_subject(dataset, subject, training.config) for subject in subjects),
        camera=camera,
        one_patient=training.one_patient,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer, folder = Trainer(data, training.config, device), training.folder / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder} cannot be written: {error.strerror}", code="evaluation.unwritable"
        ) from error
    if (folder / STATE_FILE).exists():
        trainer.resume(folder)
    trainer.run(folder, lambda progress: on_batch(name, progress))
    return InputFile.of(folder / MODEL_FILE)


def _subject(dataset: Dataset, subject: str, config: TrainConfig) -> Subject:
    """A CT, of a cohort only what it is made from; it lies within a larger file, so its voxels name it."""
    volume = dataset.volume(subject)
    voxels = VoxelIdentity.of(volume)
    whole = Subject(volume=volume, sha256=voxels.sha256, voxels=voxels)
    return whole if config.cohort is None else whole.coarsened(config.cohort.voxel_mm)
