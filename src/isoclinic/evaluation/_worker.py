"""A process of an evaluation: it registers one sample after another, and keeps the CT between them."""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ..datasets import Dataset, Sample
from ..errors import InputError
from ..provenance import InputFile
from ._ledger import Job
from ._writer import write_result
from .measurement import Measurement
from .starts import start_of


@dataclass(frozen=True, kw_only=True)
class Task:
    """The registrations of one sample that are still to be done.

    Attributes:
        dataset: the data set, pickled.
        name: name of the data set.
        sample: name of the sample.
        files: the CT and the X-ray, for pose files.
        seed: seed of random starts.
        jobs: the registrations, in order.
    """

    dataset: bytes
    name: str
    sample: str
    files: tuple[InputFile, InputFile]
    seed: int
    jobs: tuple[Job, ...]

    def __str__(self) -> str:
        return self.sample


class _Worker:
    """The data set with its latest CT, kept between tasks, and the methods that have run on that CT."""

    def __init__(self, dataset: bytes) -> None:
        self.dataset: Dataset = pickle.loads(dataset)
        self._warm: tuple[str, set[str]] = ("", set())

    def prepare(self, sample: Sample, job: Job, start: Any) -> None:
        """Compile, and prepare the CT, unless the method has registered with it before."""
        if self._warm[0] != sample.subject:
            self._warm = sample.subject, set()
        if job.method.name not in self._warm[1]:
            job.method.register(sample, start)
            self._warm[1].add(job.method.name)


@lru_cache(maxsize=1)
def _worker(dataset: bytes) -> _Worker:
    """The data set comes with every task; a process that has it already keeps its CT."""
    return _Worker(dataset)


def run_task(task: Task) -> list[Measurement | str]:
    """The measurement of every job, or why there is none."""
    worker = _worker(task.dataset)
    try:
        sample = worker.dataset[task.sample]
    except InputError as error:
        return [str(error)] * len(task.jobs)
    outcomes: list[Measurement | str] = []
    for job in task.jobs:
        try:
            start = start_of(sample, job.start, task.seed)
            worker.prepare(sample, job, start)
            result = job.method.register(sample, start)
        except InputError as error:
            outcomes.append(str(error))
            continue
        measurement = Measurement.of(
            sample, result, dataset=task.name, method=job.method.name, start=job.start
        )
        write_result(job, task.files, sample, result, measurement)
        outcomes.append(measurement)
    return outcomes


def forget_worker() -> None:
    """Release the data set and the CT of this process."""
    _worker.cache_clear()
