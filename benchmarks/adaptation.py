r"""What minutes of adaptation are worth: validation error against time, beside a training from nothing.

    isoclinic train CT --output models/scratch
    isoclinic adapt models/others CT --output models/adapted --minutes 3
    python benchmarks/adaptation.py --trainings "from nothing=models/scratch" "adapted=models/adapted" \
        --output adaptation.png

A training is a folder that `isoclinic train`, `pretrain` or `adapt` wrote; those compared must have been
validated on the same X-rays: of one CT, with the same seed, views, detector and number of images.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tyro
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from isoclinic.errors import InputError
from isoclinic.networks import Checkpoint
from isoclinic.training.file_names import MODEL_FILE

_COLOURS = ("#8c8c8c", "#d62728", "#1f77b4", "#2ca02c")


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to compare.

    Attributes:
        trainings: NAME=FOLDER.
        output: picture to write.
    """

    trainings: tuple[str, ...]
    output: Path


def main(config: Config) -> None:
    """Print where every network ended, and draw how it came there."""
    try:
        curves = dict(_curves(item) for item in config.trainings)
    except InputError as error:
        sys.exit(str(error))
    kinds = list(dict.fromkeys(kind for each in curves.values() for kind in each))
    shared = [kind for kind in kinds if sum(kind in each for each in curves.values()) > 1]
    table = Table("network", "training")
    for heading in ("minutes", "X-rays", "before \\[mm]", "after \\[mm]"):
        table.add_column(heading, justify="right")
    figure = Figure(figsize=(5 * len(shared), 3.6), layout="constrained")
    for axes, kind in zip(figure.subplots(1, len(shared), squeeze=False)[0], shared, strict=True):
        for (name, each), colour in zip(curves.items(), _COLOURS, strict=False):
            if kind not in each:
                continue
            curve = each[kind]
            axes.plot(curve["minutes"], curve["mtre_50_mm"], marker="o", color=colour, label=name)
            axes.fill_between(
                curve["minutes"], curve["mtre_25_mm"], curve["mtre_75_mm"], color=colour, alpha=0.15, lw=0
            )
            first, last = (f"{curve['mtre_50_mm'][index]:.1f}" for index in (0, -1))
            table.add_row(
                kind, name, f"{curve['minutes'][-1]:.1f}", f"{curve['images'][-1]:,.0f}", first, last
            )
        axes.set_title(kind.replace("_", " "))
        axes.set_xlabel("minutes of training of this network")
        axes.set_ylabel("validation mTRE [mm], median and quartiles")
        axes.set_yscale("log")
        axes.grid(alpha=0.3, which="both")
        axes.legend()
    figure.savefig(config.output, dpi=110)
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def _curves(item: str) -> tuple[str, Mapping[str, Mapping[str, tuple[float, ...]]]]:
    """Name of a training, and the curves of its networks."""
    name, equals, folder = item.partition("=")
    if not equals:
        raise InputError(f"a training must be given as NAME=FOLDER, not {item}", code="input.unreadable")
    return name, Checkpoint.load(Path(folder) / MODEL_FILE).record.curves


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
