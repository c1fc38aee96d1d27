"""Real X-rays with known poses: where registrations with the default settings end.

    python benchmarks/real.py --folder ../shared/data/real
    python benchmarks/real.py --starts 3 10 30          # with wrong results, for the second table
    python benchmarks/real.py --models femoral=FOLDER ulna=FOLDER   # beside networks of these parts

The folder holds cases `SET/NAME/truth.json`, an object with `ct`, `xray` and, for two views,
`further_xrays` and `views` (paths from the case's folder), `extrinsic` (camera_from_world, RAS mm),
`landmarks` (points on the surface, RAS mm) and `inits` (starting poses by their
size: n millimetres and n degrees off). Sets named `knee...` show implants, whose metal must not be masked.
benchmarks/README.md says where such cases come from, and how far their truth can be trusted.

The second table says how well wrong results are told from right ones where the threshold of the correlation
in the last stage is fitted on all sets but the one that it is judged on.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import tyro
from _models import DATA, read_models
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn.functional import normalize

import isoclinic as iso
from isoclinic.geometry import se3
from isoclinic.networks import Checkpoint
from isoclinic.registration import View, register_views, views_from_file
from isoclinic.volumes import GeometryWarning


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        folder: of the cases.
        starts: sizes of the starts, in millimetres and degrees; those that `inits` does not have are drawn.
        seed: of these.
        in_plane_mm: a result counts as right if its landmarks project this near to where they should,
            in millimetres at their depth.
        rotation_deg: and if it is turned by no more than this.
        depth_mm: and, with two views, if its depth is off by no more than this.
        only: sets whose name begins so; all when empty.
        models: PART=FOLDER each, of trainings with the preset "part": cases of these CTs alone are
            registered, without the model, with it, and with it and `learned.part.polish`.
    """

    folder: Path = DATA / "real"
    starts: tuple[int, ...] = (3, 10)
    seed: int = 0
    in_plane_mm: float = 1.0
    rotation_deg: float = 2.0
    depth_mm: float = 1.0
    only: str = ""
    models: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Run:
    """One registration.

    Attributes:
        group: what was registered, by how many views, from how far off.
        in_plane_mm: mean distance of the landmarks across the beam.
        rotation_deg: angle to the true rotation.
        depth_mm: mean error of the landmarks' depth.
        views: number of X-rays.
        doubtful: whether the result says so.
        similarity: correlation in the last stage.
        otherwise: whether there is a doubt besides one about this correlation.
        seconds: the time that the registration took.
    """

    group: str
    in_plane_mm: float
    rotation_deg: float
    depth_mm: float
    views: int
    doubtful: bool
    similarity: float
    otherwise: bool
    seconds: float

    @property
    def source(self) -> str:
        """The set it is from."""
        return self.group.partition(" ")[0]

    def flagged(self, below: float) -> bool:
        """Whether it is doubtful with another threshold of the correlation in the last stage."""
        return self.otherwise or not self.similarity >= below

    def within(self, config: Config, factor: float = 1.0) -> bool:
        """Whether the errors are within so many times the limits."""
        near = (
            self.in_plane_mm < factor * config.in_plane_mm
            and self.rotation_deg < factor * config.rotation_deg
        )
        return near and (self.views == 1 or abs(self.depth_mm) < factor * config.depth_mm)


def main(config: Config) -> None:
    """Register every case from every start and print a table."""
    runs = list(_runs(config))
    console = Console(width=None if sys.stdout.isatty() else 140)
    console.print(_by_group(runs, config))
    console.print(_held_out(runs, config))


def _by_group(runs: Sequence[Run], config: Config) -> Table:
    table = Table(
        "what, from where",
        "n",
        "right",
        "within twice",
        "doubtful of wrong",
        "of right",
        "in plane",
        "rotation",
        "time",
    )
    for group in dict.fromkeys(run.group for run in runs):
        rows = [run for run in runs if run.group == group]
        right, wrong = ([run for run in rows if run.within(config) is good] for good in (True, False))
        table.add_row(
            group,
            str(len(rows)),
            f"{len(right) / len(rows):.2f}",
            f"{sum(run.within(config, 2) for run in rows) / len(rows):.2f}",
            f"{sum(run.doubtful for run in wrong)} of {len(wrong)}",
            f"{sum(run.doubtful for run in right)} of {len(right)}",
            f"{median(run.in_plane_mm for run in rows):.2f} mm",
            f"{median(run.rotation_deg for run in rows):.2f} deg",
            f"{median(run.seconds for run in rows):.1f} s",
        )
    return table


def _held_out(runs: Sequence[Run], config: Config) -> Table:
    """What a threshold fitted on the other sets makes of each set; what is nearly right is left out."""
    table = Table("set", "threshold", "doubtful of wrong", "of right", title="fitted on the other sets")
    sources = list(dict.fromkeys(run.source for run in runs))
    default = iso.RegistrationConfig().partial.confidence.similarity_below
    for source in sources:
        others = [run for run in runs if run.source != source]
        for below, name in ((_fitted(others, config), ""), (default, " (default)")):
            right, wrong = _sorted([run for run in runs if run.source == source], config)
            table.add_row(
                source,
                f"{below:.2f}{name}",
                f"{sum(run.flagged(below) for run in wrong)} of {len(wrong)}",
                f"{sum(run.flagged(below) for run in right)} of {len(right)}",
            )
    return table


