"""What `isoclinic evaluate` runs: starts, methods and models, from its options and a published table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..datasets import CaseFolder, Dataset
from ..errors import UsageError
from ..evaluation import Method, method_named
from ..evaluation.methods.registry import DEFAULT
from ..evaluation.models import trained_model
from ..evaluation.published import PATIENT_SPECIFIC, PublishedTable
from ..evaluation.starts import WITHOUT_POSE, check_start
from ..networks import Checkpoint
from ..training import PoseConfig
from ..training.trainer import TrainingProgress
from ._console import progress
from ._dataset import by_subject
from ._evaluate_options import EvaluateOptions
from ._model import Networks, model_file
from ._model_names import DEFAULT as DEFAULT_NETWORKS
from ._model_names import NONE
from ._options import read_settings

_MODELS = "models"


def check_table(options: EvaluateOptions, table: PublishedTable) -> None:
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
        if options.model == (DEFAULT_NETWORKS,) and options.train_minutes is None:
            raise UsageError(
                f"--table {table.name} needs a model for each subject: give --model SUBJECT=MODEL for all of "
                "them, or --train-minutes to train them",
                code="model.missing",
            )
        return
    (model,) = options.model if len(options.model) == 1 else (NONE,)
    if model == NONE or "=" in model or options.train_minutes is not None:
        raise UsageError(
            f"--table {table.name} needs the one model for all subjects: give --model MODEL, which isoclinic "
            "pretrain makes of other patients' CTs, or leave --model out",
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
    options: EvaluateOptions, dataset: Dataset, subjects: Sequence[str], table: PublishedTable | None
) -> dict[str, tuple[Method, ...]]:
    """The methods for each subject.

    Args:
        options: of the command.
        dataset: that is evaluated.
        subjects: of it.
        table: that is measured.

    Raises:
        UsageError: a method that there is not, or no model for a subject.
        InputError: a configuration or a model that cannot be read.
    """
    names, pipelines = [], {}
    for item in options.methods or ((DEFAULT,) if table is None else table.methods):
        name, equals, file = item.partition("=")
        if equals:
            if not name or Path(name).name != name or name in names:
                raise UsageError(
                    f"--methods {item}: NAME=FILE.toml needs a plain name of its own",
                    code="options.incomplete",
                )
            pipelines[name] = read_settings(options.registration, "--methods", file)
        names.append(name)
    models = _models(options, dataset, subjects, table)
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


def _models(
    options: EvaluateOptions, dataset: Dataset, subjects: Sequence[str], table: PublishedTable | None
) -> dict[str, Networks]:
    """The networks of every subject."""
    if options.train_minutes is None:
        return dict(by_subject("--model", "model", options.model, subjects, Networks.of))
    if not options.train_minutes > 0:
        raise UsageError(
            f"--train-minutes must be positive, not {options.train_minutes}", code="options.invalid-value"
        )
    items = [item for item in options.model if item != DEFAULT_NETWORKS]
    models = dict(by_subject("--model", "model", items, subjects, Networks.of, needed=()))
    console = progress()
    with console.status("training") as status:
        for subject in subjects:
            if subject in models:
                continue

            def show(now: TrainingProgress, subject: str = subject) -> None:
                status.update(
                    f"training {now.phase.kind} for {subject}: {now.seconds_left / 60:.1f} min left"
                )

            file = trained_model(
                dataset,
                subject,
                options.output / _MODELS / subject,
                minutes=options.train_minutes,
                poses=PoseConfig() if table is None else table.poses,
                on_batch=show,
            )
            models[subject] = Networks(file)
    return models
