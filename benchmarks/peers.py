"""Real X-rays with known poses: isoclinic beside the recipes of others, from the same starts.

    python benchmarks/peers.py --folder ../shared/data/real --output peers
    python benchmarks/peers.py --methods isoclinic cmaes --starts 10 --max-samples 4

Every set of the folder (see real.py) is registered by `isoclinic evaluate`, X-ray by X-ray, so that an
interrupted run goes on where it stopped. The table says which share is right by the limits of real.py: depth
does not count, as one X-ray hardly shows it.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
import tyro
from _models import DATA
from real import errors
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        folder: of the sets of cases.
        output: folder of the evaluations.
        methods: as of `isoclinic evaluate`.
        starts: names of starts in truth.json.
        max_samples: X-rays of each set, the first ones; all when None.
        in_plane_mm: a result counts as right if its landmarks project this near to where they should,
            in millimetres at their depth.
        rotation_deg: and if it is turned by no more than this.
    """

    folder: Path = DATA / "real"
    output: Path = Path("peers")
    methods: tuple[str, ...] = ("isoclinic", "cmaes", "xvr")
    starts: tuple[str, ...] = ("3", "10")
    max_samples: int | None = None
    in_plane_mm: float = 1.0
    rotation_deg: float = 2.0


@dataclass(frozen=True, kw_only=True)
class Run:
    """One registration.

    Attributes:
        method: that registered.
        subset: of the cases.
        start: its name.
        in_plane_mm: mean distance of the landmarks across the beam.
        rotation_deg: angle to the true rotation.
        seconds: it took.
    """

    method: str
    subset: str
    start: str
    in_plane_mm: float
    rotation_deg: float
    seconds: float

    def within(self, config: Config, factor: float = 1.0) -> bool:
        """Whether the errors are within so many times the limits."""
        return (
            self.in_plane_mm < factor * config.in_plane_mm
            and self.rotation_deg < factor * config.rotation_deg
        )


def evaluated(config: Config, subset: Path, method: str) -> Path:
    """Evaluate a method on a set, as far as that has not been done; the folder of the evaluation."""
    output = config.output / f"{method}-{subset.name}"
    command = [sys.executable, "-m", "isoclinic", "evaluate", str(subset), "--output", str(output)]
    command += ["--methods", method, "--starts", *config.starts]
    if subset.name.startswith("knee"):
        # The metal of an implant is what is registered.
        command += ["--preprocess.masks.no-find-metal"]
    if config.max_samples is not None:
        command += ["--max-samples", str(config.max_samples)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return output


def runs(config: Config) -> Iterator[Run]:
    """All registrations."""
    for method in config.methods:
        for subset in sorted({path.parents[1] for path in config.folder.glob("*/*/truth.json")}):
            yield from measured(evaluated(config, subset, method), subset)


def measured(evaluation: Path, subset: Path) -> Iterator[Run]:
    """The registrations of an evaluation of a set."""
    with (evaluation / "measurements.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        truth = json.loads((subset / row["case"] / "truth.json").read_text(encoding="utf-8"))
        file_of_pose = evaluation / "cases" / row["case"] / row["start"] / row["method"] / "pose.json"
        pose = json.loads(file_of_pose.read_text(encoding="utf-8"))["camera_from_world"]
        found = errors(torch.tensor(pose, dtype=torch.float64), truth)
        yield Run(
            method=row["method"],
            subset=subset.name,
            start=row["start"],
            in_plane_mm=found["in_plane_mm"],
            rotation_deg=found["rotation_deg"],
            seconds=float(row["seconds"]),
        )


def table(measurements: Sequence[Run], config: Config) -> Table:
    """Shares and medians by set, start and method."""
    result = Table("set", "start", "method", "n", "right", "within twice", "in plane", "rotation", "time")
    for subset, start, method in dict.fromkeys((run.subset, run.start, run.method) for run in measurements):
        rows = [run for run in measurements if (run.subset, run.start, run.method) == (subset, start, method)]
        result.add_row(
            subset,
            start,
            method,
            str(len(rows)),
            *(f"{sum(run.within(config, factor) for run in rows) / len(rows):.2f}" for factor in (1, 2)),
            f"{median(run.in_plane_mm for run in rows):.2f} mm",
            f"{median(run.rotation_deg for run in rows):.1f} deg",
            f"{median(run.seconds for run in rows):.1f} s",
        )
    return result


def main(config: Config) -> None:
    """Run it all and print it."""
    try:
        measurements = list(runs(config))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(error.cmd)} failed")
    Console(width=None if sys.stdout.isatty() else 140).print(table(measurements, config))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
