"""One page, complete in itself, to judge a registration by: pictures to compare, errors, geometry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .._files import atomic
from ..geometry import Camera
from ..solver import Status
from ._html import (
    bullets,
    card,
    cell,
    column,
    convergence_svg,
    document,
    fill,
    heading,
    png_uri,
    resource,
    table,
)
from ._marks import marks, outline_colours, side_marks
from ._panels import window
from .overlay import EDGE_COLOUR, START_COLOUR, TILES, edges
from .report_data import (
    CheckRow,
    ErrorRow,
    GeometryRow,
    Report,
    ReportLandmarks,
    ReportView,
    StructureRow,
)

# The range of tones stored, wider than the one that `write_overlay` shows: the page can narrow it.
_STORED_PERCENT = (0.1, 99.9)
# style.css has the same colours.
_MASK_COLOUR = (0.84, 0.275, 0.706)
_MASK_OPACITY = 0.45

_NAMES = {
    Status.CONVERGED: "Converged",
    Status.MAX_STEPS: "Not settled",
    Status.DOUBTFUL: "Doubtful",
    Status.DIVERGED: "Diverged",
}
_ADVICE = {
    Status.CONVERGED: "The search settled and all checks passed. Compare the pictures before relying on it.",
    Status.MAX_STEPS: "The search was still moving when it reached its limit of steps.",
    Status.DOUBTFUL: "Do not rely on this result: a check failed.",
    Status.DIVERGED: "This pose is not a registration.",
}
_CONVERGENCE = (
    "Every stage, in the order they ran, compares images of the size named and starts where the one before "
    "ended. Its cost is drawn relative to where it starts: a curve that stays near 1 had little left to gain."
)


def write_report(path: Path | str, report: Report) -> None:
    """Write the report as one HTML file that opens offline and loads nothing.

    Raises:
        InputError: the file cannot be written.
    """
    page = _page(report)
    with atomic(Path(path)) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _page(report: Report) -> str:
    body = fill(
        "page.html",
        title=escape(report.title),
        status_name=_NAMES[report.status],
        status_advice=_ADVICE[report.status],
        headline=_headline(report),
        reasons=_note("Why", report.reasons, "reasons"),
        warnings=_note("Warnings", report.warnings, "warnings"),
        tabs=_tabs(report.views),
        views="\n".join(_view(view) for view in report.views),
        cards="\n".join(_cards(report)),
        wide_cards="\n".join(_wide_cards(report)),
    )
    return document(
        title=f"{_NAMES[report.status]}: {report.title}",
        script=resource("script.js"),
        body=body,
        status=report.status,
    )


def _headline(report: Report) -> str:
    if not report.errors:
        return ""
    first = report.errors[0]
    note = f" ({escape(first.note)})" if first.note else ""
    return f'<p class="headline">Expected error, {escape(first.name)}: <b>{_amount(first)}</b>{note}</p>'


def _note(title: str, lines: Sequence[str], kind: str) -> str:
    if not lines:
        return ""
    return f'<section class="note {kind}"><h2>{escape(title)}</h2>{bullets(lines)}</section>'


def _tabs(views: Sequence[ReportView]) -> str:
    if len(views) == 1:
        return ""
    choices = (
        f'<label title="key v: next"><input type="radio" name="view" value="{index}"'
        f"{' checked' if index == 0 else ''}><span>{escape(view.name)}</span></label>"
        for index, view in enumerate(views)
    )
    return (
        '<form class="tabs" autocomplete="off"><fieldset class="choice" aria-label="View">'
        f"{''.join(choices)}</fieldset></form>"
    )


def _view(view: ReportView) -> str:
    seen = np.ones_like(view.xray, dtype=bool) if view.weight is None else view.weight > 0
    everywhere = np.ones_like(seen)
    before = view.start if view.start_bones is None else view.start_bones
    after = view.result if view.result_bones is None else view.result_bones
    row_mm, column_mm = view.camera.pixel_spacing_mm
    width, height = view.camera.width, view.camera.height
    shorter = min(width, height)
    return fill(
        "view.html",
        name=escape(view.name),
        width=str(width),
        height=str(height),
        size=(
            f"{width} × {height} pixels of {column_mm:.3g} × {row_mm:.3g} mm on the detector, "
            "seen from the source"
        ),
        tile=str(max(1, round(shorter / TILES))),
        tile_max=str(max(8, shorter // 2)),
        xray=_grey(view.xray, seen),
        start=_grey(view.start, everywhere),
        result=_grey(view.result, everywhere),
        edges_start=_tint(
            edges(window(before, everywhere)) & seen,
            START_COLOUR,
        ),
        edges_result=_tint(
            edges(window(after, everywhere)) & seen,
            EDGE_COLOUR,
        ),
        mask=_tint(_MASK_OPACITY * (~seen if view.weight is None else 1 - view.weight), _MASK_COLOUR),
        marks=marks(view),
        start_sides=side_marks("start", view.start_sides),
        result_sides=side_marks("result", view.sides),
        legend=_legend(view),
        no_mask=_hidden(bool(seen.all())),
        no_landmarks=_hidden(view.landmarks is None),
        no_contours=_hidden(not (view.contours or view.start_contours)),
    )


def _hidden(hidden: bool) -> str:
    return " hidden" if hidden else ""


def _grey(image: NDArray[np.floating], seen: NDArray[np.bool_]) -> str:
    return png_uri(np.rint(255 * window(image, seen, _STORED_PERCENT)).astype(np.uint8))


def _tint(opacity: NDArray[np.floating] | NDArray[np.bool_], colour: tuple[float, float, float]) -> str:
    """One colour, of opacity [H, W] in 0..1."""
    picture = np.empty((*opacity.shape, 4))
    picture[..., :3] = colour
    picture[..., 3] = np.clip(opacity, 0, 1)
    return png_uri(np.rint(255 * picture).astype(np.uint8))


def _legend(view: ReportView) -> str:
    items = [
        f'<li><i class="swatch" style="background: {colour}"></i>{escape(name)}</li>'
        for name, colour in outline_colours(view).items()
    ]
    if view.landmarks is not None:
        items.append('<li><i class="swatch cross"></i>landmark projected from the CT</li>')
        if view.landmarks.given_px is not None:
            items.append('<li><i class="swatch ring"></i>landmark given in the X-ray</li>')
    return f'<ul class="legend">{"".join(items)}</ul>' if items else ""


def _cards(report: Report) -> list[str]:
    """Beside each other where there is room."""
    cards = []
    if report.errors:
        cards.append(card("Expected error", _error_table(report.errors)))
    if report.checks:
        cards.append(card("Checks", _check_table(report.checks)))
    if report.stages:
        body = (
            f'<div class="figure">{convergence_svg(report.stages)}</div><p class="caption">{_CONVERGENCE}</p>'
        )
        cards.append(card("Convergence", body))
    for view in report.views:
        if view.landmarks is not None and view.landmarks.given_px is not None:
            body = _landmark_table(view.landmarks, view.landmarks.given_px, view.camera)
            cards.append(card(f"Landmarks, {view.name}", body))
    return cards


def _wide_cards(report: Report) -> list[str]:
    cards = []
    if report.structures:
        cards.append(card("Structures one by one", _structure_table(report.structures)))
    if report.geometry:
        cards.append(card("Inputs and geometry", _geometry_table(report.geometry)))
    if report.command:
        where = f"<p>Run in <code>{escape(report.folder)}</code>:</p>" if report.folder else ""
        cards.append(card("Command that reproduces it", f"{where}<pre>{escape(report.command)}</pre>"))
    return cards


def _error_table(errors: Sequence[ErrorRow]) -> str:
    rows = [(heading(row.name, row.note), cell(_amount(row), "number"), _bar(row, errors)) for row in errors]
    return table((column(""), column("expected", "number"), column("")), rows)


def _bar(row: ErrorRow, errors: Sequence[ErrorRow]) -> str:
    """The error as a length, where there are others in its unit to compare it with."""
    comparable = [each.value for each in errors if each.unit == row.unit and math.isfinite(each.value)]
    if len(comparable) < 2 or not math.isfinite(row.value) or max(comparable) <= 0:
        return cell("")
    return f'<td class="bar"><i style="width: {100 * row.value / max(comparable):.1f}%"></i></td>'


def _amount(row: ErrorRow) -> str:
    return f"{row.value:.2f} {escape(row.unit)}" if math.isfinite(row.value) else "unknown"


def _millimetres(value: float) -> str:
    return _amount(ErrorRow(name="", value=value))


def _rms(distances_mm: NDArray[np.floating]) -> float:
    """Of the finite ones."""
    known = distances_mm[np.isfinite(distances_mm)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else math.nan


def _check_table(checks: Sequence[CheckRow]) -> str:
    rows = [(heading(row.name), cell(row.value, "number"), cell(row.limit)) for row in checks]
    return table((column(""), column("found", "number"), column("doubtful if")), rows)


def _structure_table(structures: Sequence[StructureRow]) -> str:
    rows = [
        (
            heading(row.name, "; ".join(row.doubts)),
            cell(str(row.status), row.status),
            cell(row.moved),
            cell(_millimetres(row.across_mm), "number"),
            cell(_millimetres(row.depth_mm), "number"),
            cell(f"{row.visible:.0%}", "number"),
        )
        for row in structures
    ]
    header = (
        column("structure"),
        column("status"),
        column("moved within the CT: turned; right, down, depth"),
        column("expected error across", "number"),
        column("in depth", "number"),
        column("in view", "number"),
    )
    return f'<div class="scrolled">{table(header, rows)}</div>'


def _landmark_table(landmarks: ReportLandmarks, given_px: NDArray[np.floating], camera: Camera) -> str:
    row_mm, column_mm = camera.pixel_spacing_mm
    given = np.isfinite(given_px).all(axis=1)
    distances_mm = [
        np.linalg.norm((projected - given_px)[given] * (column_mm, row_mm), axis=1)
        for projected in (landmarks.start_px, landmarks.result_px)
    ]
    names = np.array(landmarks.names)[given].tolist()
    pairs = [(name, pair) for name, *pair in zip(names, *distances_mm, strict=True)]
    pairs.append(("root mean square", [_rms(each) for each in distances_mm]))
    rows = [(heading(name), *(cell(_millimetres(mm), "number") for mm in pair)) for name, pair in pairs]
    header = (
        column("off by, on the detector"),
        column("at the start", "number"),
        column("at the result", "number"),
    )
    return table(header, rows)


def _geometry_table(geometry: Sequence[GeometryRow]) -> str:
    rows = [(heading(row.name), cell(row.value), cell(row.source)) for row in geometry]
    return table((column(""), column("value"), column("source")), rows, "stacked")
