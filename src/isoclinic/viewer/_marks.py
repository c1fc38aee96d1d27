"""Marks that are drawn over the picture; style.css gives them their look.

Landmarks and outlines are one SVG in the picture's pixels, sides of the patient are letters at its borders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from ..geometry import PatientSides
from .html import fill
from .report_data import ReportLandmarks, ReportView

# Of Okabe & Ito (2008), told apart with every kind of colour vision; two others are the edges' colours.
_OUTLINE_COLOURS = ("#f0e442", "#009e73", "#cc79a7", "#0072b2", "#d55e00")
# Further ones are apart by the golden angle, so that any number of them differs [deg].
_GOLDEN_DEG = 137.508


def marks(view: ReportView) -> Markup:
    """The SVG of a view; its script shows what belongs to the pose chosen."""
    colours = outline_colours(view)
    given = None if view.landmarks is None else view.landmarks.given_px
    return fill(
        "marks.html",
        width=view.camera.width,
        height=view.camera.height,
        contours=[
            ("start", list(_outlines(view.start_contours, colours))),
            ("result", list(_outlines(view.contours, colours))),
        ],
        landmarks=[] if view.landmarks is None else list(_landmarks(view.landmarks)),
        rings=None if given is None else [place for place in map(_place, given) if place],
    )


def side_marks(pose: str, sides: PatientSides | None) -> Markup:
    """Letters at the borders for the sides of the patient at a pose, "start" or "result"."""
    letters = [] if sides is None else list(sides._asdict().items())
    spoken = ", ".join(f"{border} {text}" for border, text in letters)
    return fill("sides.html", pose=pose, letters=letters, spoken=spoken)


def outline_colours(view: ReportView) -> dict[str, str]:
    """Colour of every structure; no two have the same."""
    structures = dict.fromkeys((*view.contours, *view.start_contours))
    return {name: _colour(index) for index, name in enumerate(structures)}


def _colour(index: int) -> str:
    if index < len(_OUTLINE_COLOURS):
        return _OUTLINE_COLOURS[index]
    return f"hsl({index * _GOLDEN_DEG % 360:.0f} 85% 62%)"


def _outlines(
    contours: Mapping[str, Sequence[NDArray[np.floating]]], colours: Mapping[str, str]
) -> Iterator[dict[str, Any]]:
    order = list(colours)
    for name, outlines in contours.items():
        course = "".join(f"M{' '.join(f'{u:.1f},{v:.1f}' for u, v in outline)}" for outline in outlines)
        yield {"index": order.index(name), "colour": colours[name], "course": course}


def _landmarks(landmarks: ReportLandmarks) -> Iterator[tuple[str, list[dict[str, str]], list[str]]]:
    for pose, projected in (("start", landmarks.start_px), ("result", landmarks.result_px)):
        places = zip(map(_place, projected), landmarks.names, strict=True)
        crosses = [{"place": place, "name": name} for place, name in places if place]
        lines = []
        marked = projected * np.nan if landmarks.given_px is None else landmarks.given_px
        for given, found in zip(marked, projected, strict=True):
            if np.isfinite((given, found)).all():
                (u0, v0), (u1, v1) = given, found
                lines.append(f"M{u0:.2f} {v0:.2f}L{u1:.2f} {v1:.2f}")
        yield pose, crosses, lines


def _place(pixel: NDArray[np.floating]) -> str:
    """A pixel for a translation; empty where it is not finite."""
    return f"{pixel[0]:.2f} {pixel[1]:.2f}" if np.isfinite(pixel).all() else ""
