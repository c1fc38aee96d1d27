r"""What similarities look like about the true pose: their value along each of its six axes.

    python benchmarks/landscape.py --models chest=models/chest pelvis=models/pelvis \
        --euclidean chest=models/chest-euclidean pelvis=models/pelvis-euclidean --output landscape

The folder holds cases `NAME/NN/xray.dcm` and `truth.json`, as for register.py; a model is a folder that
`isoclinic train` wrote, for the CT of the cases of that name. One axis of the pose at a time is moved, as
`se3.perturb` means it: turns of the patient about the camera's x (right), y (down) and z (the beam), and
shifts along them, the last of which is depth.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import tyro
from _learned import Inputs, Subject, subjects
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isoclinic.errors import InputError, UsageError
from isoclinic.similarity import SphericalSimilarity
from isoclinic.solver import Problem

_AXES = ("about x [deg]", "about y [deg]", "about z [deg]", "along x [mm]", "along y [mm]", "depth [mm]")


@dataclass(frozen=True, kw_only=True)
class Config(Inputs):
    """What to run.

    Attributes:
        rotation_deg: range about every axis, either way [deg].
        lateral_mm: range along x and y [mm].
        depth_mm: range along z [mm].
        points: along an axis, odd; closest to each other at the truth.
        output: folder for landscape.png and landscape.json.
    """

    rotation_deg: float = 45.0
    lateral_mm: float = 80.0
    depth_mm: float = 150.0
    points: int = 41
    output: Path

    def __post_init__(self) -> None:
        if self.points < 5 or self.points % 2 == 0:
            raise UsageError(
                f"--points must be odd and at least 5, not {self.points}", code="options.invalid-value"
            )

    @property
    def offsets(self) -> NDArray[np.float64]:
        """[6, P] from the truth [deg or mm]."""
        share = np.linspace(-1, 1, self.points)
        ranges = (self.rotation_deg,) * 3 + (self.lateral_mm,) * 2 + (self.depth_mm,)
        return np.outer(ranges, share * np.abs(share))


@dataclass(frozen=True, kw_only=True)
class Landscape:
    """A similarity on the B cases of a CT.

    Attributes:
        similarity: its name.
        group: of the cases.
        values: [B, 6, P] along the axes: 0 at the truth, 1 the median over the twelve ends of the axes.
        bias: [6], how far the least value is from the truth: median over the cases [deg or mm].
        basin: [6], the distance from which, from either side, the median over the cases falls all the way
            to its least value [deg or mm].
    """

    similarity: str
    group: str
    values: list[list[list[float]]]
    bias: list[float]
    basin: list[float]

    @classmethod
    def of(
        cls, similarity: str, group: str, costs: NDArray[np.float64], offsets: NDArray[np.float64]
    ) -> Landscape:
        """Of costs [B, 6, P] at offsets [6, P]."""
        truth = costs[:, :, costs.shape[2] // 2, None]
        far = np.median((costs - truth)[:, :, [0, -1]], axis=(1, 2))
        values = (costs - truth) / far[:, None, None]
        minima = [[minimum(*pair) for pair in zip(offsets, each, strict=True)] for each in values]
        medians = zip(offsets, np.median(values, axis=0), strict=True)
        return cls(
            similarity=similarity,
            group=group,
            values=values.tolist(),
            bias=np.median(np.abs(minima), axis=0).tolist(),
            basin=[basin(*pair) for pair in medians],
        )


def minimum(offsets: NDArray[np.float64], curve: NDArray[np.float64]) -> float:
    """Where a curve [P] is least: the vertex of the parabola through the least point and its neighbours."""
    low = int(curve.argmin())
    if low in (0, len(curve) - 1):
        return float(offsets[low])
    near = slice(low - 1, low + 2)
    bend, slope, _ = np.polyfit(offsets[near] - offsets[low], curve[near], 2)
    return float(offsets[low] - slope / (2 * bend)) if bend > 0 else float(offsets[low])


def basin(offsets: NDArray[np.float64], curve: NDArray[np.float64]) -> float:
    """How far on both sides of the truth a curve [P] falls all the way to its least value; 0 if nowhere."""
    low = int(curve.argmin())
    steps = np.diff(curve)
    right = low + int(np.argmin([*(steps[low:] > 0), False]))
    left = low - int(np.argmin([*(steps[:low][::-1] < 0), False]))
    return max(0.0, float(min(-offsets[left], offsets[right])))


def landscapes(config: Config, console: Console) -> Iterator[Landscape]:
    """Of every similarity and CT."""
    offsets = config.offsets
    tangents = np.where(np.arange(6)[:, None] < 3, np.deg2rad(offsets), offsets)
    for subject in subjects(config):
        for name, problem in track(
            subject.problems().items(), description=f"{subject.group}, similarities", console=console
        ):
            costs = _costs(problem, subject, torch.from_numpy(tangents)).numpy()
            yield Landscape.of(name, subject.group, costs, offsets)


@torch.no_grad()
def _costs(problem: Problem, subject: Subject, tangents: Tensor) -> Tensor:
    """[B, 6, P] at tangents [6, P] along each axis."""
    items = torch.arange(len(subject.cases))
    along = torch.einsum("ap,ak->apk", tangents, torch.eye(6, dtype=tangents.dtype)).flatten(0, 1)
    columns = []
    for tangent in along:
        poses = problem.retract(subject.true_poses, tangent.expand(len(items), 6))
        if isinstance(problem, SphericalSimilarity):
            columns.append(problem.squared_distance(poses))
        else:
            columns.append(problem.linearize(poses, items).cost)
    return torch.stack(columns, dim=1).unflatten(1, tangents.shape).double()


def table(measured: Sequence[Landscape]) -> Table:
    """Bias and basin along every axis."""
    result = Table(
        "similarity",
        "CT",
        title="bias / basin: how far the least value is from the truth / how far the bowl reaches",
    )
    for axis in _AXES:
        result.add_column(axis.replace("[", r"\["), justify="right")
    for each in measured:
        cells = (f"{bias:.2f} / {width:.0f}" for bias, width in zip(each.bias, each.basin, strict=True))
        result.add_row(each.similarity, each.group, *cells)
    return result


def figure(measured: Sequence[Landscape], offsets: NDArray[np.float64]) -> Figure:
    """A row for every similarity, a column for every axis, a colour for every CT: median and quartiles."""
    names = list(dict.fromkeys(each.similarity for each in measured))
    groups = list(dict.fromkeys(each.group for each in measured))
    result = Figure(figsize=(2.6 * len(_AXES), 2.1 * len(names) + 0.6), layout="constrained")
    panels = result.subplots(len(names), len(_AXES), sharex="col", sharey="row", squeeze=False)
    for each in measured:
        row, colour = names.index(each.similarity), f"C{groups.index(each.group)}"
        low, middle, high = np.percentile(each.values, (25, 50, 75), axis=0)
        for axis, axes in enumerate(panels[row]):
            axes.fill_between(offsets[axis], low[axis], high[axis], color=colour, alpha=0.2, linewidth=0)
            axes.plot(offsets[axis], middle[axis], color=colour, label=each.group)
    for row, name in enumerate(names):
        panels[row, 0].set_ylabel(name)
    for axis, title in enumerate(_AXES):
        panels[-1, axis].set_xlabel(title)
    for axes in panels.flat:
        axes.axvline(0, color="0.5", linewidth=0.8)
        axes.axhline(0, color="0.5", linewidth=0.8)
        axes.grid(alpha=0.3)
    panels[0, 0].legend()
    return result


def main() -> None:
    """Run it all, print it and draw it."""
    try:
        config = tyro.cli(Config, description=__doc__)
        torch.set_num_threads(config.threads)
        console = Console(width=None if sys.stdout.isatty() else 140)
        measured = list(landscapes(config, console))
        config.output.mkdir(parents=True, exist_ok=True)
        document = {
            "offsets": dict(zip(_AXES, config.offsets.tolist(), strict=True)),
            "landscapes": [asdict(each) for each in measured],
        }
        (config.output / "landscape.json").write_text(json.dumps(document), encoding="utf-8")
        figure(measured, config.offsets).savefig(config.output / "landscape.png", dpi=120)
    except (InputError, UsageError, OSError) as error:
        sys.exit(str(error))
    console.print(table(measured))


if __name__ == "__main__":
    main()
