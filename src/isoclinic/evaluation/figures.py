"""Pictures of an evaluation: what errors methods end with, what they can reach, and how long they take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ..errors import InputError
from .config import StatisticsConfig
from .measurement import Measurement
from .statistics import success_interval

# Initial errors are binned for the success rate.
_BIN_MM = 10.0
_SUCCESS_MM = (1.0, 2.0, 5.0)
_RANGE_MM = (0.01, 1000.0)
_LINES = ("-", "--", ":", "-.")
# More names hide curves, so they go below.
_NAMES_INSIDE = 4
_PANEL_INCH = 4.2
_PANELS_A_ROW = 3


def summary_figure(measurements: Sequence[Measurement], config: StatisticsConfig | None = None) -> Figure:
    """Left, the fraction of cases that end below an error; right, success against initial error.

    On the left a colour is a method (or a start, where there is one method), a line style a start. On the
    right, bars are the confidence intervals of `success_interval`; with several methods, one bound is drawn.

    Args:
        measurements: all of them.
        config: of the intervals; by default as it comes.
    """
    figure = Figure(figsize=(11, _PANEL_INCH + _height_of_names(measurements)), layout="constrained")
    distribution, success = figure.subplots(1, 2)
    _draw_distribution(distribution, measurements)
    _draw_success(success, measurements, config or StatisticsConfig())
    for axes in (distribution, success):
        axes.set_ylim(0, 1.03)
        axes.grid(alpha=0.3)
        _name_curves(axes)
    return figure


def time_figure(measurements: Sequence[Measurement]) -> Figure:
    """Run times by method: every one as a point, the quartiles as a box."""
    methods = _methods(measurements)
    figure = Figure(figsize=(11, 1.6 + 0.6 * len(methods)), layout="constrained")
    axes = figure.subplots()
    for place, method in enumerate(methods):
        seconds = np.sort([each.seconds for each in measurements if each.method == method])
        above = place + 0.3 * np.sin(np.arange(len(seconds)) * 2.4)
        axes.scatter(seconds, above, s=10, alpha=0.5, color=f"C{place % 10}", linewidths=0)
        axes.boxplot(
            seconds, positions=[place], orientation="horizontal", widths=0.7, showfliers=False, whis=(5, 95)
        )
    axes.set_yticks(range(len(methods)), methods)
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_xscale("log")
    axes.set_xlabel("run time [s]; box: quartiles and median, whiskers: 5 and 95 %")
    axes.grid(alpha=0.3, axis="x")
    return figure


def paired_figure(measurements: Sequence[Measurement]) -> Figure:
    """The mTRE of every two methods against each other, a point a case and start.

    Raises:
        InputError: no two methods have registered the same X-ray from the same start.
    """
    errors: dict[str, dict[tuple[str, str, str], float]] = {}
    for each in measurements:
        errors.setdefault(each.method, {})[each.dataset, each.case, each.start] = each.mtre_mm
    pairs = [pair for pair in combinations(errors, 2) if errors[pair[0]].keys() & errors[pair[1]].keys()]
    if not pairs:
        raise InputError(
            "no two methods have registered the same X-ray from the same start",
            code="evaluation.not-comparable",
        )
    rows, columns = -(-len(pairs) // _PANELS_A_ROW), min(len(pairs), _PANELS_A_ROW)
    figure = Figure(figsize=(_PANEL_INCH * columns, _PANEL_INCH * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    starts = list(dict.fromkeys(each.start for each in measurements))
    for axes, (first, second) in zip(panels, pairs, strict=False):
        _draw_pair(axes, errors[first], errors[second], starts)
        axes.set_xlabel(f"mTRE of {first} [mm]")
        axes.set_ylabel(f"mTRE of {second} [mm]")
    for axes in panels[len(pairs) :]:
        axes.set_axis_off()
    return figure


def _draw_pair(
    axes: Axes,
    first: dict[tuple[str, str, str], float],
    second: dict[tuple[str, str, str], float],
    starts: Sequence[str],
) -> None:
    for index, start in enumerate(starts):
        common = [key for key in first if key in second and key[2] == start]
        if common:
            x, y = (_drawable([side[key] for key in common]) for side in (first, second))
            axes.scatter(x, y, s=16, alpha=0.6, color=f"C{index % 10}", label=f"start {start}", clip_on=False)
    axes.plot(_RANGE_MM, _RANGE_MM, color="0.4", linewidth=1)
    axes.set(xscale="log", yscale="log", xlim=_RANGE_MM, ylim=_RANGE_MM, aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _draw_distribution(axes: Axes, measurements: Sequence[Measurement]) -> None:
    for chosen, label, style in _curves(measurements):
        errors = np.sort(_drawable([each.mtre_mm for each in chosen]))
        share = np.arange(1, len(errors) + 1) / len(errors)
        axes.step(
            np.concatenate([_RANGE_MM[:1], errors, _RANGE_MM[1:]]),
            np.concatenate([[0.0], share, share[-1:]]),
            where="post",
            label=label,
            **style,
        )
    axes.set_xscale("log")
    axes.set_xlim(*_RANGE_MM)
    axes.set_xlabel("final mTRE [mm]")
    axes.set_ylabel("fraction of cases below")


def _height_of_names(measurements: Sequence[Measurement]) -> float:
    """Room [inch] below the picture for the names of curves."""
    curves = len({(each.method, each.start) for each in measurements})
    return 0.0 if curves <= _NAMES_INSIDE else 0.1 * (curves + 1)


def _name_curves(axes: Axes) -> None:
    if len(axes.get_legend_handles_labels()[0]) <= _NAMES_INSIDE:
        axes.legend(fontsize="small")
    else:
        axes.legend(fontsize="small", loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=2)


def _curves(measurements: Sequence[Measurement]) -> Iterator[tuple[list[Measurement], str, dict[str, Any]]]:
    """Measurements of every method and start, their name, and how their line is drawn."""
    methods = _methods(measurements)
    starts = list(dict.fromkeys(each.start for each in measurements))
    for row, method in enumerate(methods):
        for column, start in enumerate(starts):
            chosen = [each for each in measurements if (each.method, each.start) == (method, start)]
            if not chosen:
                continue
            name = f"start {start}, {len(chosen)} cases"
            if len(methods) == 1:
                yield chosen, name, {"color": f"C{column % 10}"}
            else:
                style = {"color": f"C{row % 10}", "linestyle": _LINES[column % len(_LINES)]}
                yield chosen, f"{method}, {name}", style


def _draw_success(axes: Axes, measurements: Sequence[Measurement], config: StatisticsConfig) -> None:
    methods = _methods(measurements)
    bounds = _SUCCESS_MM if len(methods) == 1 else (config.success_mm,)
    curves = [(method, bound) for method in methods for bound in bounds]
    # Beside each other, so that bars can be told apart.
    offsets = _BIN_MM * 0.05 * (np.arange(len(curves)) - (len(curves) - 1) / 2)
    for (method, bound), offset in zip(curves, offsets, strict=True):
        chosen = [each for each in measurements if each.method == method]
        centres, rates, bars = _success_by_bin(chosen, bound, config)
        label = f"mTRE < {bound:g} mm" if len(methods) == 1 else f"{method}, mTRE < {bound:g} mm"
        axes.errorbar(centres + offset, rates, bars, marker="o", alpha=0.7, capsize=2, label=label)
    axes.set_xlim(left=0)
    axes.set_xlabel(f"initial mTRE [mm], in bins of {_BIN_MM:g} mm; bars: {config.level:.0%} intervals")
    axes.set_ylabel("fraction of cases that succeed")


def _success_by_bin(
    measurements: Sequence[Measurement], bound_mm: float, config: StatisticsConfig
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Centres [B], rates [B], and how far intervals reach below and above them [2, B]."""
    initial = _drawable([each.initial_mtre_mm for each in measurements])
    bins: dict[int, list[Measurement]] = {}
    for each, index in zip(measurements, (initial // _BIN_MM).astype(int), strict=True):
        bins.setdefault(int(index), []).append(each)
    rates, bars = [], []
    for _, chosen in sorted(bins.items()):
        succeeded = [each.mtre_mm < bound_mm for each in chosen]
        clusters = [getattr(each, config.unit) for each in chosen]
        rate = float(np.mean(succeeded))
        low, high = success_interval(succeeded, clusters, level=config.level)
        rates.append(rate)
        bars.append((max(rate - low, 0.0), max(high - rate, 0.0)))
    return (np.array(sorted(bins)) + 0.5) * _BIN_MM, np.array(rates), np.array(bars).T


def _methods(measurements: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(each.method for each in measurements))


def _drawable(errors_mm: Sequence[float]) -> NDArray[np.float64]:
    """Errors within the range of the picture; what is infinite or not a number is at its end."""
    return np.clip(np.nan_to_num(errors_mm, nan=np.inf), *_RANGE_MM)