def _fitted(runs: Sequence[Run], config: Config) -> float:
    """The middle of the thresholds that trust the fewest wrong results and flag the fewest right ones."""
    right, wrong = _sorted(runs, config)
    thresholds = np.linspace(0, 1, 101)
    costs = np.array(
        [
            sum(not run.flagged(below) for run in wrong) / max(len(wrong), 1)
            + sum(run.flagged(below) for run in right) / max(len(right), 1)
            for below in thresholds
        ]
    )
    best = thresholds[costs <= costs.min() + 1e-9]
    return float(best[[0, -1]].mean())


def _sorted(runs: Sequence[Run], config: Config) -> tuple[list[Run], list[Run]]:
    """Those that are right, and those that are beyond twice the limits."""
    return [run for run in runs if run.within(config)], [run for run in runs if not run.within(config, 2)]


def _runs(config: Config) -> Iterator[Run]:
    volumes: dict[Path, iso.Volume] = {}
    models = read_models(config.models)
    generator = torch.Generator().manual_seed(config.seed)
    threshold = iso.RegistrationConfig().partial.confidence.similarity_below
    for file in sorted(config.folder.glob(f"{config.only}*/*/truth.json")):
        truth, folder = json.loads(file.read_text()), file.parent
        ct = (folder / truth["ct"]).resolve()
        part = ct.name.partition(".")[0]
        if models and part not in models:
            continue
        if ct not in volumes:
            volumes[ct] = iso.Volume.read(ct)
        volume = volumes[ct]
        for views in _views(truth, folder):
            for size in config.starts:
                group = f"{folder.parent.name} {part}, {len(views)} view(s), {size} mm, deg"
                start = _start(truth, size, generator)
                for method, settings in _methods(models, implant=folder.parent.name.startswith("knee")):
                    began = time.perf_counter()
                    with warnings.catch_warnings():
                        warnings.simplefilter("ignore", GeometryWarning)
                        model = models[part] if method else None
                        result = register_views(volume, views, start, settings, model=model)
                    yield Run(
                        group=group + method,
                        **errors(result.camera_from_world, truth),
                        views=len(views),
                        doubtful=str(result.status) in ("doubtful", "diverged"),
                        similarity=result.similarity,
                        otherwise=len(result.confidence.doubts) > int(not result.similarity >= threshold),
                        seconds=time.perf_counter() - began,
                    )


def _methods(
    models: Mapping[str, Checkpoint], *, implant: bool
) -> Iterator[tuple[str, iso.RegistrationConfig]]:
    """Names and settings of what is compared; without models the defaults alone."""
    settings = _settings(implant=implant)
    yield "", settings
    for name, polish in ((", learned", False), (", learned, polished", True)) if models else ():
        part = replace(settings.learned.part, enabled=True, polish=polish)
        yield name, replace(settings, learned=replace(settings.learned, part=part))


def _start(truth: Mapping[str, Any], size: int, generator: torch.Generator) -> Tensor:
    """A start [4, 4] of a size: turned about a random axis through the landmarks' centre, and moved."""
    if str(size) in truth["inits"]:
        return torch.tensor(truth["inits"][str(size)], dtype=torch.float64)
    axis, along = (
        normalize(torch.randn(2, 3, generator=generator, dtype=torch.float64), dim=1) * size
    ).unbind()
    centre = torch.tensor(truth["landmarks"], dtype=torch.float64).mean(dim=0)
    change = torch.cat([torch.deg2rad(axis), along])
    return se3.perturb(torch.tensor(truth["extrinsic"], dtype=torch.float64), change, centre)


def _views(truth: Mapping[str, Any], folder: Path) -> Iterator[tuple[View, ...]]:
    """The X-ray alone, and together with further ones where there are any."""
    xrays = [iso.XRay.read(folder / name) for name in (truth["xray"], *truth.get("further_xrays", ()))]
    yield (View(xray=xrays[0]),)
    if len(xrays) > 1:
        yield views_from_file(xrays, folder / truth["views"])


def _settings(*, implant: bool) -> iso.RegistrationConfig:
    """The defaults; the metal of an implant is what is registered."""
    config = iso.RegistrationConfig()
    masks = replace(config.preprocess.masks, find_metal=not implant)
    return replace(config, preprocess=replace(config.preprocess, masks=masks))


def errors(pose: Tensor, truth: Mapping[str, Any]) -> dict[str, float]:
    """Errors at the landmarks: a point that moves along its own ray does not move in plane."""
    true_pose = torch.tensor(truth["extrinsic"], dtype=torch.float64)
    points = torch.tensor(truth["landmarks"], dtype=torch.float64)
    found, true = (se3.transform_points(each, points) for each in (pose, true_pose))
    across = (found[:, :2] / found[:, 2:] - true[:, :2] / true[:, 2:]) * true[:, 2:]
    return {
        "in_plane_mm": float(torch.linalg.vector_norm(across, dim=1).mean()),
        "rotation_deg": float(se3.rotation_angle_deg(pose, true_pose)),
        "depth_mm": float((found - true)[:, 2].mean()),
    }


if __name__ == "__main__":
    main(tyro.cli(Config))
