"""What became of the rows of a batch, and the one line that says it of all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..solver import Status
from .rows import BatchRow

FAILED, PENDING = "failed", "pending"


@dataclass(frozen=True, kw_only=True)
class RowOutcome:
    """What became of a row: a result, an error, or nothing yet.

    Attributes:
        row: the row.
        document: the result as `results.document_of` gives it; None without one.
        doubtful: the pose must not be relied on.
        warnings: what was said while it was registered.
        error: why there is no result; empty where there is one, or where the row's turn has not come.
        error_code: the code of that error.
    """

    row: BatchRow
    document: Mapping[str, Any] | None = None
    doubtful: bool = False
    warnings: tuple[str, ...] = ()
    error: str = ""
    error_code: str = ""

    @property
    def status(self) -> str:
        """That of the solver, or "doubtful", "failed", "pending"."""
        if self.document is None:
            return FAILED if self.error else PENDING
        return str(Status.DOUBTFUL) if self.doubtful else str(self.document["status"])

    @property
    def verdict(self) -> str:
        """What there is to say of it in one line."""
        if self.document is None:
            return self.error or "not registered yet"
        return str(self.document["verdict"])

    @property
    def confidence(self) -> Mapping[str, Any]:
        """Errors and doubts of the result; empty without one."""
        return {} if self.document is None else self.document["confidence"]

    @property
    def structures(self) -> Mapping[str, Mapping[str, Any]]:
        """What was found of each structure, by its name; empty where none were asked for."""
        return {} if self.document is None else self.document.get("structures", {})

    @property
    def structure_texts(self) -> list[str]:
        """The status and the expected error of each structure, in a few words."""
        texts = []
        for name, each in self.structures.items():
            error_mm, text = each["expected_error_mm"], f"{name}: {each['status']}"
            if error_mm is not None:
                text += f", {error_mm['across']:.2f} mm across the beam, {error_mm['depth']:.2f} in depth"
            texts.append(text)
        return texts

    @property
    def doubts(self) -> list[str]:
        """Reasons to doubt any pose that was asked for, those of structures with their names."""
        found = list(self.confidence.get("doubts", ()))
        for name, each in self.structures.items():
            found += [f"{name}: {doubt}" for doubt in each["doubts"]]
        return found


@dataclass(frozen=True, kw_only=True)
class Batch:
    """A batch that was done, or interrupted.

    Attributes:
        outcomes: of all rows, in their order.
        notes: what is odd about the table or folder.
    """

    outcomes: tuple[RowOutcome, ...]
    notes: tuple[str, ...] = ()

    @property
    def counts(self) -> Counter[str]:
        """Rows that are "passed", "unsettled" among these, "doubtful", "failed" and "pending"."""
        found: Counter[str] = Counter()
        for each in self.outcomes:
            if each.document is None:
                found[each.status] += 1
            else:
                found["doubtful" if each.doubtful else "passed"] += 1
                found["unsettled"] += not each.doubtful and each.status == Status.MAX_STEPS
        return found

    @property
    def complete(self) -> bool:
        """Whether every row has a result, be it doubtful."""
        return all(each.document is not None for each in self.outcomes)

    @property
    def doubtful(self) -> bool:
        """Whether any result must not be relied on."""
        return any(each.doubtful for each in self.outcomes)


def batch_verdict(batch: Batch, report: Path | None = None) -> str:
    """The one line that matters most: how many X-rays passed all checks, and why the first other did not.

    Args:
        batch: the batch.
        report: the page that shows it; not mentioned when None.
    """
    counts, where = batch.counts, "" if report is None else f" -> {report}"
    parts = [f"{counts['passed']} of {len(batch.outcomes)} X-rays passed all checks"]
    if counts["unsettled"]:
        parts.append(f"{counts['unsettled']} of them not settled")
    for name, words in (("doubtful", "doubtful"), (FAILED, "failed"), (PENDING, "not registered yet")):
        if counts[name]:
            parts.append(f"{counts[name]} {words}")
    text = ", ".join(parts)
    odd = next(
        (each for status in (FAILED, Status.DOUBTFUL) for each in batch.outcomes if each.status == status),
        None,
    )
    if odd is not None:
        text = f"{text}; {odd.row.name}: {odd.verdict.removeprefix('DOUBTFUL: ')}"
    head = "" if batch.complete else "INCOMPLETE: "
    if batch.complete and batch.doubtful:
        head = "DOUBTFUL: "
    return f"{head}{text}{where}"
