"""Courses over time as SVG in the page's own colours, light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ..viewer.html import environment

# In units of the drawing, which is shown at about its own size.
_WIDTH, _HEIGHT = 360.0, 150.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 42.0, 8.0, 8.0, 22.0
_TICKS = 4
# A course that hardly changes is shown with this range at least, in its unit.
_LEAST_RANGE = 0.5
# Wrong poses may lie far away: beyond so many ranges of the right ones they are drawn at the border.
_BEYOND = 0.5


@dataclass(frozen=True, kw_only=True)
class Point:
    """A value at a time.

    Attributes:
        time: [s], or the number of the frame.
        value: None where there is none.
        right: whether nothing speaks against it.
        jumped: whether it is far from where the motion before leads.
    """

    time: float
    value: float | None
    right: bool = True
    jumped: bool = False


def chart(
    title: str, unit: str, points: Sequence[Point], time_unit: str, *, from_zero: bool = False
) -> Markup:
    """A figure of one course.

    Args:
        title: of the figure.
        unit: of the values.
        points: in the order of their times.
        time_unit: "s", or "frame".
        from_zero: the axis begins at 0, as for errors.
    """
    low, high = _range(points, from_zero=from_zero)
    begin, end = points[0].time, max(points[-1].time, points[0].time + 1e-9)

    def across(time: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (time - begin) / (end - begin)

    def down(value: float) -> float:
        share = (min(max(value, low), high) - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * share

    marks = [
        (across(each.time), down(low if each.value is None else each.value), each)
        for each in points
        if each.value is None or not each.right or each.jumped
    ]
    lines = [
        " ".join(f"{across(each.time):.1f},{down(each.value):.1f}" for each in run if each.value is not None)
        for run in _runs(points)
    ]
    known = [each.value for each in points if each.right and each.value is not None]
    told = f"from {min(known):.2f} to {max(known):.2f} {unit}" if known else "not known in any frame"
    template = environment("isoclinic.sequences", "page_template").get_template("chart.html")
    return Markup(
        template.render(
            title=title,
            unit=unit,
            label=f"{title}: {told}, {sum(not each.right for each in points)} of {len(points)} doubtful",
            width=_WIDTH,
            height=_HEIGHT,
            left=_LEFT,
            right=_WIDTH - _RIGHT,
            top=_TOP,
            bottom=_HEIGHT - _BOTTOM,
            ticks=[(f"{down(value):.1f}", _number(value)) for value in _nice(low, high)],
            begin=f"{begin:.4g}",
            end=f"{end:.4g} s" if time_unit == "s" else f"{time_unit} {end:g}",
            lines=[line for line in lines if line],
            missing=[f"{x:.1f}" for x, _, each in marks if each.value is None],
            doubtful=[
                (f"{x:.1f}", f"{y:.1f}") for x, y, each in marks if each.value is not None and not each.right
            ],
            jumps=[
                (f"{x:.1f}", f"{y:.1f}") for x, y, each in marks if each.value is not None and each.jumped
            ],
        )
    )


def _runs(points: Sequence[Point]) -> list[list[Point]]:
    """Stretches of right values without a gap."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point.right and point.value is not None:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [[run[0], run[0]] if len(run) == 1 else run for run in runs if run]


def _range(points: Sequence[Point], *, from_zero: bool) -> tuple[float, float]:
    known = [each for each in points if each.value is not None]
    right = [each.value for each in known if each.right and each.value is not None]
    values = right or [each.value for each in known if each.value is not None] or [0.0]
    low, high = min(values), max(values)
    reach = _BEYOND * max(high - low, _LEAST_RANGE)
    others = [each.value for each in known if each.value is not None]
    low = max(min([*others, low]), low - reach)
    high = min(max([*others, high]), high + reach)
    if from_zero:
        low = 0.0
    missing = max(_LEAST_RANGE - (high - low), 0.0)
    if not from_zero:
        low, high = low - missing / 2, high + missing / 2
    else:
        high += missing
    ticks = _nice(low, high)
    step = ticks[1] - ticks[0] if len(ticks) > 1 else high - low
    margin = 0.06 * (high - low)
    return (low if from_zero else low - min(margin, step)), high + min(margin, step)


def _nice(low: float, high: float) -> list[float]:
    """Round numbers within a range, about so many."""
    rough = (high - low) / _TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float) -> str:
    return f"{value + 0.0:.6g}"
