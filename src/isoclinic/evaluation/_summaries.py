"""The rows of an evaluation's table: what each method reached from each start, for every group and all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from .config import StatisticsConfig
from .measurement import Measurement, errors_of
from .metrics import Summary, summary
from .statistics import Floats, Interval, bootstrap_intervals, success_interval, weighted_percentiles

ALL_GROUPS = "all"


class RowKey(NamedTuple):
    """Which registrations a row is about."""

    dataset: str
    method: str
    start: str
    group: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A summary, and how sure it is.

    Attributes:
        summary: of the registrations.
        intervals: of percentiles and success rates, by the names that `flat` gives them.
    """

    summary: Summary
    intervals: Mapping[str, Interval]


def summaries(measurements: Sequence[Measurement]) -> dict[RowKey, Summary]:
    """Summary by data set, method, start and group, in the order they come.

    Where a data set has several groups, a row of "all" follows theirs.
    """
    return {key: _summary(chosen) for key, chosen in grouped(measurements).items()}


def rows(measurements: Sequence[Measurement], config: StatisticsConfig) -> dict[RowKey, Row]:
    """`summaries` with confidence intervals."""
    return {
        key: Row(summary=_summary(chosen), intervals=_intervals(chosen, config))
        for key, chosen in grouped(measurements).items()
    }


def grouped(measurements: Sequence[Measurement]) -> dict[RowKey, list[Measurement]]:
    """The measurements of every row."""
    members: dict[tuple[str, str, str], dict[str, list[Measurement]]] = {}
    for each in measurements:
        of_start = members.setdefault((each.dataset, each.method, each.start), {})
        of_start.setdefault(each.group, []).append(each)
    several = {dataset for dataset, count in _group_counts(measurements).items() if count > 1}
    result = {}
    for (dataset, method, start), groups in members.items():
        for group, chosen in groups.items():
            result[RowKey(dataset, method, start, group)] = chosen
        if dataset in several:
            everything = [each for group in groups.values() for each in group]
            result[RowKey(dataset, method, start, ALL_GROUPS)] = everything
    return result


def flat(document: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested entries under joined names: {"mtre_mm": {"p50": 1.0}} becomes {"mtre_mm_p50": 1.0}."""
    result: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, Mapping):
            result |= flat(value, f"{prefix}{key}_")
        elif isinstance(value, tuple):
            result |= flat(dict(zip(("x", "y", "depth"), value, strict=True)), f"{prefix}{key}_")
        else:
            result[f"{prefix}{key}"] = value
    return result


def summary_entries(each: Summary) -> dict[str, Any]:
    """A summary as it is written."""
    rates = {1.0: each.submillimetre_success_rate, **each.success_rates}
    return {
        "cases": each.cases,
        "success_below_mm": {f"{bound:g}": rate for bound, rate in rates.items()},
        **{
            metric: {f"p{percent}": value for percent, value in percentiles.items()}
            for metric, percentiles in each.percentiles.items()
        },
    }


def _group_counts(measurements: Sequence[Measurement]) -> dict[str, int]:
    found: dict[str, set[str]] = {}
    for each in measurements:
        found.setdefault(each.dataset, set()).add(each.group)
    return {dataset: len(groups) for dataset, groups in found.items()}


def _summary(measurements: Sequence[Measurement]) -> Summary:
    return summary(
        errors_of(measurements),
        initial_mtre_mm=torch.tensor([each.initial_mtre_mm for each in measurements], dtype=torch.float64),
        run_time_s=torch.tensor([each.seconds for each in measurements], dtype=torch.float64),
    )


def _intervals(measurements: Sequence[Measurement], config: StatisticsConfig) -> dict[str, Interval]:
    found = _summary(measurements)
    clusters = [getattr(each, config.unit) for each in measurements]
    values = _values(measurements)

    def percentiles(times: Floats) -> dict[str, Floats]:
        return {
            f"{metric}_p{percent}": drawn
            for metric, by_percent in found.percentiles.items()
            for percent, drawn in zip(
                by_percent, weighted_percentiles(values[metric], times, list(by_percent)), strict=True
            )
        }

    rates = {
        f"success_below_mm_{bound}": success_interval(
            values["mtre_mm"] < float(bound), clusters, level=config.level
        )
        for bound in summary_entries(found)["success_below_mm"]
    }
    return rates | bootstrap_intervals(percentiles, clusters, config, np.random.default_rng(config.seed))


def _values(measurements: Sequence[Measurement]) -> dict[str, Floats]:
    """[N] of every metric of a summary."""
    translation = np.abs([each.translation_mm for each in measurements])
    names = ("initial_mtre_mm", "mtre_mm", "mpd_mm", "mrpd_mm", "rotation_deg")
    return {
        **{name: np.array([getattr(each, name) for each in measurements]) for name in names},
        **{f"translation_{axis}_mm": translation[:, index] for index, axis in enumerate(("x", "y", "depth"))},
        "run_time_s": np.array([each.seconds for each in measurements]),
    }
