"""Tables with confidence intervals: one model, written as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import NamedTuple

from ..errors import UsageError
from ._summaries import Row, RowKey, flat, summary_entries
from .comparison import PairedComparison
from .config import StatisticsConfig
from .statistics import UNKNOWN, Interval

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
}


class Estimate(NamedTuple):
    """A number with its confidence interval."""

    value: float
    interval: Interval = UNKNOWN


Value = str | int | Estimate


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column.

    Attributes:
        name: for programs; that of a summary, see `summary_columns`.
        title: for people, with the unit.
        digits: after the decimal point.
        scale: factor from the number to what people read, such as 100 for per cent.
    """

    name: str
    title: str
    digits: int = 2
    scale: float = 1.0

    def number(self, value: float) -> str:
        """As people read it."""
        return "unknown" if math.isnan(value) else f"{self.scale * value:.{self.digits}f}"


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of values under columns.

    Attributes:
        title: what it shows.
        columns: in order.
        rows: values in the columns' order.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Value, ...], ...]

    def markdown(self) -> str:
        """As GitHub reads it; a bar within a cell is escaped."""
        alignment = ["---:" if self.is_number(index) else "---" for index in range(len(self.columns))]
        lines = [[each.title for each in self.columns], alignment, *self._texts("{} to {}")]
        text = [" | ".join(each.replace("|", r"\|") for each in line) for line in lines]
        return f"### {self.title}\n\n" + "".join(f"| {line} |\n" for line in text)

    def latex(self) -> str:
        r"""A floating table for the package booktabs; every special character is escaped."""
        lines = [[each.title for each in self.columns], *self._texts("{}--{}")]
        head, *body = [" & ".join(latex_escaped(each) for each in line) + r" \\" for line in lines]
        alignment = "".join("r" if self.is_number(index) else "l" for index in range(len(self.columns)))
        return "\n".join(
            [
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{latex_escaped(self.title)}}}",
                rf"  \begin{{tabular}}{{{alignment}}}",
                r"    \toprule",
                f"    {head}",
                r"    \midrule",
                *(f"    {line}" for line in body),
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
                "",
            ]
        )

    def csv(self) -> str:
        """Full precision; an interval's ends are columns of their own, NAME_low and NAME_high."""
        file = StringIO()
        writer = csv.writer(file, lineterminator="\n")
        names: list[str] = []
        for index, column in enumerate(self.columns):
            names.append(column.name)
            if self._is_estimate(index):
                names += [f"{column.name}_low", f"{column.name}_high"]
        writer.writerow(names)
        for row in self.rows:
            values = [[each.value, *each.interval] if isinstance(each, Estimate) else [each] for each in row]
            writer.writerow([value for of_cell in values for value in of_cell])
        return file.getvalue()

    def is_number(self, index: int) -> bool:
        """Whether a column is aligned on the right."""
        return bool(self.rows) and not isinstance(self.rows[0][index], str)

    def _is_estimate(self, index: int) -> bool:
        return bool(self.rows) and isinstance(self.rows[0][index], Estimate)

    def _texts(self, interval: str) -> list[list[str]]:
        return [
            [" ".join(filter(None, cell_texts(value, column, interval))) for value, column in pairs]
            for row in self.rows
            for pairs in [zip(row, self.columns, strict=True)]
        ]


def cell_texts(value: Value, column: Column, interval: str) -> tuple[str, str]:
    """A value and its interval as people read them; the second may be empty.

    Args:
        value: of the cell.
        column: it is in.
        interval: how to write one, with {} for its ends.
    """
    if not isinstance(value, Estimate):
        return str(value), ""
    low, high = value.interval
    if math.isnan(low) or math.isnan(high):
        return column.number(value.value), ""
    return column.number(value.value), f"({interval.format(column.number(low), column.number(high))})"


def latex_escaped(text: str) -> str:
    """Text in which no character means anything to LaTeX."""
    return "".join(_LATEX.get(character, character) for character in text)


_ERRORS = {"mtre_mm": "mTRE", "mpd_mm": "mPD", "mrpd_mm": "mRPD"}
_OTHERS = {
    "initial_mtre_mm": ("initial mTRE", "mm", 1),
    **{name: (title, "mm", 2) for name, title in _ERRORS.items()},
    "rotation_deg": ("rotation", "deg", 2),
    **{f"translation_{axis}_mm": (f"translation {axis}", "mm", 2) for axis in ("x", "y", "depth")},
    "run_time_s": ("time", "s", 2),
}
_PERCENTS = {25: "25 %", 50: "median", 75: "75 %", 95: "95 %"}
_KEYS = tuple(
    Column(name=name, title=title)
    for name, title in (("dataset", "data set"), ("method", "method"), ("start", "start"), ("group", "group"))
)


