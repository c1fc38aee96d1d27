"""The course of a registration: cost and, where the truth is known, error against iteration, by stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from .._files import atomic
from ..errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, kw_only=True, eq=False)
class ConvergenceStage:
    """One stage of a registration.

    Attributes:
        name: name of the stage, such as its resolution.
        cost: [T], at its start and after every iteration.
        error_mm: [T], mTRE at the same points, where the true pose is known; NaN in between where it was not
            measured.
    """

    name: str
    cost: ArrayLike
    error_mm: ArrayLike | None = None


def write_convergence(path: Path | str, stages: Sequence[ConvergenceStage]) -> None:
    """Write `convergence_figure` as PNG.

    Raises:
        InputError: there is no stage, or the file cannot be written.
    """
    figure = convergence_figure(stages)
    with atomic(Path(path)) as temporary:
        figure.savefig(temporary, format="png", dpi=120)


def convergence_figure(stages: Sequence[ConvergenceStage]) -> Figure:
    """Cost, and below it the error where a stage has one, against iteration; one colour a stage.

    Each stage's cost is drawn relative to its start: stages minimise different residuals, whose costs cannot
    be compared. A stage starts from the pose that the one before ended with, so the two share an iteration.

    Args:
        stages: the stages, in the order they ran.

    Raises:
        InputError: there is no stage.
    """
    # They take long to import.
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    if not stages:
        raise InputError("there is no stage whose convergence could be drawn", code="picture.incomplete")
    rows = 1 if all(stage.error_mm is None for stage in stages) else 2
    figure = Figure(figsize=(8, 3.2 * rows), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    start = 0
    for index, stage in enumerate(stages):
        cost = np.asarray(stage.cost, dtype=np.float64)
        iterations = np.arange(start, start + len(cost))
        style = {"color": f"C{index}", "marker": ".", "label": stage.name}
        axes[0].plot(iterations, cost / (cost[0] or 1.0), **style)
        if stage.error_mm is not None:
            error_mm = np.asarray(stage.error_mm)
            measured = np.isfinite(error_mm)
            axes[1].plot(iterations[measured], error_mm[measured], **style)
        start = iterations[-1]
    axes[0].set_ylabel("cost / cost at the stage's start")
    axes[0].set_ylim(bottom=0)
    axes[0].legend()
    if rows == 2:
        axes[1].set_ylabel("mTRE [mm]")
        axes[1].set_yscale("log")
    axes[-1].set_xlabel("iteration")
    axes[-1].xaxis.set_major_locator(MaxNLocator(integer=True))
    for each in axes:
        each.grid(alpha=0.3)
    return figure
