"""How sure a number of a table is: confidence intervals that know which registrations belong together.

Registrations of one X-ray from several starts, or of one patient's X-rays, are not independent. So what is
drawn again is always a whole cluster of them (Field & Welsh 2007, "Bootstrapping clustered data", J. R.
Statist. Soc. B 69(3)). Errors that are NaN or infinite are failures: they rank last and are never dropped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from .config import StatisticsConfig

Floats = NDArray[np.float64]

# Resamples times values that are held at a time.
_HELD = 4_000_000


class Interval(NamedTuple):
    """A confidence interval; NaN where one cluster alone says nothing about others."""

    low: float
    high: float


UNKNOWN = Interval(math.nan, math.nan)


def success_interval(succeeded: ArrayLike, clusters: Sequence[str], *, level: float) -> Interval:
    """Wilson's interval of a success rate, for as many independent cases as the clusters are worth.

    That effective number is the one whose binomial variance equals the linearised variance between clusters
    (Korn & Graubard 1998, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", Survey Methodology 24(2), with Wilson's interval in place of Clopper's and
    Pearson's), at most the number of cases. Where all or none succeed it is the number of clusters. Clusters
    of one case make it Wilson's interval itself, which, unlike the bootstrap's, has a width at 0 and 100 %.

    Args:
        succeeded: [N], whether each case did.
        clusters: [N], the name of each case's cluster.
        level: of confidence.
    """
    success = np.asarray(succeeded, dtype=np.float64)
    index, count = _cluster_index(clusters)
    rate = float(success.mean())
    effective: float = count
    if 0 < rate < 1 and count > 1:
        variance = (np.bincount(index, weights=success - rate) ** 2).sum() / len(success) ** 2
        effective = min(len(success), rate * (1 - rate) / variance) if variance > 0 else len(success)
    return wilson_interval(rate, effective, level=level)


def wilson_interval(rate: float, count: float, *, level: float) -> Interval:
    """Wilson's score interval (1927) of a rate among `count` independent cases."""
    z = float(norm.ppf((1 + level) / 2))
    centre = (rate + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z / (1 + z**2 / count) * math.sqrt(rate * (1 - rate) / count + z**2 / (4 * count**2))
    return Interval(max(0.0, centre - half), min(1.0, centre + half))


def bootstrap_intervals(
    statistic: Callable[[Floats], Mapping[str, Floats]],
    clusters: Sequence[str],
    config: StatisticsConfig,
    generator: np.random.Generator,
) -> dict[str, Interval]:
    """Percentile intervals of statistics of N cases whose clusters are drawn with replacement.

    A statistic that is undefined (NaN) in a resample widens the interval on both sides.

    Args:
        statistic: takes how often each case was drawn [R, N] and gives statistics [R] by name.
        clusters: [N], the name of each case's cluster.
        config: level and number of resamples.
        generator: draws the clusters.
    """
    drawn: dict[str, list[Floats]] = {}
    index, count = _cluster_index(clusters)
    for times in _resamples(index, count, config.resamples, generator):
        for name, values in statistic(times).items():
            drawn.setdefault(name, []).append(values)
    if count < 2:
        return dict.fromkeys(drawn, UNKNOWN)
    return {name: _central(np.concatenate(values), config.level) for name, values in drawn.items()}


def weighted_percentiles(values: ArrayLike, times: Floats, percents: Sequence[float]) -> list[Floats]:
    """Percentiles [R] of N values, the n-th of which occurs times[r, n] times; one array a percent.

    Between order statistics it interpolates linearly, as numpy does, but soundly where some are infinite.
    """
    numbers = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=np.inf, posinf=np.inf)
    order = np.argsort(numbers, kind="stable")
    ranked, cumulative = numbers[order], np.cumsum(times[:, order], axis=1)

    def order_statistic(rank: Floats) -> Floats:
        return ranked[(cumulative <= rank[:, None]).sum(axis=1)]

    result = []
    for percent in percents:
        position = percent / 100 * (cumulative[:, -1] - 1)
        weight = position - np.floor(position)
        below, above = order_statistic(np.floor(position)), order_statistic(np.ceil(position))
        with np.errstate(invalid="ignore"):
            result.append(np.where(weight > 0, (1 - weight) * below + weight * above, below))
    return result


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number by Holm's step-down method (1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda each: p_values[each])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted


def _cluster_index(clusters: Sequence[str]) -> tuple[NDArray[np.intp], int]:
    """The number of each case's cluster [N], and how many there are."""
    names, index = np.unique(np.asarray(clusters, dtype=str), return_inverse=True)
    return index, len(names)


def _resamples(
    index: NDArray[np.intp], count: int, resamples: int, generator: np.random.Generator
) -> Iterator[Floats]:
    """How often each case is drawn [R, N], part by part."""
    part = max(1, _HELD // len(index))
    for first in range(0, resamples, part):
        size = min(part, resamples - first)
        times = generator.multinomial(count, np.full(count, 1 / count), size=size)
        yield times[:, index].astype(np.float64)


def _central(values: Floats, level: float) -> Interval:
    tail = (1 - level) / 2 * len(values)
    low = np.sort(np.nan_to_num(values, nan=-np.inf, posinf=np.inf, neginf=-np.inf))
    high = np.sort(np.nan_to_num(values, nan=np.inf, posinf=np.inf, neginf=-np.inf))
    return Interval(float(low[math.floor(tail)]), float(high[math.ceil(len(values) - tail) - 1]))
