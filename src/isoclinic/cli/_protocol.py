"""What `isoclinic evaluate` runs: starts, methods and models, from its options and a published table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..datasets import CaseFolder, Dataset
from ..errors import UsageError
from ..evaluation import Method, method_named
from ..evaluation.methods.registry import DEFAULT, PAPER, is_installed
from ..evaluation.models import ModelTraining, check_unseen, trained_models
from ..evaluation.published import PATIENT_SPECIFIC, PublishedTable
from ..evaluation.starts import WITHOUT_POSE, check_start
from ..networks import Checkpoint
from ..training import TrainConfig
from ..training.trainer import TrainingProgress
from ._console import progress
from ._dataset import by_subject
from ._evaluate_options import EvaluateOptions
from ._model import Networks, model_file
from ._model_names import DEFAULT as DEFAULT_NETWORKS
from ._model_names import NONE
from ._options import read_settings
from ._train_options import of_length

_MODELS = "models"
# What models are trained like, by the value of --train-preset.
_SPECIFIC = {
    "fast": TrainConfig.fast,
    "paper": TrainConfig.paper,
    "paper-batched": TrainConfig.paper_batched,
}
_AGNOSTIC = {"fast": TrainConfig.any_patient, "paper": TrainConfig.paper_any_patient}


def training_of(options: EvaluateOptions, table: PublishedTable | None) -> ModelTraining | None:
    """How models are trained that are not given; None where none are to be.

    Raises:
        UsageError: lengths that exclude each other or are not positive, or details of no training.
        InputError: a file of options that cannot be read.
    """
    length = options.train_minutes, options.train_images
    details = options.train_preset, options.train_config
    if options.train_minutes is not None and options.train_images is not None:
        raise UsageError(
            "--train-minutes and --train-images both say how long to train; give one of them",
            code="options.conflict",
        )
    if not any(each is not None for each in (*length, *details)):
        return None
    if length == (None, None) and options.train_preset in (None, "fast"):
        raise UsageError(
            "--train-preset and --train-config need --train-images or --train-minutes",
            code="options.incomplete",
        )
    for name, value in zip(("minutes", "images"), length, strict=True):
        if value is not None and not value > 0:
            raise UsageError(f"--train-{name} must be positive, not {value}", code="options.invalid-value")
    specific = table is None or table.networks == PATIENT_SPECIFIC
    preset = options.train_preset or "fast"
    if not specific and preset == "paper-batched":
        raise UsageError(
            "--train-preset paper-batched is of networks of one patient: choose fast or paper",
            code="options.conflict",
        )
    config = (_SPECIFIC if specific else _AGNOSTIC)[preset]()
    if table is not None:
        config = replace(config, poses=table.poses)
    if options.train_config is not None:
        config = read_settings(config, "--train-config", str(options.train_config))
    if length != (None, None):
        config = of_length(config, *length)
    return ModelTraining(config=config, one_patient=specific, folder=options.output / _MODELS)


def check_table(options: EvaluateOptions, table: PublishedTable, training: ModelTraining | None) -> None:
    """Refuse options that do not go with a published table.

    Raises:
        UsageError: another data set, or networks that are not given.
    """
    if options.dataset not in ("auto", table.dataset):
        raise UsageError(
            f"--table {table.name} is of {table.dataset}, not of --dataset {options.dataset}",
            code="options.conflict",
        )
    if table.networks == PATIENT_SPECIFIC:
        if options.model == (DEFAULT_NETWORKS,) and training is None:
            raise UsageError(
                f"--table {table.name} needs a model for each subject: give --model SUBJECT=MODEL for all of "
                "them, or --train-images to train them",
                code="model.missing",
            )
        return
    if training is not None and options.model == (DEFAULT_NETWORKS,):
        return
    (model,) = options.model if len(options.model) == 1 else (NONE,)
    if model == NONE or "=" in model or training is not None:
        raise UsageError(
            f"--table {table.name} needs the one model for all subjects: give --model MODEL, which isoclinic "
            "pretrain makes of other patients' CTs, or --train-images to train them, or leave --model out",
            code="model.unsuitable",
        )
    if model == DEFAULT_NETWORKS:
        return
    if Checkpoint.load(Path(model_file(model).path)).record.volume_sha256 is not None:
        raise UsageError(
            f"--table {table.name}: {model} was trained for one CT; give a model of many",
            code="model.unsuitable",
        )


def starts_of(
    options: EvaluateOptions, dataset: Dataset, names: Sequence[str], table: PublishedTable | None
) -> tuple[str, ...]:
    """Names of the starts.

    Args:
        options: of the command.
        dataset: that is evaluated.
        names: of its samples.
        table: that is measured.

    Raises:
        UsageError: one that a sample does not have.
    """
    stored = dataset.starts if isinstance(dataset, CaseFolder) else {}
    of_table = () if table is None else table.starts
    of_samples = tuple(dict.fromkeys(start for name in names for start in stored.get(name, ())))
    starts = options.starts or of_table or of_samples or (WITHOUT_POSE,)
    for start in starts:
        for name in names:
            check_start(start, stored.get(name, ()), f"{options.source}: {name}")
    return tuple(dict.fromkeys(starts))


def methods_of(
    options: EvaluateOptions,
    dataset: Dataset,
    subjects: Sequence[str],
    table: PublishedTable | None,
    training: ModelTraining | None,
) -> dict[str, tuple[Method, ...]]:
    """The methods for each subject.

    Args:
        options: of the command.
        dataset: that is evaluated.
        subjects: of it.
        table: that is measured.
        training: of models that are not given.

    Raises:
        UsageError: a method that there is not, or no model for a subject.
        InputError: a configuration or a model that cannot be read.
    """
    names, pipelines = [], {}
    for item in options.methods or ((DEFAULT,) if table is None else _methods_of(table, options)):
        name, equals, file = item.partition("=")
        if equals:
            if not name or Path(name).name != name or name in names:
                raise UsageError(
                    f"--methods {item}: NAME=FILE.toml needs a plain name of its own",
                    code="options.incomplete",
                )
            pipelines[name] = read_settings(options.registration, "--methods", file)
        names.append(name)
    models = _models(options, dataset, subjects, training)
    if table is not None and table.networks != PATIENT_SPECIFIC:
        _check_unseen(models, dataset)
    return {
        subject: tuple(
            method_named(
                name,
                config=options.registration,
                model=models[subject].file,
                last_resort=models[subject].last_resort,
                pipelines=pipelines,
            )
            for name in dict.fromkeys(names)
        )
        for subject in subjects
    }


def _methods_of(table: PublishedTable, options: EvaluateOptions) -> tuple[str, ...]:
    """Those of a table that can be run here; what is left out is said."""
    missing = [name for name in table.methods if not is_installed(name)]
    if missing:
        progress().print(
            f"left out, as their packages are not installed: {', '.join(missing)}; pip install "
            "'isoclinic[peers]'",
            markup=False,
        )
    left_out = set(missing)
    lent = options.model == (DEFAULT_NETWORKS,) and table.networks != PATIENT_SPECIFIC
    if lent and not (options.train_images or options.train_minutes or options.train_preset):
        progress().print(
            "left out, as the networks that come along are of another kind: paper (add --train-preset paper)",
            markup=False,
        )
        left_out.add(PAPER)
    return tuple(name for name in table.methods if name not in left_out)


def _check_unseen(models: Mapping[str, Networks], dataset: Dataset) -> None:
    """Refuse networks that were trained on a CT they are measured on."""
    files = {subject: each.file for subject, each in models.items() if each.file is not None}
    for path in dict.fromkeys(file.path for file in files.values()):
        mine = [subject for subject, file in files.items() if file.path == path]
        volumes = {subject: partial(dataset.volume, subject) for subject in mine}
        check_unseen(Checkpoint.load(Path(path)), volumes, str(path))


def _models(
    options: EvaluateOptions, dataset: Dataset, subjects: Sequence[str], training: ModelTraining | None
) -> dict[str, Networks]:
    """The networks of every subject."""
    items = [item for item in options.model if training is None or item != DEFAULT_NETWORKS]
    models = dict(
        by_subject(
            *("--model", "model", items, subjects, Networks.of),
            needed=subjects if training is None else (),
            code="evaluation.model-missing",
        )
    )
    if training is None:
        return models
    needed = [subject for subject in subjects if subject not in models]
    with progress().status("training") as status:

        def show(name: str, now: TrainingProgress) -> None:
            status.update(f"training {now.phase.kind}, {name}: {now.seconds_left / 60:.1f} min left")

        trained = trained_models(dataset, needed, training, show)
    return models | {subject: Networks(file) for subject, file in trained.items()}
