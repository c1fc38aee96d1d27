"""What an evaluation leaves: tables as CSV, Markdown, LaTeX and JSON, pictures, and one page with all."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from .. import __version__
from .._files import atomic
from ..errors import InputError
from ._calibration import calibration, calibration_figure
from ._summaries import Row, RowKey, flat, rows, summary_entries
from .comparison import PairedComparison, paired_comparisons
from .config import StatisticsConfig
from .figures import paired_figure, summary_figure, time_figure
from .measurement import METRICS, Measurement
from .page import PageContents, page
from .records import SUMMARY_JSON, Origin, check_comparable, finite
from .tables import STANDARD, Table, comparison_table, summary_table

MEASUREMENTS_CSV, SUMMARY_CSV, SUMMARY_MD, SUMMARY_TEX, COMPARISONS_CSV, REPORT_HTML = (
    "measurements.csv",
    "summary.csv",
    "summary.md",
    "summary.tex",
    "comparisons.csv",
    "report.html",
)
SUMMARY_PNG, TIME_PNG, PAIRED_PNG, CALIBRATION_PNG = (
    "summary.png",
    "time.png",
    "paired.png",
    "calibration.png",
)
REPORT_FILES = frozenset(
    {
        *(MEASUREMENTS_CSV, SUMMARY_CSV, SUMMARY_JSON, SUMMARY_MD, SUMMARY_TEX, COMPARISONS_CSV, REPORT_HTML),
        *(SUMMARY_PNG, TIME_PNG, PAIRED_PNG, CALIBRATION_PNG),
    }
)
_DPI = 120


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What a report says besides the measurements.

    Attributes:
        title: of the page and of tables.
        command: that made it, for the page.
        columns: of the tables in Markdown, LaTeX and on the page, by their names in the CSV; by default the
            usual ones.
        origins: where results of methods are that other runs have made, as seen from the report's folder, for
            links; by default there.
        statistics: of intervals and comparisons.
    """

    title: str = "Evaluation"
    command: str = ""
    columns: tuple[str, ...] | None = None
    origins: Mapping[str, Origin] = field(default_factory=dict)
    statistics: StatisticsConfig = field(default_factory=StatisticsConfig)


def write_report(
    folder: Path, measurements: Sequence[Measurement], config: ReportConfig | None = None
) -> None:
    """Write every measurement, the tables (CSV, JSON, Markdown, LaTeX), the pictures, and report.html.

    Args:
        folder: that holds them, and cases/SAMPLE/START/METHOD for links unless `origins` says otherwise.
        measurements: of one data set.
        config: of the report.

    Raises:
        InputError: there is no measurement, they must not be mixed, or the files cannot be written.
        UsageError: a column that there is not.
    """
    config = config or ReportConfig()
    _check(folder, measurements)
    table_rows = rows(measurements, config.statistics)
    comparisons = paired_comparisons(measurements, config.statistics)
    tables = _tables(table_rows, comparisons, config)
    figures = _figures(measurements, comparisons, config.statistics)
    _write_csv(folder / MEASUREMENTS_CSV, [flat(asdict(each)) for each in measurements])
    _write(folder / SUMMARY_CSV, summary_table(table_rows, config.title).csv())
    _write(folder / SUMMARY_MD, "\n".join(table.markdown() for table in tables))
    _write(folder / SUMMARY_TEX, "\n".join(["% Needs \\usepackage{booktabs}.", *(t.latex() for t in tables)]))
    document = _document(measurements, table_rows, comparisons, config.statistics)
    _write(folder / SUMMARY_JSON, json.dumps(document, indent=2, allow_nan=False) + "\n")
    for optional in (COMPARISONS_CSV, PAIRED_PNG):
        (folder / optional).unlink(missing_ok=True)
    if comparisons:
        _write(folder / COMPARISONS_CSV, comparison_table(comparisons, config.statistics).csv())
    for name, figure in figures.items():
        with atomic(folder / name) as temporary:
            figure.savefig(temporary, format="png", dpi=_DPI)
    contents = PageContents(
        title=config.title,
        measurements=measurements,
        rows=table_rows,
        tables=tables,
        comparisons=comparisons,
        origins=config.origins,
        statistics=config.statistics,
        command=config.command,
    )
    _write(folder / REPORT_HTML, page(contents))


def summary_document(
    measurements: Sequence[Measurement], statistics: StatisticsConfig | None = None
) -> dict[str, Any]:
    """All of it as JSON can hold it: what is infinite or not a number becomes null.

    Args:
        measurements: of one data set.
        statistics: of intervals and comparisons.
    """
    config = statistics or StatisticsConfig()
    return _document(
        measurements, rows(measurements, config), paired_comparisons(measurements, config), config
    )


def _check(folder: Path, measurements: Sequence[Measurement]) -> None:
    if not measurements:
        raise InputError("there is no measurement to report", code="evaluation.unknown-name")
    check_comparable({str(folder): measurements})


def _tables(
    table_rows: Mapping[RowKey, Row], comparisons: Sequence[PairedComparison], config: ReportConfig
) -> list[Table]:
    """Those that people read."""
    chosen = STANDARD if config.columns is None else {config.title: config.columns}
    tables = [summary_table(table_rows, title, columns) for title, columns in chosen.items()]
    return tables + ([comparison_table(comparisons, config.statistics)] if comparisons else [])


def _figures(
    measurements: Sequence[Measurement], comparisons: Sequence[PairedComparison], config: StatisticsConfig
) -> dict[str, Figure]:
    """Pictures by the names of their files."""
    figures = {
        SUMMARY_PNG: summary_figure(measurements, config),
        TIME_PNG: time_figure(measurements),
        CALIBRATION_PNG: calibration_figure(measurements),
    }
    return figures | {PAIRED_PNG: paired_figure(measurements)} if comparisons else figures


def _document(
    measurements: Sequence[Measurement],
    table_rows: Mapping[RowKey, Row],
    comparisons: Sequence[PairedComparison],
    config: StatisticsConfig,
) -> dict[str, Any]:
    document: dict[str, Any] = finite(
        {
            "metrics": METRICS,
            "isoclinic": __version__,
            "statistics": asdict(config),
            "summaries": [
                {**key._asdict(), **summary_entries(row.summary), "intervals": row.intervals}
                for key, row in table_rows.items()
            ],
            "comparisons": [asdict(each) for each in comparisons],
            "calibration": asdict(calibration(measurements)),
            "measurements": [asdict(each) for each in measurements],
        }
    )
    return document


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _write_csv(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    with atomic(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        writer.writerows(records)
