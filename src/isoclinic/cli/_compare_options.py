"""Options of `isoclinic compare`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ..evaluation.config import StatisticsConfig
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Compare evaluations: one report of all their methods, with paired tests of every two.

    The evaluations must be of the same data set, with errors at the same points. Methods of the same name are
    distinguished by their folders.

    Attributes:
        folders: outputs of isoclinic evaluate.
        output: folder for the report (report.html, tables, pictures).
        title: title of the report.
        columns: columns of the tables that people read, by their names in summary.csv; by default the usual
            ones.
        overwrite: replace an earlier report.
        config: TOML file with any of these options; the command line overrides the file.
        statistics: settings of intervals and comparisons.
    """

    folders: Positional[tuple[Path, ...]]
    output: Path
    title: str = "Comparison"
    columns: tuple[str, ...] | None = None
    overwrite: bool = False
    config: Path | None = None
    statistics: Annotated[StatisticsConfig, FLAT] = field(default_factory=StatisticsConfig)


def parse(arguments: Sequence[str]) -> CompareOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(CompareOptions, "compare", arguments)
