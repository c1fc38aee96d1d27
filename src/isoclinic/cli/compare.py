"""`isoclinic compare`: evaluations of several methods in one report."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .._folders import new_folder
from ..errors import UsageError
from ..evaluation.comparison import paired_comparisons
from ..evaluation.records import combined, read_evaluation
from ..evaluation.report import REPORT_FILES, ReportConfig, write_report
from ..evaluation.tables import comparison_table, summary_columns
from ._compare_options import CompareOptions
from ._console import results


def main(options: CompareOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    unknown = sorted(set(options.columns or ()) - summary_columns().keys())
    if unknown:
        raise UsageError(
            f"there is no column {unknown[0]!r}; there are {', '.join(summary_columns())}",
            code="options.unknown-name",
        )
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
