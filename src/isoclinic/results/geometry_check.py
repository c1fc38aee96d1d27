"""Texts about a result's geometry: on the terminal, in the report and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ..registration import Confidence, IntrinsicsConfig
from ..viewer import CheckRow


def depth_note(confidence: Confidence) -> str:
    """The change of depth with the source-detector distance; empty where that was not checked."""
    check = confidence.geometry
    if check is None:
        return ""
    return f"1 % of the source-detector distance changes it by {check.depth_per_percent_mm:.0f} mm"


def geometry_rows(confidence: Confidence) -> Iterator[tuple[str, str]]:
    """The geometry that every X-ray's image indicates, and its meaning."""
    check = confidence.geometry
    for number, view in enumerate(check.views if check else (), start=1):
        name = "geometry" if number == 1 else f"geometry, X-ray {number}"
        given = f"the given distance and pixel size count as good to {view.given_percent:.1f} %"
        if view.focal_deviation_percent < float("inf"):
            yield (
                f"{name}: the perspective of the X-ray puts the source-detector distance "
                f"{view.focal_percent:+z.1f} % ± {view.focal_deviation_percent:.1f} % from the given one",
                given,
            )
        else:
            yield f"{name}: not checked", given


def geometry_checks(confidence: Confidence, config: IntrinsicsConfig) -> Iterator[CheckRow]:
    """For the report's table."""
    check = confidence.geometry
    several = check is not None and len(check.views) > 1
    for number, view in enumerate(check.views if check and config.check else (), start=1):
        which = f" of X-ray {number}" if several else ""
        yield CheckRow(
            name=f"source-detector distance that the perspective{which} shows, less the one given",
            value=f"{view.focal_percent:+z.1f} % ± {view.focal_deviation_percent:.1f} %",
            limit=f"above {config.above_deviations:g} deviations and a move of {config.above_move_mm:g} mm",
        )
        yield CheckRow(
            name=f"distortion that the image{which} shows: radial, spiral",
            value=f"{100 * view.radial:+z.1f} %, {100 * view.spiral:+z.1f} % ± "
            f"{100 * view.distortion_deviation:.1f} %",
            limit=f"above {config.distortion_above_deviations:g} deviations and "
            f"{config.distortion_above_percent:g} %",
        )


def geometry_document(confidence: Confidence) -> dict[str, Any] | None:
    """For programs to read; None where it was not looked at."""
    if confidence.geometry is None:
        return None
    document = asdict(confidence.geometry)
    for view in document["views"]:
        # JSON knows no infinity.
        for name, value in view.items():
            view[name] = value if abs(value) < float("inf") else None
    return document
