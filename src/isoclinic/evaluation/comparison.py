"""Two methods on the same X-rays from the same starts: which is better, and can that be chance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import binomtest, wilcoxon

from ..errors import InputError
from .config import StatisticsConfig
from .measurement import Measurement
from .statistics import Floats, Interval, bootstrap_intervals, holm, weighted_percentiles


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Method a against method b; differences are a minus b.

    Attributes:
        dataset: its name.
        start: name of the start.
        methods: names of a and b.
        pairs: registrations that both have done, of the same X-ray from the same start.
        only: registrations that only a, and only b, has done, which are left out.
        medians: of the metric.
        median_difference: of them; NaN where both are infinite.
        median_interval: of that difference, by bootstrap.
        success_rates: of either.
        success_difference: of them.
        success_interval: of that difference, by bootstrap; it has no width where both succeed alike.
        better: pairs in which a, and in which b, has the smaller error; other pairs are ties.
        discordant: pairs in which only a, and only b, succeeds.
        wilcoxon_p: of Wilcoxon's signed-rank test of the errors, two-sided.
        mcnemar_p: of McNemar's exact test of the successes, two-sided.
        wilcoxon_holm_p, mcnemar_holm_p: those, corrected for all tests that were made together.
    """

    dataset: str
    start: str
    methods: tuple[str, str]
    pairs: int
    only: tuple[int, int]
    medians: tuple[float, float]
    median_difference: float
    median_interval: Interval
    success_rates: tuple[float, float]
    success_difference: float
    success_interval: Interval
    better: tuple[int, int]
    discordant: tuple[int, int]
    wilcoxon_p: float
    mcnemar_p: float
    wilcoxon_holm_p: float
    mcnemar_holm_p: float


def paired_comparisons(
    measurements: Sequence[Measurement], config: StatisticsConfig
) -> list[PairedComparison]:
    """Every two methods, start by start: starts of one X-ray are not independent, so they are not pooled.

    Pairs of methods without a common X-ray are left out.

    Raises:
        InputError: a method has registered an X-ray from a start twice.
    """
    found = [
        (dataset, start, methods, *sides)
        for dataset, start, by_method in _by_start(measurements)
        for methods in combinations(by_method, 2)
        for sides in [(by_method[methods[0]], by_method[methods[1]])]
        if sides[0].keys() & sides[1].keys()
    ]
    tests = [_tests(a, b, config) for _, _, _, a, b in found]
    adjusted = holm([p for pair in tests for p in pair])
    return [
        _compared(each, pair, (adjusted[2 * index], adjusted[2 * index + 1]), config)
        for index, (each, pair) in enumerate(zip(found, tests, strict=True))
    ]


_Side = dict[str, Measurement]


def _by_start(measurements: Sequence[Measurement]) -> Iterator[tuple[str, str, dict[str, _Side]]]:
    """Measurements by method and case, for each data set and start."""
    result: dict[tuple[str, str], dict[str, _Side]] = {}
    for each in measurements:
        of_method = result.setdefault((each.dataset, each.start), {}).setdefault(each.method, {})
        if of_method.setdefault(each.case, each) is not each:
            raise InputError(
                f"{each.method} has registered {each.case} from start {each.start} twice",
                code="evaluation.ambiguous",
            )
    for (dataset, start), by_method in result.items():
        yield dataset, start, by_method


def _common(a: _Side, b: _Side) -> list[str]:
    return [case for case in a if case in b]


def _errors(side: _Side, cases: Sequence[str], metric: str) -> Floats:
    """[N], infinite where there is none."""
    values = [getattr(side[case], metric) for case in cases]
    return np.nan_to_num(np.array(values, dtype=np.float64), nan=np.inf, posinf=np.inf)


def _tests(a: _Side, b: _Side, config: StatisticsConfig) -> tuple[float, float]:
    cases = _common(a, b)
    differences = _differences(_errors(a, cases, config.metric), _errors(b, cases, config.metric))
    return wilcoxon_p(differences), mcnemar_p(*_discordant(a, b, cases, config))


def wilcoxon_p(differences: Floats) -> float:
    """Two-sided p-value of Wilcoxon's signed-rank test (1945); ties of pairs are left out, as he does.

    Exact for at most 50 pairs whose differences all differ, else by the normal distribution, corrected for
    equal ones.

    Args:
        differences: [N]; infinite ones rank last.
    """
    nonzero = differences[differences != 0]
    if not nonzero.size:
        return 1.0
    finite = np.abs(nonzero[np.isfinite(nonzero)]).max(initial=0.0)
    # Beyond all others, which is all that ranks ask for.
    ranked = np.clip(nonzero, -(2 * finite + 1), 2 * finite + 1)
    equal = np.unique(np.abs(ranked)).size < ranked.size
    method = "approx" if equal or ranked.size > 50 else "exact"
    return float(wilcoxon(ranked, method=method).pvalue)


def mcnemar_p(only_a: int, only_b: int) -> float:
    """Two-sided p-value of McNemar's exact test: are pairs in which one alone succeeds split evenly?"""
    discordant = only_a + only_b
    return float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0


def _differences(a: Floats, b: Floats) -> Floats:
    """[N]; 0 where both are infinite: two failures are a tie."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(a) & np.isinf(b), 0.0, a - b)


def _discordant(a: _Side, b: _Side, cases: Sequence[str], config: StatisticsConfig) -> tuple[int, int]:
    succeeded = [_errors(side, cases, "mtre_mm") < config.success_mm for side in (a, b)]
    return int((succeeded[0] & ~succeeded[1]).sum()), int((succeeded[1] & ~succeeded[0]).sum())


def _compared(
    found: tuple[str, str, tuple[str, str], _Side, _Side],
    tests: tuple[float, float],
    adjusted: tuple[float, float],
    config: StatisticsConfig,
) -> PairedComparison:
    dataset, start, methods, a, b = found
    cases = _common(a, b)
    errors = [_errors(side, cases, config.metric) for side in (a, b)]
    success = [(_errors(side, cases, "mtre_mm") < config.success_mm).astype(np.float64) for side in (a, b)]

    def statistics(times: Floats) -> dict[str, Floats]:
        medians = [weighted_percentiles(each, times, [50])[0] for each in errors]
        with np.errstate(invalid="ignore"):
            median = medians[0] - medians[1]
        return {"median": median, "success": times @ (success[0] - success[1]) / times.sum(axis=1)}

    clusters = [getattr(a[case], config.unit) for case in cases]
    once = np.ones((1, len(cases)))
    found_differences = statistics(once)
    intervals = bootstrap_intervals(statistics, clusters, config, np.random.default_rng(config.seed))
    differences = _differences(*errors)
    first, second = (float(weighted_percentiles(each, once, [50])[0][0]) for each in errors)
    return PairedComparison(
        dataset=dataset,
        start=start,
        methods=methods,
        pairs=len(cases),
        only=(len(a) - len(cases), len(b) - len(cases)),
        medians=(first, second),
        median_difference=float(found_differences["median"][0]),
        median_interval=intervals["median"],
        success_rates=(float(success[0].mean()), float(success[1].mean())),
        success_difference=float(found_differences["success"][0]),
        success_interval=intervals["success"],
        better=(int((differences < 0).sum()), int((differences > 0).sum())),
        discordant=_discordant(a, b, cases, config),
        wilcoxon_p=tests[0],
        mcnemar_p=tests[1],
        wilcoxon_holm_p=adjusted[0],
        mcnemar_holm_p=adjusted[1],
    )
