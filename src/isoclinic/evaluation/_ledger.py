"""The output folder of an evaluation as its ledger: what it holds, and whether that may be kept."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import __version__
from .._files import atomic, read_text
from ..errors import InputError, UsageError
from ..provenance import InputFile, settings_digest
from .measurement import METRICS, Measurement
from .methods import Method
from .plan import Plan
from .records import case_folder
from .starts import is_random

MEASUREMENT_FILE, EVALUATION_FILE = "measurement.json", "evaluation.json"

_FORMAT = "isoclinic.evaluation"
_VERSION = 1
# How a message calls what a result depends on, by the entry of its key.
PARTS = {
    "isoclinic": "another version of isoclinic",
    "metrics": "other metrics",
    "dataset": "another data set",
    "reading": "other settings of how the data set is read",
    "files": "other files",
    "start": "other random starts",
    "method": "other settings of the method",
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One registration.

    Attributes:
        start: its name.
        method: that registers.
        key: digests of everything the result depends on, by `PARTS`.
        folder: for its files.
    """

    start: str
    method: Method
    key: Mapping[str, str]
    folder: Path


def check_folder(plan: Plan) -> None:
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


def describe(plan: Plan) -> None:
    """Say in the folder what it holds."""
    path = plan.output / EVALUATION_FILE
    if not path.exists():
        with atomic(path) as temporary:
            temporary.write_text(json.dumps(_description(plan), indent=2) + "\n", encoding="utf-8")


def _description(plan: Plan) -> dict[str, Any]:
    return {"format": _FORMAT, "version": _VERSION, "dataset": plan.name, "metrics": METRICS}


def jobs_of(plan: Plan, subject: str, name: str, files: Sequence[InputFile]) -> list[Job]:
    """All registrations of a sample."""
    common = {
        "isoclinic": __version__,
        "metrics": METRICS,
        "dataset": plan.name,
        "reading": settings_digest(asdict(plan.dataset.config)),
        "files": settings_digest([file.sha256 for file in files]),
    }
    return [
        Job(
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


def measured(job: Job, sample: str, plan: Plan) -> Measurement | None:
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
        different = [part for part in PARTS if key.get(part) != job.key[part]]
    except (OSError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{file} is no measurement: {error}; choose another `output`", code="evaluation.malformed-record"
        ) from error
    if not different:
        return Measurement.restored(document["measurement"], str(file))
    if not plan.config.overwrite:
        raise UsageError(
            f"`output` {plan.output} holds results of {' and '.join(PARTS[part] for part in different)} "
            f"({sample}, start {job.start}, method {job.method.name}); choose another folder or add "
            "`overwrite`",
            code="output.of-other-settings",
        )
    return None
