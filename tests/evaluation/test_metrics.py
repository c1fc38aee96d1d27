"""Percentiles against numpy's; success rates with lost cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from isoclinic.errors import InputError
from isoclinic.evaluation.metrics import success_rate, summary
from isoclinic.geometry import PoseErrors
from raising import raises


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def errors_of(mtre_mm: list[float]) -> PoseErrors:
    values = torch.tensor(mtre_mm, dtype=torch.float64)
    return PoseErrors(
        mtre_mm=values,
        mpd_mm=2 * values,
        mrpd_mm=3 * values,
        rotation_deg=4 * values,
        translation_mm=torch.stack([values, -5 * values, 6 * values], dim=-1),
    )


@pytest.mark.parametrize("count", [1, 2, 5, 16, 21])
def test_percentiles_are_those_of_numpy(rng: np.random.Generator, count: int):
    mtre, initial, seconds = (rng.uniform(0, 30, size=count) for _ in range(3))
    result = summary(
        errors_of(list(mtre)),
        initial_mtre_mm=torch.from_numpy(initial),
        run_time_s=torch.from_numpy(seconds),
    )
    expected = {
        "initial_mtre_mm": initial,
        "mtre_mm": mtre,
        "mpd_mm": 2 * mtre,
        "mrpd_mm": 3 * mtre,
        "rotation_deg": 4 * mtre,
        "translation_x_mm": mtre,
        "translation_y_mm": 5 * mtre,
        "translation_depth_mm": 6 * mtre,
        "run_time_s": seconds,
    }
    assert result.cases == count
    assert set(result.percentiles) == set(expected)
    for name, values in expected.items():
        for percent in (25, 50, 75, 95):
            assert result.percentiles[name][percent] == pytest.approx(
                np.percentile(values, percent), rel=1e-12
            )


def test_success_rates_are_strict_and_lost_cases_fail():
    """Bounds are exclusive; NaN and infinity count as failures and as the worst values."""
    mtre = [0.5, 1.0, 1.5, 2.0, 4.9, 9.0, 10.0, math.inf, math.nan]
    nine = torch.ones(9, dtype=torch.float64)
    result = summary(errors_of(mtre), initial_mtre_mm=30 * nine, run_time_s=nine)
    assert result.submillimetre_success_rate == pytest.approx(1 / 9)
    assert result.success_rates == pytest.approx({2.0: 3 / 9, 5.0: 5 / 9, 10.0: 6 / 9})
    assert result.percentiles["mtre_mm"] == {25: 1.5, 50: 4.9, 75: 10.0, 95: math.inf}
    assert success_rate(torch.tensor([math.nan]), below_mm=1e9) == 0


def test_a_finite_percentile_beside_an_infinite_one_stays_finite():
    """The median of three is the middle case exactly, whatever the case above it."""
    three = torch.ones(3)
    result = summary(errors_of([1.0, 2.0, math.inf]), initial_mtre_mm=three, run_time_s=three)
    assert result.percentiles["mtre_mm"][50] == 2.0
    assert result.percentiles["mtre_mm"][75] == math.inf


def test_no_case_is_an_error():
    nothing = torch.zeros(0)
    with raises(InputError, "evaluation.unknown-name", "case"):
        summary(errors_of([]), initial_mtre_mm=nothing, run_time_s=nothing)
