"""Every method from every start on every sample: resumable, spread over processes or machines."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from .. import __version__
from .._files import atomic, read_text
from .._spread import spread
from ..datasets import Dataset, Sample
from ..errors import InputError, UsageError
from ..provenance import InputFile, Provenance, settings_digest
from ..registration import PoseFile
from ..results import pose_file
from ..results.names import POSE as POSE_FILE
from ..solver import Status
from .config import EvaluationConfig
from .measurement import METRICS, Measurement
from .methods import Method, MethodResult
from .records import case_folder, check_comparable
from .starts import is_random, start_of

MEASUREMENT_FILE, EVALUATION_FILE = "measurement.json", "evaluation.json"

_FORMAT = "isoclinic.evaluation"
_VERSION = 1
# How a message calls what a result depends on, by the entry of its key.
_PARTS = {
    "isoclinic": "another version of isoclinic",
    "metrics": "other metrics",
    "dataset": "another data set",
    "reading": "other settings of how the data set is read",
    "files": "other files",
    "start": "other random starts",
    "method": "other settings of the method",
}


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
    """What came of it.

    Attributes:
        measurements: of all registrations that were done, now or before; start by start.
        failures: of those that could not be.
    """

    measurements: tuple[Measurement, ...]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be evaluated.

    Attributes:
        dataset: that is evaluated.
        name: of the data set, for reports.
        samples: subjects of its samples to register, by their names; see `chosen_samples`.
        methods: for each subject; they have the same names for all.
        output: folder for every pose and measurement, in cases/SAMPLE/START/METHOD.
        config: how they begin, and where they run.
    """

    dataset: Dataset
    name: str
    samples: Mapping[str, str]
    methods: Mapping[str, Sequence[Method]]
    output: Path
    config: EvaluationConfig


