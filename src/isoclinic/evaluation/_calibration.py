"""Whether a registration knows when it failed, and how far off it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..solver import Status

FAILED_MM, GOOD_MM = 5.0, 1.0

_DOUBTED = (Status.DOUBTFUL, Status.DIVERGED)
_RANGE_MM = (0.01, 1000.0)
_EXPECTED_MM = 30.0


class Assessed(Protocol):
    """What a calibration needs to know of a result."""

    @property
    def mtre_mm(self) -> float:
        """True error."""

    @property
    def expected_error_mm(self) -> float:
        """Expected error; NaN where unknown."""

    @property
    def status(self) -> str:
        """How far the registration relied on it."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well a status tells failures from good results, and expected errors the true ones.

    Attributes:
        failures: results worse than 5 mm.
        caught: how many of them are doubtful (or diverged).
        good: results better than 1 mm.
        flagged: how many of them are doubtful all the same.
        trusted: results that are not doubtful.
        slope: of the line through the origin that best fits true against expected errors of the trusted;
            above 1 where errors are larger than expected. NaN where there is none.
        median_ratio: median of true over expected error of the trusted.
        within_twice: share of the trusted whose error is at most twice the expected.
    """

    failures: int
    caught: int
    good: int
    flagged: int
    trusted: int
    slope: float
    median_ratio: float
    within_twice: float


def calibration(results: Sequence[Assessed]) -> Calibration:
    """Compare statuses and expected errors with the truth; an error that is not finite is a failure.

    Results without a status are left out: their method does not assess itself.
    """
    results = [each for each in results if each.status]
    failures = [each for each in results if not each.mtre_mm <= FAILED_MM]
    good = [each for each in results if each.mtre_mm < GOOD_MM]
    trusted = [each for each in results if _trusted(each) and math.isfinite(each.mtre_mm)]
    true_mm = np.array([each.mtre_mm for each in trusted])
    expected_mm = np.array([each.expected_error_mm for each in trusted])
    return Calibration(
        failures=len(failures),
        caught=sum(each.status in _DOUBTED for each in failures),
        good=len(good),
        flagged=sum(each.status in _DOUBTED for each in good),
        trusted=len(trusted),
        slope=float(true_mm @ expected_mm / (expected_mm @ expected_mm)) if trusted else math.nan,
        median_ratio=float(np.median(true_mm / expected_mm)) if trusted else math.nan,
        within_twice=float((true_mm <= 2 * expected_mm).mean()) if trusted else math.nan,
    )


def calibration_text(each: Calibration) -> str:
    """A calibration in words."""
    text = (
        f"{each.caught} of {each.failures} results worse than {FAILED_MM:g} mm are doubtful, "
        f"{each.flagged} of {each.good} better than {GOOD_MM:g} mm are so for no reason."
    )
    if each.trusted:
        text += (
            f"\nOf the others, errors are {each.slope:.2f} times what is expected (slope; median "
            f"{each.median_ratio:.2f} times), {each.within_twice:.0%} at most twice that."
        )
    return text


def calibration_figure(results: Sequence[Assessed]) -> Figure:
    """Left, true against expected error with the calibration slope; right, true errors by status."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    expected, by_status = figure.subplots(1, 2)
    _draw_expected(expected, results)
    _draw_by_status(by_status, results)
    return figure


def _trusted(result: Assessed) -> bool:
    return result.status not in _DOUBTED and result.expected_error_mm > 0


def _draw_expected(axes: Axes, results: Sequence[Assessed]) -> None:
    slope = calibration(results).slope
    for doubted, name, colour, marker in ((False, "trusted", "C0", "o"), (True, "doubtful", "C3", "x")):
        chosen = [
            each
            for each in results
            if (each.status in _DOUBTED) is doubted and math.isfinite(each.expected_error_mm)
        ]
        axes.scatter(
            [min(each.expected_error_mm, _EXPECTED_MM) for each in chosen],
            [_drawable(each.mtre_mm) for each in chosen],
            s=18,
            alpha=0.7,
            label=f"{name} ({len(chosen)})",
            color=colour,
            marker=marker,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    line = np.array(_RANGE_MM)
    axes.plot(line, line, color="0.4", linewidth=1, label="as expected")
    if math.isfinite(slope):
        axes.plot(line, slope * line, color="C0", linewidth=1, linestyle="--", label=f"slope {slope:.2f}")
    axes.set_xlim(_RANGE_MM[0], _EXPECTED_MM)
    axes.set_ylim(*_RANGE_MM)
    axes.set_xlabel("expected error [mm]")
    axes.set_ylabel("mTRE [mm]")
    axes.grid(alpha=0.3)
    axes.legend()


def _draw_by_status(axes: Axes, results: Sequence[Assessed]) -> None:
    statuses = [status for status in Status if any(each.status == status for each in results)]
    for place, status in enumerate(statuses):
        errors_mm = np.sort([_drawable(each.mtre_mm) for each in results if each.status == status])
        beside = place + np.linspace(-0.3, 0.3, len(errors_mm))
        axes.scatter(beside, errors_mm, s=12, alpha=0.7, color=f"C{place}")
    axes.axhline(FAILED_MM, color="0.4", linewidth=1, linestyle="--")
    axes.axhline(GOOD_MM, color="0.4", linewidth=1, linestyle=":")
    axes.set_xticks(range(len(statuses)), [str(status) for status in statuses])
    axes.set_xlim(-0.6, max(len(statuses), 1) - 0.4)
    axes.set_yscale("log")
    axes.set_ylabel("mTRE [mm]")
    axes.grid(alpha=0.3, axis="y")


def _drawable(error_mm: float) -> float:
    """The error within the range of the picture; what is infinite or not a number is at its end."""
    low, high = _RANGE_MM
    return min(max(error_mm, low), high) if math.isfinite(error_mm) else high
