"""Paired comparisons, counted by hand and against exact enumeration."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import rankdata

from isoclinic.errors import InputError
from isoclinic.evaluation.comparison import mcnemar_p, paired_comparisons, wilcoxon_p
from isoclinic.evaluation.config import StatisticsConfig
from raising import raises

from .measured import measurement

CONFIG = StatisticsConfig(resamples=200)


def pairs(a: list[float], b: list[float]) -> list:
    return [
        measurement(f"chest/{index:02}", mtre_mm=error, method=method)
        for method, errors in (("a", a), ("b", b))
        for index, error in enumerate(errors)
    ]


def test_counted_by_hand():
    """Differences -1, 3, -4, 0 (both lost), and one case that only b has done."""
    (found,) = paired_comparisons(pairs([0.5, 4.0, 1.0, math.inf], [1.5, 1.0, 5.0, math.nan, 1.0]), CONFIG)
    assert (found.methods, found.start, found.pairs, found.only) == (("a", "b"), "15", 4, (0, 1))
    assert found.better == (2, 1)
    assert found.discordant == (1, 1)
    assert found.success_rates == (0.5, 0.5) and found.success_difference == 0
    assert found.medians == (2.5, 3.25)
    assert found.median_difference == -0.75
    assert found.wilcoxon_p == pytest.approx(wilcoxon_by_enumeration([-1.0, 3.0, -4.0]))
    assert found.mcnemar_p == 1
    assert found.wilcoxon_holm_p == 1


def wilcoxon_by_enumeration(differences: list[float]) -> float:
    """Of all signs, the share whose rank sum is as far from its mean or farther."""
    ranks = rankdata(np.abs(differences))
    centre = ranks.sum() / 2
    off = abs(ranks[np.array(differences) > 0].sum() - centre)
    sums = [np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]
    return float(np.mean([abs(each - centre) >= off - 1e-9 for each in sums]))


@pytest.mark.parametrize("count", [1, 3, 8, 12])
def test_wilcoxon_is_exact_without_ties(count: int):
    differences = np.random.default_rng(count).normal(0.4, size=count)
    assert wilcoxon_p(differences) == pytest.approx(wilcoxon_by_enumeration(list(differences)))


def test_wilcoxon_with_ties_zeros_and_infinite_differences():
    """With equal differences the normal approximation is within 0.03 of the enumeration at 12 pairs."""
    assert wilcoxon_p(np.zeros(5)) == 1
    tied = np.array([1.0, 1, 1, -1, 2, 2, -2, 3, 3, 3, 4, -4])
    assert wilcoxon_p(tied) == pytest.approx(wilcoxon_by_enumeration(list(tied)), abs=0.03)
    assert wilcoxon_p(np.append(tied, [0.0, 0.0])) == wilcoxon_p(tied)
    last = wilcoxon_by_enumeration([-1.0, 2, 3, -4, 5, 100])
    assert wilcoxon_p(np.array([-1.0, 2, 3, -4, 5, math.inf])) == pytest.approx(last)


@pytest.mark.parametrize(("a", "b"), [(0, 0), (1, 0), (5, 1), (3, 9), (10, 10)])
def test_mcnemar_counts_coins(a: int, b: int):
    count = a + b
    tail = sum(math.comb(count, k) for k in range(min(a, b) + 1)) / 2**count
    assert mcnemar_p(a, b) == pytest.approx(min(1.0, 2 * tail))


def test_a_clear_difference_is_found_and_none_is_not():
    rng = np.random.default_rng(0)
    errors = rng.lognormal(size=40)
    (clear,) = paired_comparisons(pairs(list(errors), list(3 * errors)), CONFIG)
    assert clear.median_interval.high < 0 and clear.success_interval.low > 0
    assert clear.wilcoxon_holm_p < 1e-6 and clear.mcnemar_holm_p < 0.01
    (none,) = paired_comparisons(pairs(list(errors), list(errors)), CONFIG)
    assert none.median_difference == 0 and none.median_interval == (0, 0)
    assert none.wilcoxon_p == none.mcnemar_p == 1


def test_both_lost_most_often():
    (found,) = paired_comparisons(pairs([math.inf] * 4, [math.inf] * 4), CONFIG)
    assert math.isnan(found.median_difference) and found.median_interval == (-math.inf, math.inf)


def test_every_two_methods_at_every_start():
    all_of_them = [
        measurement(f"a/{case}", start, 1.0 + case, method)
        for start in ("15", "30")
        for method in "xyz"
        for case in range(3)
    ]
    found = paired_comparisons(all_of_them, CONFIG)
    assert [(each.start, each.methods) for each in found] == [
        (start, pair) for start in ("15", "30") for pair in (("x", "y"), ("x", "z"), ("y", "z"))
    ]


def test_nothing_in_common():
    apart = [measurement("a/0", method="x"), measurement("a/1", method="y")]
    assert paired_comparisons(apart, CONFIG) == []
    with raises(InputError, "evaluation.ambiguous", "isoclinic", "a/0", "15"):
        paired_comparisons([measurement("a/0"), measurement("a/0", mtre_mm=2.0)], CONFIG)


def test_another_metric():
    changed = [
        measurement(f"a/{i}", method=m, rotation_deg=r) for m, r in (("x", 1.0), ("y", 3.0)) for i in range(4)
    ]
    (found,) = paired_comparisons(changed, StatisticsConfig(resamples=100, metric="rotation_deg"))
    assert found.medians == (1, 3) and found.better == (4, 0)
