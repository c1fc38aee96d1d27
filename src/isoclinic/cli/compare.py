"""`isoclinic compare`: evaluations of several methods in one report."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ..errors import UsageError
from ..evaluation.comparison import paired_comparisons
from ..evaluation.records import combined, read_evaluation
from ..evaluation.report import REPORT_FILES, ReportConfig, write_report
from ..evaluation.statistics import StatisticsConfig
from ..evaluation.tables import comparison_table, summary_columns
from ._console import results
from ._folder import new_folder
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Compare evaluations: one report of all their methods, with paired tests of every two.

    They must be of the same data set and have measured errors at the same points. Methods of the same name
    are told apart by their folders.

    Attributes:
        folders: outputs of isoclinic evaluate.
        output: folder for the report (report.html, tables, pictures).
        title: of the report.
        columns: of the tables that people read, by their names in summary.csv; by default the usual ones.
        overwrite: replace an earlier report.
        config: TOML file with any of these options; the command line wins.
        statistics: of intervals and comparisons.
    """

    folders: Positional[tuple[Path, ...]]
    output: Path
    title: str = "Comparison"
    columns: tuple[str, ...] | None = None
    overwrite: bool = False
    config: Path | None = None
    statistics: Annotated[StatisticsConfig, FLAT] = field(default_factory=StatisticsConfig)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(CompareOptions, "compare", arguments)
    unknown = sorted(set(options.columns or ()) - summary_columns().keys())
    if unknown:
        raise UsageError(f"there is no column {unknown[0]!r}; there are {', '.join(summary_columns())}")
    measurements, origins = combined([read_evaluation(folder) for folder in options.folders])
    output = options.output.resolve()
    seen = {
        name: replace(origin, folder=Path(os.path.relpath(origin.folder.resolve(), output)))
        for name, origin in origins.items()
    }
    config = ReportConfig(
        title=options.title,
        command=shlex.join(["isoclinic", "compare", *arguments]),
        columns=options.columns,
        origins=seen,
        statistics=options.statistics,
    )
    with new_folder(options.output, overwrite=options.overwrite, known=REPORT_FILES) as folder:
        write_report(folder, measurements, config)
    comparisons = paired_comparisons(measurements, options.statistics)
    if comparisons:
        table = comparison_table(comparisons, options.statistics)
        results().print(table.markdown(), markup=False, soft_wrap=True)
    else:
        results().print("no two methods have registered the same X-ray from the same start", markup=False)
    results().print(f"the report is in {options.output}", markup=False, soft_wrap=True)