def chosen_samples(
    dataset: Dataset, subjects: Sequence[str] | None = None, at_most: int | None = None
) -> dict[str, str]:
    """Subjects of samples, by the samples' names, subject by subject.

    Args:
        dataset: to choose from.
        subjects: whose samples are taken; all when None.
        at_most: samples of each subject, the first ones; all when None.

    Raises:
        UsageError: a subject that the data set does not have, or no sample of each.
        InputError: there is no sample.
    """
    if at_most is not None and at_most < 1:
        raise UsageError(
            f"at least 1 sample of each subject must be taken, not {at_most}", code="evaluation.invalid-value"
        )
    chosen = dataset.subjects if subjects is None else subjects
    found = {name: subject for subject in chosen for name in dataset.names_of(subject)[:at_most]}
    if not found:
        raise InputError("the data set holds no sample of these subjects", code="dataset.empty")
    return found


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One registration.

    Attributes:
        start: its name.
        method: that registers.
        key: digests of everything the result depends on, by `_PARTS`.
        folder: for its files.
    """

    start: str
    method: Method
    key: Mapping[str, str]
    folder: Path


@dataclass(frozen=True, kw_only=True)
class _Task:
    """The registrations of one sample that are still to be done.

    Attributes:
        dataset: pickled.
        name: of the data set.
        sample: its name.
        files: the CT and the X-ray, for pose files.
        seed: of random starts.
        jobs: in order.
    """

    dataset: bytes
    name: str
    sample: str
    files: tuple[InputFile, InputFile]
    seed: int
    jobs: tuple[_Job, ...]

    def __str__(self) -> str:
        return self.sample


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
    _check_folder(plan)
    files, failures = _inputs(plan.dataset, plan.samples)
    jobs = {
        name: _jobs(plan, subject, name, files[name])
        for name, subject in plan.samples.items()
        if name in files
    }
    done = {
        (name, job.start, job.method.name): _measured(job, name, plan)
        for name, of_sample in jobs.items()
        for job in of_sample
    }
    tasks = list(_tasks(plan, jobs, done, files))
    total, finished = len(done), len(done) - sum(len(task.jobs) for task in tasks)
    on_progress(finished, total, "")
    try:
        for index, outcomes in spread(_run, tasks, plan.config.spread):
            task = tasks[index]
            for job, outcome in zip(task.jobs, outcomes, strict=True):
                if isinstance(outcome, Measurement):
                    _describe(plan)
                    done[task.sample, job.start, job.method.name] = outcome
                else:
                    failures.append(Failure(case=task.sample, reason=outcome))
            finished += len(task.jobs)
            on_progress(finished, total, task.sample)
    finally:
        _worker.cache_clear()
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


def _check_folder(plan: Plan) -> None:
    """Refuse a folder with results of another data set or other metrics."""
    path = plan.output / EVALUATION_FILE
    if plan.output.exists() and not plan.output.is_dir():
        raise UsageError(
            f"`output` {plan.output} is a file, but the result is a folder", code="output.not-a-folder"
        )
    if not path.exists():
        return
    try:
        found = json.loads(read_text(path))
    except (OSError, RecursionError, ValueError) as error:
        raise InputError(
            f"{path} cannot be read: {error}; choose another `output`", code="evaluation.unreadable"
        ) from error
    for key, mine in _description(plan).items():
        its = found.get(key) if isinstance(found, dict) else None
        if its != mine:
            raise UsageError(
                f"`output` {plan.output} holds results of other {key} ({its}), which must not be mixed "
                f"with these ({mine}); choose another folder",
                code="output.of-other-settings",
            )


def _describe(plan: Plan) -> None:
    """Say in the folder what it holds."""
    path = plan.output / EVALUATION_FILE
    if not path.exists():
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(_description(plan), indent=2) + "\n", encoding="utf-8")


def _description(plan: Plan) -> dict[str, Any]:
    return {"format": _FORMAT, "version": _VERSION, "dataset": plan.name, "metrics": METRICS}


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


def _jobs(plan: Plan, subject: str, name: str, files: Sequence[InputFile]) -> list[_Job]:
    """All registrations of a sample."""
    common = {
        "isoclinic": __version__,
        "metrics": METRICS,
        "dataset": plan.name,
        "reading": settings_digest(asdict(plan.dataset.config)),
        "files": settings_digest([file.sha256 for file in files]),
    }
    return [
        _Job(
            start=start,
            method=method,
            key=common
            | {
                "start": settings_digest([start, plan.config.seed if is_random(start) else None]),
                "method": settings_digest(method.settings),
            },
            folder=case_folder(plan.output, name, start, method.name),
        )
        for start in plan.config.starts
        for method in plan.methods[subject]
    ]


def _measured(job: _Job, sample: str, plan: Plan) -> Measurement | None:
    """The measurement of an earlier run.

    Raises:
        UsageError: there is one that depends on something else, and may not be replaced.
        InputError: there is one that cannot be read.
    """
    file = job.folder / MEASUREMENT_FILE
    if not file.exists():
        return None
    try:
        document = json.loads(read_text(file))
        key = document["key"]
        different = [part for part in _PARTS if key.get(part) != job.key[part]]
    except (OSError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is no measurement: {error}; choose another `output`", code="evaluation.malformed-record"
        ) from error
    if not different:
        return Measurement.restored(document["measurement"], str(file))
    if not plan.config.overwrite:
        raise UsageError(
            f"`output` {plan.output} holds results of {' and '.join(_PARTS[part] for part in different)} "
            f"({sample}, start {job.start}, method {job.method.name}); choose another folder or add "
            "`overwrite`",
            code="output.of-other-settings",
        )
    return None


def _tasks(
    plan: Plan,
    jobs: Mapping[str, Sequence[_Job]],
    done: Mapping[tuple[str, str, str], Measurement | None],
    files: Mapping[str, tuple[InputFile, ...]],
) -> list[_Task]:
    """What is still to be done, sample by sample."""
    dataset = pickle.dumps(plan.dataset)
    tasks = []
    for name, of_sample in jobs.items():
        pending = tuple(job for job in of_sample if done[name, job.start, job.method.name] is None)
        if pending:
            mine = files[name]
            tasks.append(
                _Task(
                    dataset=dataset,
                    name=plan.name,
                    sample=name,
                    files=(mine[0], mine[min(1, len(mine) - 1)]),
                    seed=plan.config.seed,
                    jobs=pending,
                )
            )
    return tasks


class _Worker:
    """What a process keeps from task to task: the data set, with its latest CT, and what has run on that."""

    def __init__(self, dataset: bytes) -> None:
        self.dataset: Dataset = pickle.loads(dataset)
        self._warm: tuple[str, set[str]] = ("", set())

    def prepare(self, sample: Sample, job: _Job, start: Any) -> None:
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


def _run(task: _Task) -> list[Measurement | str]:
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
        _write(task, job, sample, result, measurement)
        outcomes.append(measurement)
    return outcomes


def _write(task: _Task, job: _Job, sample: Sample, result: MethodResult, measurement: Measurement) -> None:
    """The pose, then the measurement, by which a later run knows that this one is done."""
    job.folder.mkdir(parents=True, exist_ok=True)
    own = result.result
    origin = Provenance(volume=task.files[0], xrays=task.files[1:], model=result.model)
    found = _peer_pose_file(result, sample, origin) if own is None else pose_file(own, origin)
    found.write(job.folder / POSE_FILE)
    document = {
        "key": job.key,
        "measurement": measurement.document(),
        "attempts": [] if own is None else [asdict(attempt) for attempt in own.attempts],
    }
    with atomic(job.folder / MEASUREMENT_FILE) as temporary:
        temporary.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def _peer_pose_file(result: MethodResult, sample: Sample, origin: Provenance) -> PoseFile:
    """What is known of a pose that another package found."""
    return PoseFile(
        camera_from_world=result.camera_from_world,
        camera=sample.xray.camera,
        volume=origin.volume,
        xray=origin.xrays[0],
        model=origin.model,
        status=Status(result.status) if result.status in list(Status) else None,
        similarity=result.similarity,
        expected_error_mm=result.expected_error_mm,
        isoclinic_version=__version__,
    )
