"""One page, complete in itself, to judge methods by: numbers with intervals, pictures, the worst cases."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

from markupsafe import Markup

from .. import __version__
from ..viewer.html import bullets, card, cell, column, document, environment, figure_svg, heading, table
from ._calibration import calibration, calibration_figure, calibration_text
from ._summaries import Row, RowKey
from .comparison import PairedComparison
from .config import StatisticsConfig
from .figures import paired_figure, summary_figure, time_figure
from .measurement import METRICS, Measurement
from .records import Origin, case_folder
from .tables import Table, cell_texts, summary_columns

_WORST = 20
_HEADLINES = 12
_DEFINITIONS = {
    "mTRE [mm]": "mean target registration error: the mean distance in space between the landmarks' places "
    "in the camera's frame under the found and the true pose.",
    "mPD [mm]": "mean projection distance: the mean distance between the landmarks' projections, "
    "on the detector.",
    "mRPD [mm]": "mean reprojection distance: the mean distance in space of the landmarks to the rays of "
    "their true projections; blind to depth.",
    "Rotation [deg]": "angle of the rotation between both poses.",
    "Translation [mm]": "displacement of the landmarks' centroid along the camera's x (to the right of the "
    "image), y (down) and depth (from the source to the detector), without its sign.",
    "Success": "share of registrations whose mTRE is below a bound; below 1 mm it is called SMSR, the "
    "sub-millimetre success rate.",
    "Initial mTRE [mm]": "that of the pose the registration started from.",
    "Time [s]": "run time without reading files.",
    "inf": "a registration that gave no usable pose; it ranks last and fails.",
}
_REFERENCES = (
    "mTRE, mPD, mRPD: van de Kraats, Penney, Tomazevic, van Walsum, Niessen 2005, IEEE Trans. Med. Imaging "
    "24(9). Detector distances that some papers call mTRE are other quantities and never mixed with these.",
    "SMSR: Gopalakrishnan, Dey, Golland 2024, CVPR.",
    "Intervals of success: Wilson 1927, J. Am. Stat. Assoc. 22, with the effective number of cases of Korn & "
    "Graubard 1998, Survey Methodology 24(2).",
    "Cluster bootstrap: Field & Welsh 2007, J. R. Statist. Soc. B 69(3).",
    "Tests: Wilcoxon 1945, Biometrics Bulletin 1(6); McNemar 1947, Psychometrika 12(2); Holm 1979, Scand. J. "
    "Statist. 6(2).",
)


@dataclass(frozen=True, kw_only=True)
class PageContents:
    """What the page shows.

    Attributes:
        title: of the page.
        measurements: all of them.
        rows: their summaries.
        tables: to show.
        comparisons: of every two methods.
        origins: where results of methods are, as seen from the page's folder; by default there.
        statistics: of intervals and comparisons.
        command: that made it; may be empty.
    """

    title: str
    measurements: Sequence[Measurement]
    rows: Mapping[RowKey, Row]
    tables: Sequence[Table]
    comparisons: Sequence[PairedComparison]
    origins: Mapping[str, Origin]
    statistics: StatisticsConfig
    command: str


def page(contents: PageContents) -> str:
    """The page as HTML, which opens offline and loads nothing."""
    template = environment(__package__, ".").get_template("page.html")
    body = template.render(
        title=contents.title, scope=_scope(contents.measurements), cards=list(_cards(contents))
    )
    return document(
        title=contents.title, style=_resource("page.css"), script=_resource("page.js"), body=Markup(body)
    )


def _resource(name: str) -> str:
    return (files(__package__) / name).read_text(encoding="utf-8")


def _cards(contents: PageContents) -> list[Markup]:
    measurements, config = contents.measurements, contents.statistics
    cards = [card("In short", _headlines(contents))]
    cards += [card(each.title, _table(each)) for each in contents.tables]
    if contents.comparisons:
        cards.append(card("How to read the paired comparisons", bullets(_comparison_notes(config))))
    for title, draw in (
        ("Errors and capture range", lambda: summary_figure(measurements, config)),
        ("Run time", lambda: time_figure(measurements)),
    ):
        cards.append(card(title, figure_svg(draw, title)))
    if contents.comparisons:
        title = "Methods against each other"
        paired = figure_svg(lambda: paired_figure(measurements), title)
        cards.append(card(title, Markup('<div class="narrow">{}</div>').format(paired)))
    cards.append(card("Worst registrations", _worst(contents)))
    cards.append(card("Does it know when it failed?", _calibration(measurements)))
    terms = Markup().join(Markup("<dt>{}</dt><dd>{}</dd>").format(*each) for each in _DEFINITIONS.items())
    notes = Markup("<dl>{}</dl>{}").format(terms, bullets(_interval_notes(config)))
    cards.append(card("What the numbers mean", notes))
    cards.append(card("References", bullets(_REFERENCES)))
    cards.append(card("How it was made", _provenance(contents)))
    return cards


def _scope(measurements: Sequence[Measurement]) -> str:
    def counted(values: Sequence[str], one: str, many: str) -> str:
        count = len(set(values))
        return f"{count} {one if count == 1 else many}"

    datasets = ", ".join(dict.fromkeys(each.dataset for each in measurements))
    parts = (
        counted([each.case for each in measurements], "X-ray", "X-rays"),
        counted([each.group for each in measurements], "subject", "subjects"),
        counted([each.method for each in measurements], "method", "methods"),
        counted([each.start for each in measurements], "start", "starts"),
    )
    return f"Data set {datasets}: {len(measurements)} registrations, {', '.join(parts)}."


def _headlines(contents: PageContents) -> Markup:
    """A sentence for every method and start, over all groups."""
    whole: dict[tuple[str, str, str], Row] = {}
    for key, row in contents.rows.items():
        whole[key[:3]] = row  # "all" is the last of its groups
    columns = summary_columns()
    lines = []
    for (_, method, start), row in list(whole.items())[:_HEADLINES]:
        success, median = columns["success_below_mm_2"], columns["mtre_mm_p50"]
        low, high = row.intervals[success.name]
        percentiles = row.summary.percentiles
        lines.append(
            f"{method}, start {start}: {success.number(row.summary.success_rates[2.0])} % of "
            f"{row.summary.cases} below 2 mm ({success.number(low)} to {success.number(high)} %), median "
            f"{median.number(percentiles['mtre_mm'][50])} mm from "
            f"{columns['initial_mtre_mm_p50'].number(percentiles['initial_mtre_mm'][50])} mm, in "
            f"{percentiles['run_time_s'][50]:.2g} s."
        )
    if len(whole) > _HEADLINES:
        lines.append(f"and {len(whole) - _HEADLINES} more in the tables")
    return bullets(lines)


def _table(shown: Table) -> Markup:
    header = [
        column(each.title, "number" if shown.is_number(index) else "")
        for index, each in enumerate(shown.columns)
    ]
    body = []
    for row in shown.rows:
        cells = []
        for index, (value, each) in enumerate(zip(row, shown.columns, strict=True)):
            text, interval = cell_texts(value, each, "{} to {}")
            cells.append(cell(text, "number" if shown.is_number(index) else "", interval or ""))
        body.append(cells)
    return Markup('<div class="scrolled">{}</div>').format(table(header, body, "sorted"))


def _worst(contents: PageContents) -> Markup:
    """The largest errors, with links to the folders of their poses."""
    ranked = sorted(contents.measurements, key=lambda each: _rank(each.mtre_mm), reverse=True)[:_WORST]
    header = (
        *(column(name) for name in ("case", "start", "method")),
        *(column(name, "number") for name in ("initial mTRE [mm]", "mTRE [mm]", "mPD [mm]", "expected [mm]")),
        column("status"),
    )
    body = [
        (
            Markup('<th scope="row"><a href="{}">{}</a></th>').format(_link(each, contents), each.case),
            cell(each.start),
            cell(each.method),
            *(
                cell(f"{value:.2f}" if math.isfinite(value) else "inf", "number")
                for value in (each.initial_mtre_mm, each.mtre_mm, each.mpd_mm)
            ),
            cell(
                f"{each.expected_error_mm:.2f}" if math.isfinite(each.expected_error_mm) else "unknown",
                "number",
            ),
            cell(each.status or "none given"),
        )
        for each in ranked
    ]
    count = f"The {len(ranked)} largest of {len(contents.measurements)} errors"
    note = Markup("<p>{}; links open the folders of their poses.</p>").format(count)
    return note + Markup('<div class="scrolled">{}</div>').format(table(header, body, "sorted"))


def _rank(error_mm: float) -> float:
    return error_mm if math.isfinite(error_mm) else math.inf


def _link(each: Measurement, contents: PageContents) -> str:
    """Relative address of the folder with a registration's pose."""
    origin = contents.origins.get(each.method, Origin(folder=Path(), method=each.method))
    return quote(case_folder(origin.folder, each.case, each.start, origin.method).as_posix()) + "/"


