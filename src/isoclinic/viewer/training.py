"""The course of a training: loss and validation error of every network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, StrMethodFormatter

from .._files import atomic
from ..errors import InputError

Curves = Mapping[str, Mapping[str, Sequence[float]]]

_PANEL_INCH = (4.4, 2.6)
# More than this factor from the bottom to the top of an axis leaves no room for fine numbers.
_WIDE = 8


def write_training_curves(path: Path | str, curves: Curves) -> None:
    """Write `training_figure` as PNG.

    Raises:
        InputError: there is no network, or the file cannot be written.
    """
    figure = training_figure(curves)
    with atomic(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def training_figure(curves: Curves) -> Figure:
    """A column for each network: its loss, and below it the validation's mTRE, against minutes.

    Losses of different networks cannot be compared. Of the mTRE, the band is between the quartiles and the
    line is the median.

    Args:
        curves: curves by network, as in `TrainingRecord.curves`; no curve is empty.

    Raises:
        InputError: there is no network.
    """
    if not curves:
        raise InputError("there is no network whose training could be drawn", code="picture.incomplete")
    width, height = _PANEL_INCH
    figure = Figure(figsize=(width * len(curves), 2 * height), layout="constrained")
    axes = figure.subplots(2, len(curves), sharex="col", squeeze=False)
    for (kind, curve), (loss, error) in zip(curves.items(), axes.T, strict=True):
        minutes = np.asarray(curve["minutes"])
        loss.plot(minutes, curve["loss"], marker=".")
        low, median, high = (curve[f"mtre_{percent}_mm"] for percent in (25, 50, 75))
        error.fill_between(minutes, low, high, alpha=0.25, linewidth=0)
        error.plot(minutes, median, marker=".")
        loss.set_title(f"{kind.replace('_', ' ')}, {curve['images'][-1]:,.0f} X-rays")
        error.annotate(
            f"last: {median[-1]:.3g} mm", (0.98, 0.96), xycoords="axes fraction", ha="right", va="top"
        )
        error.set_xlabel("minutes")
        error.xaxis.set_major_locator(MaxNLocator(6))
        # A likelihood's loss may fall below zero.
        if min(curve["loss"]) > 0:
            _make_logarithmic(loss)
        _make_logarithmic(error)
        for each in (loss, error):
            each.grid(alpha=0.3)
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("validation mTRE [mm]\nmedian and quartiles")
    return figure


def _make_logarithmic(axes: Axes) -> None:
    """Numbers a person would write, as many as there is room for."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    ticks = (1, 2, 5) if high > _WIDE * low else (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)
    axes.yaxis.set_major_locator(LogLocator(subs=ticks))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
