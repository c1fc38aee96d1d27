"""Measurements that other runs have written, and whether they may stand in one table."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .._files import read_text
from ..errors import InputError
from .measurement import METRICS, Measurement

SUMMARY_JSON = "summary.json"
_CASES = "cases"

_NAMES = ("dataset", "case", "group", "method", "start", "landmarks", "status")


@dataclass(frozen=True, kw_only=True)
class EvaluationRecord:
    """What an evaluation has measured.

    Attributes:
        name: of the folder as it was given, for messages and to tell equal methods apart.
        folder: of the evaluation.
        measurements: all of them.
    """

    name: str
    folder: Path
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where the results of a method are.

    Attributes:
        folder: of the evaluation; where a report asks for it, as seen from the report's folder.
        method: its name there.
    """

    folder: Path
    method: str


def case_folder(output: Path, case: str, start: str, method: str) -> Path:
    """Folder of a registration's files within that of its evaluation."""
    # A colon is no part of a file name everywhere.
    return output / _CASES / case / start.replace(":", "-") / method


def read_evaluation(folder: Path) -> EvaluationRecord:
    """Read the summary.json of an evaluation's folder.

    Numbers that JSON cannot hold come back as NaN, which ranks last as infinity does.

    Raises:
        InputError: there is none, it cannot be read, or its metrics are not this library's.
    """
    path = folder / SUMMARY_JSON
    try:
        document = json.loads(read_text(path))
    except OSError as error:
        raise InputError(
            f"{folder} is not a folder of isoclinic evaluate: {SUMMARY_JSON} cannot be read: "
            f"{error.strerror}",
            code="evaluation.unreadable",
        ) from error
    except (RecursionError, ValueError) as error:
        raise InputError(f"{path} is not JSON: {error}", code="evaluation.unreadable") from error
    entries = document.get("measurements") if isinstance(document, dict) else None
    if not isinstance(entries, list) or not entries:
        raise InputError(
            f"{path} holds no measurements; isoclinic evaluate writes them", code="evaluation.missing"
        )
    if document.get("metrics") != METRICS:
        raise InputError(
            f"{path} {_said(document.get('metrics'))}: others, such as distances on the detector, must "
            f"not be mixed with {METRICS!r}; run isoclinic evaluate for them",
            code="evaluation.invalid-value",
        )
    measurements = [_restored(entry, f"measurement {index} of {path}") for index, entry in enumerate(entries)]
    return EvaluationRecord(name=str(folder), folder=folder, measurements=tuple(measurements))


def check_comparable(sources: Mapping[str, Sequence[Measurement]]) -> None:
    """Refuse measurements that must not share a table, by what messages call where they come from.

    They must be of one data set, of the same points for the same case, and a source must not hold a case
    twice. (That metrics have the same definition is checked where measurements are read.)

    Raises:
        InputError: names both sources, the case and what differs.
    """
    dataset: dict[str, str] = {}
    points: dict[str, tuple[str, str, str]] = {}
    for source, measurements in sources.items():
        seen = set()
        for each in measurements:
            first = dataset.setdefault(each.dataset, source)
            if len(dataset) > 1:
                other = next(iter(dataset))
                raise InputError(
                    f"{first} is of the data set {each.dataset!r} ({each.case}), but {dataset[other]} of "
                    f"{other!r}: errors of different data sets are not compared",
                    code="evaluation.not-comparable",
                )
            before, digest, group = points.setdefault(each.case, (source, each.landmarks, each.group))
            for what, its, mine in (
                ("landmarks", digest, each.landmarks),
                ("subject", group, each.group),
            ):
                if its != mine:
                    raise InputError(
                        f"{each.case} has other {what} in {source} ({mine}) than in {before} ({its}): its "
                        "errors there and here cannot be compared",
                        code="evaluation.not-comparable",
                    )
            key = (each.case, each.method, each.start)
            if key in seen:
                raise InputError(
                    f"{source} holds {each.case} by {each.method} from start {each.start} twice",
                    code="evaluation.ambiguous",
                )
            seen.add(key)


def combined(records: Sequence[EvaluationRecord]) -> tuple[list[Measurement], dict[str, Origin]]:
    """All measurements, and where each of their methods comes from; equal names are told apart by folder.

    Raises:
        InputError: they must not be mixed; see `check_comparable`. Or a folder is given twice.
    """
    folders = [record.folder.resolve() for record in records]
    twice = next((record.name for record in records if folders.count(record.folder.resolve()) > 1), None)
    if twice is not None:
        raise InputError(
            f"{twice} is given twice; compare different evaluations", code="evaluation.ambiguous"
        )
    check_comparable({record.name: record.measurements for record in records})
    methods = [{each.method for each in record.measurements} for record in records]
    measurements, origins = [], {}
    for record, label in zip(records, _labels(records), strict=True):
        for each in record.measurements:
            shared = sum(each.method in of_record for of_record in methods) > 1
            name = f"{each.method} ({label})" if shared else each.method
            origins[name] = Origin(folder=record.folder, method=each.method)
            measurements.append(replace(each, method=name))
    return measurements, origins


def finite(value: Any) -> Any:
    """A document as JSON can hold it: what is infinite or not a number becomes null."""
    if isinstance(value, Mapping):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _labels(records: Sequence[EvaluationRecord]) -> list[str]:
    """The folders' own names, or their paths where those are equal."""
    names = [record.folder.resolve().name for record in records]
    return [
        name if names.count(name) == 1 else str(record.folder)
        for name, record in zip(names, records, strict=True)
    ]


def _restored(entry: Any, label: str) -> Measurement:
    """An entry of "measurements", NaN in place of null."""
    translation = entry.get("translation_mm") if isinstance(entry, dict) else None
    if not isinstance(translation, list) or len(translation) != len(("x", "y", "depth")):
        raise InputError(
            f"{label} is not a measurement of this version of isoclinic", code="evaluation.malformed-record"
        )
    document = {name: math.nan if value is None else value for name, value in entry.items()}
    document["translation_mm"] = [math.nan if value is None else value for value in translation]
    found = Measurement.restored({"metrics": METRICS} | document, label)
    if not all(isinstance(getattr(found, name), str) for name in _NAMES):
        raise InputError(f"{label} contains a name that is not a text", code="evaluation.malformed-record")
    return found


def _said(metrics: Any) -> str:
    return "does not say what its errors are" if metrics is None else f"says that its errors are {metrics!r}"
