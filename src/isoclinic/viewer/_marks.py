"""What is drawn over the picture; style.css gives it its look.

Landmarks and outlines are one SVG in the picture's pixels, sides of the patient are letters at its borders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle

import numpy as np
from numpy.typing import NDArray

from ..geometry import PatientSides
from .report_data import ReportLandmarks, ReportView

# Of Okabe & Ito (2008), told apart with every kind of colour vision; two others are the edges' colours.
_OUTLINE_COLOURS = ("#f0e442", "#009e73", "#cc79a7", "#0072b2", "#d55e00")
_CROSS = '<path class="glyph" d="M-6 0H6M0 -6V6"/>'
_RING = '<circle class="glyph" r="5"/>'


def marks(view: ReportView) -> str:
    """The SVG of a view; its script shows what belongs to the pose chosen."""
    colours = outline_colours(view)
    groups = [
        _outlines("start", view.start_contours, colours),
        _outlines("result", view.contours, colours),
        _landmarks(view.landmarks) if view.landmarks else "",
    ]
    width, height = view.camera.width, view.camera.height
    return (
        f'<svg class="marks" viewBox="-0.5 -0.5 {width} {height}" preserveAspectRatio="none" '
        f'aria-hidden="true">{"".join(groups)}</svg>'
    )


def side_marks(pose: str, sides: PatientSides | None) -> str:
    """Letters at the borders for the sides of the patient at a pose, "start" or "result"."""
    if sides is None:
        return ""
    letters = "".join(f'<span class="{border}">{text}</span>' for border, text in sides._asdict().items())
    spoken = ", ".join(f"{border} {text}" for border, text in sides._asdict().items())
    return (
        f'<div class="sides {pose}" role="note" aria-label="Sides of the patient: {spoken}">{letters}</div>'
    )


def outline_colours(view: ReportView) -> dict[str, str]:
    """Colour of every structure."""
    structures = dict.fromkeys((*view.contours, *view.start_contours))
    return dict(zip(structures, cycle(_OUTLINE_COLOURS), strict=False))


def _outlines(
    pose: str, contours: Mapping[str, Sequence[NDArray[np.floating]]], colours: Mapping[str, str]
) -> str:
    paths = []
    for name, outlines in contours.items():
        course = "".join(f"M{' '.join(f'{u:.1f},{v:.1f}' for u, v in outline)}" for outline in outlines)
        paths.append(f'<path class="outline" stroke="{colours[name]}" d="{course}"/>')
    return f'<g class="contours {pose}">{"".join(paths)}</g>'


def _landmarks(landmarks: ReportLandmarks) -> str:
    given = landmarks.given_px
    groups = []
    for pose, projected in (("start", landmarks.start_px), ("result", landmarks.result_px)):
        points = [_point(_CROSS, *each) for each in zip(projected, landmarks.names, strict=True)]
        if given is not None:
            points += [_residual(*pair) for pair in zip(given, projected, strict=True)]
        groups.append(f'<g class="landmarks {pose}">{"".join(points)}</g>')
    if given is not None:
        groups.append(f'<g class="landmarks given">{"".join(_point(_RING, place) for place in given)}</g>')
    return "".join(groups)


def _point(glyph: str, place: NDArray[np.floating], name: str = "") -> str:
    if not np.isfinite(place).all():
        return ""
    label = f'<text x="8" y="-4">{escape(name)}</text>' if name else ""
    return f'<g transform="translate({place[0]:.2f} {place[1]:.2f})">{glyph}{label}</g>'


def _residual(given: NDArray[np.floating], projected: NDArray[np.floating]) -> str:
    if not np.isfinite((given, projected)).all():
        return ""
    (u0, v0), (u1, v1) = given, projected
    return f'<path class="residual" d="M{u0:.2f} {v0:.2f}L{u1:.2f} {v1:.2f}"/>'
