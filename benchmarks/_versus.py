"""Learned against classical on the same X-rays, kind by kind."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from rich.table import Table

CLASSICAL, LEARNED = "classical", "learned"
# A result this near to the truth is right, and one that is this much farther from it is worse [mm].
_RIGHT_MM, _WORSE_MM = 2.0, 1.0


class Compared(Protocol):
    """One registration by one method; see `trust.Row`."""

    @property
    def name(self) -> str:
        """Of the X-ray."""
        ...

    @property
    def kind(self) -> str:
        """Of trouble."""
        ...

    @property
    def ct(self) -> str:
        """Its CT."""
        ...

    @property
    def method(self) -> str:
        """Either of the two."""
        ...

    @property
    def error_mm(self) -> float:
        """True error [mm]."""
        ...

    @property
    def seconds(self) -> float:
        """Run time."""
        ...

    @property
    def flagged(self) -> bool:
        """Whether the user was told not to rely on it."""
        ...

    @property
    def asked(self) -> bool:
        """Whether the model was asked."""
        ...

    @property
    def rescued(self) -> bool:
        """Whether the result is the model's."""
        ...


def versus(rows: Sequence[Compared]) -> Table:
    """Of each kind and CT how often both are right, their median errors and times, and what changed."""
    result = Table("kind", "CT", title="classical -> with the model as the last resort, of the same X-rays")
    for heading in (
        *("n", f"right\n< {_RIGHT_MM:g} mm \\[%]", "median\n\\[mm]", "mean time\n\\[s]"),
        *("model\nasked", "result is\nthe model's", "better", f"worse by\n> {_WORSE_MM:g} mm"),
        ">= 10 mm\nunflagged",
    ):
        result.add_column(heading, justify="right")
    pairs = _pairs(rows)
    kinds = list(dict.fromkeys(row.kind for row, _ in pairs))
    groups = [(kind, ct) for kind in kinds for ct in dict.fromkeys(row.ct for row, _ in pairs)]
    for kind, ct in [*groups, *((kind, "all") for kind in kinds), ("all", "all")]:
        chosen = [pair for pair in pairs if kind in (pair[0].kind, "all") and ct in (pair[0].ct, "all")]
        if chosen:
            result.add_row(kind, ct, *_cells(chosen))
    return result


def _pairs(rows: Sequence[Compared]) -> list[tuple[Compared, Compared]]:
    """(classical, learned) of every X-ray that has both."""
    of = {(row.method, row.name): row for row in rows}
    names = dict.fromkeys(row.name for row in rows)
    return [
        (of[CLASSICAL, name], of[LEARNED, name])
        for name in names
        if (CLASSICAL, name) in of and (LEARNED, name) in of
    ]


def _cells(pairs: Sequence[tuple[Compared, Compared]]) -> list[str]:
    errors = np.array([[row.error_mm for row in pair] for pair in pairs])
    right, median = 100 * (errors < _RIGHT_MM).mean(axis=0), np.median(errors, axis=0)
    seconds = np.mean([[row.seconds for row in pair] for pair in pairs], axis=0)
    silent = [
        sum(row.error_mm >= 10 and not row.flagged for row in each) for each in zip(*pairs, strict=True)
    ]
    asked, rescued = (sum(getattr(row, name) for _, row in pairs) for name in ("asked", "rescued"))
    return [
        f"{len(pairs)}",
        f"{right[0]:.0f} -> {right[1]:.0f}",
        f"{median[0]:.2f} -> {median[1]:.2f}",
        f"{seconds[0]:.1f} -> {seconds[1]:.1f}",
        f"{asked}",
        f"{rescued}",
        f"{int((errors[:, 1] < errors[:, 0] - _WORSE_MM).sum())}",
        f"{int((errors[:, 1] > errors[:, 0] + _WORSE_MM).sum())}",
        f"{silent[0]} -> {silent[1]}",
    ]