def _calibration(measurements: Sequence[Measurement]) -> Markup:
    assessing = list(dict.fromkeys(each.method for each in measurements if each.status))
    if not assessing:
        return Markup("<p>None of the methods says how far to rely on its results.</p>")
    header = [column("method"), column("what its status and expected error say")]
    body = [
        (
            heading(method),
            cell(calibration_text(calibration([m for m in measurements if m.method == method]))),
        )
        for method in assessing
    ]
    title = "True against expected error, and error by status"
    return table(header, body) + figure_svg(lambda: calibration_figure(measurements), title)


def _unit(config: StatisticsConfig) -> str:
    return {"case": "X-rays", "group": "subjects"}[config.unit]


def _interval_notes(config: StatisticsConfig) -> list[str]:
    return [
        f"In parentheses, {config.level:.0%} confidence intervals. Those of percentiles are from "
        f"{config.resamples} bootstrap samples (seed {config.seed}) of whole {_unit(config)}, since "
        "registrations of one are not independent; no interval is given where there is only one.",
        "Those of success rates are Wilson's, for the effective number of independent cases.",
        "Percentiles are interpolated linearly between ranks.",
    ]


def _comparison_notes(config: StatisticsConfig) -> list[str]:
    return [
        "Only registrations that both methods have done of the same X-ray from the same start are compared; "
        "the others are counted as left out.",
        "Differences are a minus b: below zero, a has the smaller error, or the smaller success rate. Their "
        f"{config.level:.0%} intervals are from {config.resamples} paired bootstrap samples of "
        f"{_unit(config)}; the difference of medians is unknown where both are infinite; an interval from "
        "0 to 0 means that both succeed alike.",
        "Wilcoxon's signed-rank test asks whether errors of one are smaller; two failures of the same X-ray "
        "are a tie. McNemar's exact test asks the same of successes, mTRE below "
        f"{config.success_mm:g} mm. Both are two-sided; the columns beside are corrected by Holm for all "
        "tests of this page.",
        "Tests take X-rays as independent, also those of one subject.",
    ]


def _provenance(contents: PageContents) -> Markup:
    lines = [f"isoclinic {__version__}", f"metrics: {METRICS}"]
    lines += [f"{method}: {origin.method} of {origin.folder}" for method, origin in contents.origins.items()]
    command = Markup("<pre>{}</pre>").format(contents.command) if contents.command else Markup()
    return bullets(lines) + command
