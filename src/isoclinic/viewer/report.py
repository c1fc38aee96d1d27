"""One page, complete in itself, to judge a registration by: pictures to compare, errors, geometry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from .._files import atomic
from ..geometry import Camera
from ..solver import Status
from ._marks import marks, outline_colours, side_marks
from ._panels import window
from .convergence import ConvergenceStage
from .html import bullets, cell, column, document, fill, folded, heading, png_uri, resource, table
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
    Status.CONVERGED: "All checks passed. Compare the pictures before you rely on this result.",
    Status.MAX_STEPS: "All checks passed, but the solver was still moving at its limit of steps.",
    Status.DOUBTFUL: "Do not rely on this result: a check failed.",
    Status.DIVERGED: "This pose is not a registration.",
}
_CONVERGENCE = (
    "Each drawing shows how the cost of one stage fell over its steps, relative to the first cost. The "
    "stages ran in this order. Each compares images of the size in its name, and begins where the stage "
    "before it ended."
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
        title=report.title,
        status_name=_NAMES[report.status],
        status_advice=_ADVICE[report.status],
        headline=_headline(report),
        why="Why" if report.status is not Status.CONVERGED else "Note",
        reasons=bullets(report.reasons) if report.reasons else "",
        warnings=report.warnings,
        names=[view.name for view in report.views],
        views=[_view(view) for view in report.views],
        cards=list(_cards(report)),
    )
    return document(
        title=f"{_NAMES[report.status]}: {report.title}",
        script=resource("script.js"),
        body=body,
        status=report.status,
    )


def _headline(report: Report) -> dict[str, str] | None:
    """The first of the errors, which a reader must see first."""
    if not report.errors:
        return None
    first = report.errors[0]
    return {"amount": _amount(first), "parts": first.parts, "note": first.note}


def _view(view: ReportView) -> Markup:
    seen = np.ones_like(view.xray, dtype=bool) if view.weight is None else view.weight > 0
    everywhere = np.ones_like(seen)
    before = view.start if view.start_bones is None else view.start_bones
    after = view.result if view.result_bones is None else view.result_bones
    row_mm, column_mm = view.camera.pixel_spacing_mm
    width, height = view.camera.width, view.camera.height
    shorter = min(width, height)
    landmarks = view.landmarks
    return fill(
        "view.html",
        name=view.name,
        width=width,
        height=height,
        size=(
            f"{width} × {height} pixels of {column_mm:.3g} × {row_mm:.3g} mm on the detector, "
            "seen from the source"
        ),
        tile=max(1, round(shorter / TILES)),
        tile_max=max(8, shorter // 2),
        xray=_grey(view.xray, seen),
        start=_grey(view.start, everywhere),
        result=_grey(view.result, everywhere),
        edges="Edges" if view.result_bones is None else "Bone edges",
        edges_start=_tint(edges(window(before, everywhere)) & seen, START_COLOUR),
        edges_result=_tint(edges(window(after, everywhere)) & seen, EDGE_COLOUR),
        mask=_tint(_MASK_OPACITY * (~seen if view.weight is None else 1 - view.weight), _MASK_COLOUR),
        marks=marks(view),
        start_sides=side_marks("start", view.start_sides),
        result_sides=side_marks("result", view.sides),
        structures=list(outline_colours(view).items()),
        has_mask=not seen.all(),
        has_landmarks=landmarks is not None,
        has_given=landmarks is not None and landmarks.given_px is not None,
    )


def _grey(image: NDArray[np.floating], seen: NDArray[np.bool_]) -> str:
    return png_uri(np.rint(255 * window(image, seen, _STORED_PERCENT)).astype(np.uint8))


def _tint(opacity: NDArray[np.floating] | NDArray[np.bool_], colour: tuple[float, float, float]) -> str:
    """One colour, of opacity [H, W] in 0..1."""
    picture = np.empty((*opacity.shape, 4))
    picture[..., :3] = colour
    picture[..., 3] = np.clip(opacity, 0, 1)
    return png_uri(np.rint(255 * picture).astype(np.uint8))


def _cards(report: Report) -> Iterator[Markup]:
    """The details beyond verdict, error and picture; each opens where it is clicked."""
    if report.errors:
        first = report.errors[0]
        yield folded("Expected error", _error_table(report.errors), f"{_amount(first)} {first.name}")
    if report.structures:
        doubtful = sum(row.status in (Status.DOUBTFUL, Status.DIVERGED) for row in report.structures)
        gist = f"{len(report.structures)}{f', {doubtful} of them doubtful' if doubtful else ''}"
        yield folded("Structures one by one", _structure_table(report.structures), gist)
    if report.checks:
        yield folded("Checks", _check_table(report.checks))
    for view in report.views:
        if view.landmarks is not None and view.landmarks.given_px is not None:
            body = _landmark_table(view.landmarks, view.landmarks.given_px, view.camera)
            yield folded(f"Landmarks, {view.name}", body)
    if report.stages:
        yield folded("Convergence", _convergence(report.stages))
    if report.geometry:
        yield folded("Inputs and geometry", _geometry_table(report.geometry))
    if report.command:
        where = Markup("<p>Run in <code>{}</code>:</p>").format(report.folder) if report.folder else Markup()
        body = where + Markup("<pre>{}</pre>").format(report.command)
        yield folded("Command that reproduces it", body)


def _convergence(stages: Sequence[ConvergenceStage]) -> Markup:
    """A small drawing for each stage."""
    drawn = []
    for stage in stages:
        cost = np.asarray(stage.cost, dtype=np.float64)
        relative = cost / (cost[0] or 1.0)
        last = max(1, len(cost) - 1)
        places = (
            f"{14 + 102 * index / last:.1f},{56 - 50 * min(value, 1.0):.1f}"
            for index, value in enumerate(relative)
        )
        drawn.append(
            {
                "name": stage.name,
                "steps": len(cost) - 1,
                "fall": f"{relative[-1]:.0%}",
                "course": " ".join(places),
            }
        )
    return fill("convergence.html", stages=drawn, caption=_CONVERGENCE)


def _error_table(errors: Sequence[ErrorRow]) -> Markup:
    rows = [(heading(row.name, row.note), cell(_amount(row), "number"), _bar(row, errors)) for row in errors]
    return table((column(""), column("expected", "number"), column("")), rows)


def _bar(row: ErrorRow, errors: Sequence[ErrorRow]) -> Markup:
    """The error as a length, where there are others in its unit to compare it with."""
    comparable = [each.value for each in errors if each.unit == row.unit and math.isfinite(each.value)]
    if len(comparable) < 2 or not math.isfinite(row.value) or max(comparable) <= 0:
        return cell("")
    share = 100 * row.value / max(comparable)
    return Markup('<td class="bar"><i style="width: {}%"></i></td>').format(f"{share:.1f}")


def _amount(row: ErrorRow) -> str:
    return f"{row.value:.2f} {row.unit}" if math.isfinite(row.value) else "unknown"


def _millimetres(value: float) -> str:
    return _amount(ErrorRow(name="", value=value))


def _rms(distances_mm: NDArray[np.floating]) -> float:
    """Root mean square of the finite distances."""
    known = distances_mm[np.isfinite(distances_mm)]
    return float(np.sqrt(np.mean(known**2))) if len(known) else math.nan


def _check_table(checks: Sequence[CheckRow]) -> Markup:
    rows = [(heading(row.name), cell(row.value, "number"), cell(row.limit)) for row in checks]
    return table(
        (column(""), column("found", "number"), column("the result is doubtful if it is")),
        rows,
        "stacked checks",
    )


def _structure_table(structures: Sequence[StructureRow]) -> Markup:
    rows = [
        (
            heading(row.name, "; ".join(row.doubts)),
            cell(str(row.status), f"state {row.status}"),
            cell(row.moved, "state"),
            cell(_millimetres(row.across_mm), "number"),
            cell(_millimetres(row.depth_mm), "number"),
            cell(f"{row.visible:.0%}", "number"),
        )
        for row in structures
    ]
    header = (
        column("structure"),
        column("status"),
        column("motion since the CT: rotation; shift right, down, in depth"),
        column("expected error across the beam", "number"),
        column("expected error in depth", "number"),
        column("in view", "number"),
    )
    return Markup('<div class="scrolled">{}</div>').format(table(header, rows))


def _landmark_table(landmarks: ReportLandmarks, given_px: NDArray[np.floating], camera: Camera) -> Markup:
    row_mm, column_mm = camera.pixel_spacing_mm
    given = np.isfinite(given_px).all(axis=1)
    distances_mm = [
        np.linalg.norm((projected - given_px)[given] * (column_mm, row_mm), axis=1)
        for projected in (landmarks.start_px, landmarks.result_px)
    ]
    names = [name for name, known in zip(landmarks.names, given, strict=True) if known]
    pairs = [(name, pair) for name, *pair in zip(names, *distances_mm, strict=True)]
    pairs.append(("root mean square", [_rms(each) for each in distances_mm]))
    rows = [(heading(name), *(cell(_millimetres(mm), "number") for mm in pair)) for name, pair in pairs]
    header = (
        column("off by, on the detector"),
        column("at the start", "number"),
        column("at the result", "number"),
    )
    return table(header, rows)


def _geometry_table(geometry: Sequence[GeometryRow]) -> Markup:
    rows = [(heading(row.name), cell(row.value), cell(row.source)) for row in geometry]
    return table((column(""), column("value"), column("source")), rows, "stacked")
