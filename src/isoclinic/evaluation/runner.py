"""Every method from every start on every sample: resumable, spread over processes or machines."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from .._spread import spread
from ..datasets import Dataset
from ..errors import InputError
from ..provenance import InputFile
from ._ledger import Job, check_folder, describe, jobs_of, measured
from ._worker import Task, forget_worker, run_task
from .measurement import Measurement
from .plan import Plan
from .records import check_comparable


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A registration that could not be done.

    Attributes:
        case: name of the sample.
        reason: for people to read.
    """

    case: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The outcome of an evaluation.

    Attributes:
        measurements: those of all registrations that succeeded, now or before; start by start.
        failures: the registrations that could not be done.
    """

    measurements: tuple[Measurement, ...]
    failures: tuple[Failure, ...]


def evaluate(plan: Plan, on_progress: Callable[[int, int, str], None] = lambda *_: None) -> Evaluation:
    """Register every sample from every start by every method, but for what the output folder holds already.

    The first registration of a CT by a method is done twice, in each process: the first time compiles and
    prepares, which is no part of a run time.

    Args:
        plan: what to do.
        on_progress: told how many registrations are done, how many there are, and the latest sample.

    Raises:
        UsageError: a start or a method that does not suit the samples, or an output folder that holds results
            of other settings, files, metrics or another data set.
        InputError: no sample could be registered, errors of a case were measured at different landmarks, or
            nothing can be written.
    """
    check_folder(plan)
    files, failures = _inputs(plan.dataset, plan.samples)
    jobs = {
        name: jobs_of(plan, subject, name, files[name])
        for name, subject in plan.samples.items()
        if name in files
    }
    done = {
        (name, job.start, job.method.name): measured(job, name, plan)
        for name, of_sample in jobs.items()
        for job in of_sample
    }
    tasks = list(_tasks(plan, jobs, done, files))
    total, finished = len(done), len(done) - sum(len(task.jobs) for task in tasks)
    on_progress(finished, total, "")
    try:
        for index, outcomes in spread(run_task, tasks, plan.config.spread):
            task = tasks[index]
            for job, outcome in zip(task.jobs, outcomes, strict=True):
                if isinstance(outcome, Measurement):
                    describe(plan)
                    done[task.sample, job.start, job.method.name] = outcome
                else:
                    failures.append(Failure(case=task.sample, reason=outcome))
            finished += len(task.jobs)
            on_progress(finished, total, task.sample)
    finally:
        forget_worker()
    measurements = [each for each in done.values() if each is not None]
    order = {start: index for index, start in enumerate(plan.config.starts)}
    measurements.sort(key=lambda each: order[each.start])
    if not measurements:
        raise InputError(
            f"nothing could be registered: {failures_text(failures)}", code="evaluation.nothing-registered"
        )
    check_comparable({str(plan.output): measurements})
    return Evaluation(measurements=tuple(measurements), failures=tuple(failures))


def failures_text(failures: Sequence[Failure]) -> str:
    """Every sample that failed, with all reasons."""
    reasons = [
        f"{case} ({'; '.join(dict.fromkeys(each.reason for each in of_case))})"
        for case, of_case in groupby(failures, key=lambda each: each.case)
    ]
    return ", ".join(reasons)


def _inputs(dataset: Dataset, names: Iterable[str]) -> tuple[dict[str, tuple[InputFile, ...]], list[Failure]]:
    """Digests of the files of every sample, and the samples whose files cannot be read."""
    known: dict[Path, InputFile | InputError] = {}
    files: dict[str, tuple[InputFile, ...]] = {}
    failures = []
    for name in names:
        mine = []
        for path in dataset.files(name):
            if path not in known:
                try:
                    known[path] = InputFile.of(path)
                except InputError as error:
                    known[path] = error
            mine.append(known[path])
        errors = [each for each in mine if isinstance(each, InputError)]
        if errors:
            failures.append(Failure(case=name, reason=str(errors[0])))
        else:
            files[name] = tuple(each for each in mine if isinstance(each, InputFile))
    return files, failures


def _tasks(
    plan: Plan,
    jobs: Mapping[str, Sequence[Job]],
    done: Mapping[tuple[str, str, str], Measurement | None],
    files: Mapping[str, tuple[InputFile, ...]],
) -> list[Task]:
    """What is still to be done, sample by sample."""
    dataset = pickle.dumps(plan.dataset)
    tasks = []
    for name, of_sample in jobs.items():
        pending = tuple(job for job in of_sample if done[name, job.start, job.method.name] is None)
        if pending:
            mine = files[name]
            tasks.append(
                Task(
                    dataset=dataset,
                    name=plan.name,
                    sample=name,
                    files=(mine[0], mine[min(1, len(mine) - 1)]),
                    seed=plan.config.seed,
                    jobs=pending,
                )
            )
    return tasks