def summary_columns() -> dict[str, Column]:
    """All columns that a summary has, by name."""
    columns = [
        Column(name="cases", title="cases"),
        *(
            Column(name=f"success_below_mm_{bound}", title=f"mTRE < {bound} mm [%]", digits=0, scale=100)
            for bound in (1, 2, 5, 10)
        ),
        *(
            Column(name=f"{metric}_p{percent}", title=f"{title} {what} [{unit}]", digits=digits)
            for metric, (title, unit, digits) in _OTHERS.items()
            for percent, what in _PERCENTS.items()
        ),
    ]
    return {each.name: each for each in columns}


def _percentile_names(metrics: Sequence[str], percents: Sequence[int]) -> tuple[str, ...]:
    return tuple(f"{metric}_p{percent}" for metric in metrics for percent in percents)


# What people read; the CSV has every column.
STANDARD: Mapping[str, tuple[str, ...]] = {
    "Success and mTRE": (
        "cases",
        "initial_mtre_mm_p50",
        *(f"success_below_mm_{bound}" for bound in (1, 2, 5, 10)),
        *_percentile_names(["mtre_mm"], list(_PERCENTS)),
        "run_time_s_p50",
    ),
    "mPD and mRPD": _percentile_names(["mpd_mm", "mrpd_mm"], list(_PERCENTS)),
    "Rotation, and translation along the camera's axes": _percentile_names(
        ["rotation_deg", *(f"translation_{axis}_mm" for axis in ("x", "y", "depth"))], [50, 95]
    ),
}


def summary_table(rows: Mapping[RowKey, Row], title: str, columns: Sequence[str] | None = None) -> Table:
    """A row for every data set, method, start and group.

    Args:
        rows: of the table.
        title: what it shows.
        columns: names of those to take, of `summary_columns`; all when None.

    Raises:
        UsageError: a column that there is not; the message lists them.
    """
    known = summary_columns()
    chosen = list(known) if columns is None else list(columns)
    unknown = next((name for name in chosen if name not in known), None)
    if unknown is not None:
        raise UsageError(
            f"there is no column {unknown!r}; there are {', '.join(known)}", code="evaluation.unknown-name"
        )

    def values(row: Row) -> list[Value]:
        entries = flat(summary_entries(row.summary))
        return [
            entries[name] if name == "cases" else Estimate(entries[name], row.intervals[name])
            for name in chosen
        ]

    return Table(
        title=title,
        columns=(*_KEYS, *(known[name] for name in chosen)),
        rows=tuple((*key, *values(row)) for key, row in rows.items()),
    )


_Field = Callable[[PairedComparison], Value]


def comparison_table(comparisons: Sequence[PairedComparison], config: StatisticsConfig) -> Table:
    """A row for every two methods at every start."""
    title, unit, digits = _OTHERS[config.metric]
    below = f"mTRE < {config.success_mm:g} mm"
    per_cent = {"digits": 0, "scale": 100}
    fields: list[tuple[Column, _Field]] = [
        (Column(name="dataset", title="data set"), lambda each: each.dataset),
        (Column(name="start", title="start"), lambda each: each.start),
        (Column(name="method_a", title="a"), lambda each: each.methods[0]),
        (Column(name="method_b", title="b"), lambda each: each.methods[1]),
        (Column(name="pairs", title="pairs"), lambda each: each.pairs),
        (Column(name="only_a", title="left out, only a"), lambda each: each.only[0]),
        (Column(name="only_b", title="left out, only b"), lambda each: each.only[1]),
        (
            Column(name="median_a", title=f"{title} median a [{unit}]", digits=digits),
            lambda each: Estimate(each.medians[0]),
        ),
        (
            Column(name="median_b", title=f"{title} median b [{unit}]", digits=digits),
            lambda each: Estimate(each.medians[1]),
        ),
        (
            Column(name="median_difference", title=f"difference a - b [{unit}]", digits=digits),
            lambda each: Estimate(each.median_difference, each.median_interval),
        ),
        (Column(name="better_a", title="a better"), lambda each: each.better[0]),
        (Column(name="better_b", title="b better"), lambda each: each.better[1]),
        (Column(name="wilcoxon_p", title="Wilcoxon p", digits=4), lambda each: Estimate(each.wilcoxon_p)),
        (
            Column(name="wilcoxon_holm_p", title="Holm", digits=4),
            lambda each: Estimate(each.wilcoxon_holm_p),
        ),
        (
            Column(name="success_difference", title=f"{below}, a - b [points]", **per_cent),
            lambda each: Estimate(each.success_difference, each.success_interval),
        ),
        (Column(name="success_only_a", title="only a succeeds"), lambda each: each.discordant[0]),
        (Column(name="success_only_b", title="only b succeeds"), lambda each: each.discordant[1]),
        (Column(name="mcnemar_p", title="McNemar p", digits=4), lambda each: Estimate(each.mcnemar_p)),
        (Column(name="mcnemar_holm_p", title="Holm", digits=4), lambda each: Estimate(each.mcnemar_holm_p)),
    ]
    return Table(
        title="Paired comparisons",
        columns=tuple(column for column, _ in fields),
        rows=tuple(tuple(value(each) for _, value in fields) for each in comparisons),
    )
