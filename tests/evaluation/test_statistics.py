"""Intervals against scipy's, analytic ones and the coverage they promise; percentiles against numpy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from isoclinic.errors import UsageError
from isoclinic.evaluation.config import StatisticsConfig
from isoclinic.evaluation.statistics import (
    bootstrap_intervals,
    holm,
    success_interval,
    weighted_percentiles,
    wilson_interval,
)
from raising import raises

CONFIG = StatisticsConfig()


@pytest.mark.parametrize(("succeeded", "count"), [(0, 1), (1, 1), (0, 16), (7, 16), (16, 16), (300, 366)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_independent_cases_have_wilsons_interval(succeeded: int, count: int, level: float):
    success = [index < succeeded for index in range(count)]
    found = success_interval(success, [str(index) for index in range(count)], level=level)
    expected = binomtest(succeeded, count).proportion_ci(level, method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("succeeded", [0, 2, 5])
def test_copies_of_a_case_add_nothing(succeeded: int):
    """Three starts that always end alike are worth one case."""
    success = np.arange(5) < succeeded
    names = np.array([str(index) for index in range(5)])
    once = success_interval(success, list(names), level=0.95)
    thrice = success_interval(np.repeat(success, 3), list(np.repeat(names, 3)), level=0.95)
    assert thrice == pytest.approx(once, abs=1e-12)


def test_one_cluster_says_little():
    assert success_interval([True, False] * 50, ["a"] * 100, level=0.95) == wilson_interval(
        0.5, 1, level=0.95
    )
    found = bootstrap_intervals(medians(np.arange(9.0)), ["a"] * 9, CONFIG, np.random.default_rng(0))
    assert all(math.isnan(end) for end in found["median"])


def medians(values: np.ndarray):
    return lambda times: {"median": weighted_percentiles(values, times, [50])[0]}


def means(values: np.ndarray):
    return lambda times: {"mean": times @ values / times.sum(axis=1)}


@pytest.mark.parametrize("percents", [(0, 100), (25, 50, 75, 95)])
def test_weighted_percentiles_are_numpys_of_repeated_values(percents):
    rng = np.random.default_rng(1)
    values = rng.normal(size=23)
    times = rng.integers(0, 4, size=(40, 23))
    found = weighted_percentiles(values, times.astype(float), percents)
    for percent, of_percent in zip(percents, found, strict=True):
        expected = [np.percentile(np.repeat(values, row), percent) for row in times]
        np.testing.assert_allclose(of_percent, expected, rtol=1e-12)


def test_failures_rank_last_and_do_not_spoil_what_is_below():
    once = np.ones((1, 3))
    assert weighted_percentiles([1.0, math.nan, 2.0], once, [50])[0] == [2.0]
    assert weighted_percentiles([1.0, math.inf, 2.0], once, [75])[0] == [math.inf]


def test_the_mean_has_the_normal_interval():
    """400 normal values: 1.96 s / sqrt(n); 8000 resamples put each end within 5 % of the half width."""
    values = np.random.default_rng(2).normal(10, 3, size=400)
    config = StatisticsConfig(resamples=8000)
    names = [str(index) for index in range(400)]
    found = bootstrap_intervals(means(values), names, config, np.random.default_rng(3))["mean"]
    half = norm.ppf(0.975) * values.std() / math.sqrt(400)
    np.testing.assert_allclose(found, [values.mean() - half, values.mean() + half], atol=0.05 * half)


def test_the_bootstrap_draws_whole_clusters():
    """Each value four times in its cluster: as wide as without copies, not half as wide."""
    values = np.random.default_rng(4).normal(size=100)
    names = [str(index) for index in range(100)]
    once, copies = (
        bootstrap_intervals(means(x), list(n), CONFIG, np.random.default_rng(5))["mean"]
        for x, n in ((values, names), (np.repeat(values, 4), np.repeat(names, 4)))
    )
    np.testing.assert_allclose(copies, once, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("statistic", ["median", "success"])
def test_intervals_cover_the_truth_as_often_as_they_say(statistic: str):
    """400 trials of 40 X-rays from 3 starts that share most of their error: 95 % within 4 points.

    Four standard errors of 400 trials at 95 % are 4.4 points. As if independent, they would cover about 75 %.
    """
    rng, config = np.random.default_rng(6), StatisticsConfig(resamples=400)
    clusters = [str(index) for index in np.repeat(np.arange(40), 3)]
    naive = [str(index) for index in range(120)]
    covered, as_if = 0, 0
    for _ in range(400):
        logs = np.repeat(rng.normal(size=40), 3) * math.sqrt(0.9) + rng.normal(size=120) * math.sqrt(0.1)
        errors = np.exp(logs)
        if statistic == "median":
            truth = 1.0
            low, high = bootstrap_intervals(medians(errors), clusters, config, rng)["median"]
        else:
            truth = norm.cdf(math.log(2))
            low, high = success_interval(errors < 2, clusters, level=0.95)
            narrow = success_interval(errors < 2, naive, level=0.95)
            as_if += narrow.low <= truth <= narrow.high
        covered += low <= truth <= high
    assert abs(covered / 400 - 0.95) < 0.044
    if statistic == "success":
        assert as_if / 400 < 0.88, "so clusters matter in this simulation"


def test_what_is_undefined_in_a_resample_widens_the_interval():
    found = bootstrap_intervals(
        lambda times: {"x": np.where(times[:, 0] > 0, 1.0, math.nan)},
        ["a", "b"],
        CONFIG,
        np.random.default_rng(0),
    )["x"]
    assert found == (-math.inf, math.inf)


def test_the_seed_decides():
    values = np.random.default_rng(8).normal(size=30)
    names = [str(index) for index in range(30)]
    first, again, other = (
        bootstrap_intervals(means(values), names, CONFIG, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert first == again != other


def test_holm_by_hand():
    """Sorted 0.01, 0.02, 0.04, 0.05 times 4, 3, 2, 1: 0.04, 0.06, 0.08, and no less after that."""
    assert holm([0.04, 0.01, 0.05, 0.02]) == pytest.approx([0.08, 0.04, 0.08, 0.06])
    assert holm([0.7, 0.6]) == [1.0, 1.0] and holm([]) == []


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"level": 1.0}, ("evaluation.invalid-value", "level")),
        ({"level": 0.0}, ("evaluation.invalid-value", "level")),
        ({"resamples": 99}, ("evaluation.invalid-value", "resamples", "100")),
        ({"seed": -1}, ("evaluation.invalid-value", "seed")),
        ({"success_mm": 0.0}, ("evaluation.invalid-value", "success-mm")),
        ({"success_mm": math.nan}, ("evaluation.invalid-value", "success-mm")),
    ],
)
def test_settings_that_make_no_sense(changes, fault):
    with raises(UsageError, *fault):
        StatisticsConfig(**changes)
