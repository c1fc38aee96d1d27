"""Calibration counted by hand, and its picture drawn of everything that can happen."""

import math
from typing import NamedTuple

import pytest

from isoclinic.evaluation._calibration import calibration, calibration_figure


class Result(NamedTuple):
    mtre_mm: float
    expected_error_mm: float
    status: str


RESULTS = [
    Result(0.3, 0.2, "converged"),
    Result(0.1, 0.2, "max_steps"),
    Result(0.9, 0.3, "doubtful"),  # flagged although good
    Result(2.0, 0.5, "converged"),
    Result(5.0, 9.0, "doubtful"),  # neither good nor a failure
    Result(40.0, 0.4, "doubtful"),  # caught
    Result(math.inf, math.nan, "diverged"),  # caught
    Result(math.nan, 0.4, "converged"),  # missed
    Result(6.0, 1.0, "converged"),  # missed
]


def test_counted_by_hand():
    each = calibration(RESULTS)
    assert (each.failures, each.caught) == (4, 2)
    assert (each.good, each.flagged) == (3, 1)
    assert each.trusted == 4
    # true (0.3, 0.1, 2, 6) against expected (0.2, 0.2, 0.5, 1)
    assert each.slope == pytest.approx((0.06 + 0.02 + 1 + 6) / (0.04 + 0.04 + 0.25 + 1))
    assert each.median_ratio == pytest.approx((1.5 + 4) / 2)
    assert each.within_twice == pytest.approx(2 / 4)


def test_nothing_to_trust():
    each = calibration([Result(40.0, 0.4, "doubtful")])
    assert (each.trusted, each.caught) == (0, 1)
    assert math.isnan(each.slope) and math.isnan(each.within_twice)


@pytest.mark.slow
@pytest.mark.parametrize("results", [RESULTS, RESULTS[5:6], []])
def test_the_picture_shows_every_result(results):
    figure = calibration_figure(results)
    figure.draw_without_rendering()
    expected, by_status = figure.axes
    drawn = [len(points.get_offsets()) for points in expected.collections]
    assert sum(drawn) == sum(math.isfinite(each.expected_error_mm) for each in results)
    assert sum(len(points.get_offsets()) for points in by_status.collections) == len(results)
