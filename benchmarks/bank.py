r"""Can an embedding replace the search? A bank of embedded renderings against the search over all views.

    python benchmarks/bank.py --volume pelvis.nii.gz --model models/pelvis-motion --output bank

Renderings of a CT on a grid of directions and turns within the views of a model are embedded once; an X-ray
then costs one pass and the distances to all of them. Beside it, the search over all views correlates
derivatives at all positions (`registration._any_view`), and does so over the whole sphere. X-rays are
simulated at random poses within the views of the model, as in its training, up to 60 mm beside the middle.
The table says how far the best candidates are turned from the truth: one within 15 degrees is within reach of
what follows.
"""

from __future__ import annotations

import csv
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import tyro
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor

from isoclinic import Volume
from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import gantry_poses
from isoclinic.networks import Checkpoint, Embedding, SphericalEncoder, masked
from isoclinic.registration._any_view import any_view
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._search import SearchView
from isoclinic.registration.search_config import AnyViewConfig
from isoclinic.rendering import Projector, RenderConfig
from isoclinic.training import PoseConfig, SimulationStream, StreamConfig
from isoclinic.training._adaptation import poses_of
from isoclinic.training.file_names import MODEL_FILE
from isoclinic.training.stream import Batch

_WITHIN_DEG = 15.0
_FIRST = (1, 8, 48)
_SEARCH, _CHANCE = "search over all views", "the bank in random order"


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        volume: the CT.
        model: folder that isoclinic train made.
        xrays: number of simulated X-rays.
        seed: of poses and X-rays; trainings use seeds of their own.
        search: the search over all views.
        output: folder for bank.csv.
        threads: of torch; numba takes NUMBA_NUM_THREADS.
    """

    volume: Path
    model: Path
    xrays: int = 32
    seed: int = 40_000
    search: AnyViewConfig = field(default_factory=AnyViewConfig)
    output: Path | None = None
    threads: int = 2


def candidates(poses: PoseConfig, spacing_deg: float, isocentre: Tensor) -> Tensor:
    """Views [N, 4, 4] on a grid over the ranges of a training, the CT in the middle."""

    def steps(middle: float, reach: float) -> Tensor:
        count = max(1, math.ceil(2 * reach / spacing_deg))
        return middle + reach * (2 * (torch.arange(count, dtype=torch.float64) + 0.5) / count - 1)

    grid = torch.cartesian_prod(
        steps(poses.primary_angle_deg, poses.primary_reach_deg),
        steps(poses.secondary_angle_deg, poses.secondary_reach_deg),
        steps(0.0, poses.in_plane_reach_deg),
    )
    gantry = torch.cat([grid[:, :2], torch.full((len(grid), 1), poses.source_isocentre_mm)], 1)
    shift = torch.zeros(len(grid), 3, dtype=torch.float64)
    return gantry_poses(gantry.double(), isocentre, shift_mm=shift, in_plane_deg=grid[:, 2])


def by_distance(
    encoder: SphericalEncoder, bank: Tensor, image: Tensor, weight: Tensor
) -> tuple[Tensor, float]:
    """Candidates, nearest first, and seconds besides the embedding of the bank's images [N, H, W].

    The bank is embedded under the X-ray's own mask, which favours it: kept embeddings know no mask.
    """
    moving = _joined([encoder(masked(part, weight)) for part in bank.split(32)])
    began = time.process_time()
    fixed = encoder(masked(image, weight)[None])
    distance = encoder.squared_distance(moving, fixed.select(torch.zeros(len(bank), dtype=torch.int64)))
    return distance.argsort(), time.process_time() - began


def _joined(parts: Sequence[Embedding]) -> Embedding:
    result = parts[0]
    for part in parts[1:]:
        result = result.followed_by(part)
    return result


def by_search(batch: Batch, index: int, config: Config, distance_mm: float) -> tuple[Tensor, float]:
    """Poses [K, 4, 4] of the search, best first, and seconds."""
    began = time.process_time()
    whole = FixedImage(image=batch.fixed[index], weight=batch.weight[index], camera=batch.camera)
    small = whole.at(config.search.pixels)
    pose = batch.fixed_camera_from_world[index : index + 1]
    view = SearchView(
        projector=Projector.of(batch.volume, small.camera, pose, RenderConfig(method="trilinear")),
        fixed=small.image,
        weight=small.weight,
        view_from_first=torch.eye(4, dtype=torch.float64),
    )
    ((poses, _),) = any_view([[view]], distance_mm, config.search)
    return poses, time.process_time() - began


def turned_deg(poses: Tensor, truth: Tensor) -> Tensor:
    """Angles [N] between the rotations of poses [N, 4, 4] and of the truth [4, 4] [deg]."""
    trace = (poses[:, :3, :3] * truth[:3, :3]).sum((1, 2))
    return torch.rad2deg(((trace - 1) / 2).clamp(-1, 1).arccos())


def main() -> None:
    """Measure it and print the table."""
    config = tyro.cli(Config, description=__doc__)
    torch.set_num_threads(config.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    try:
        volume, model = Volume.read(config.volume), Checkpoint.load(config.model / MODEL_FILE)
    except (InputError, UsageError, OSError) as error:
        sys.exit(str(error))
    encoders = {kind: each for kind, each in model.networks.items() if isinstance(each, SphericalEncoder)}
    if not encoders:
        sys.exit(f"{config.model} holds no encoder, but {', '.join(model.networks)}")
    poses = poses_of(model.record)
    stream = SimulationStream(
        [volume],
        model.record.camera,
        StreamConfig(batch=1, moving="none", domain=model.record.domain, poses=poses),
        seed=config.seed,
    )
    isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
    views = candidates(poses, config.search.spacing_deg, isocentre)
    bank = stream.projector(volume).image(views)
    rows: list[tuple[str, int, float, list[float]]] = []
    with torch.no_grad():
        for index in track(range(config.xrays), "looking up", console=console):
            batch = stream.batch(index)
            truth = batch.fixed_camera_from_world[0]
            for kind, encoder in encoders.items():
                order, seconds = by_distance(encoder, bank, batch.fixed[0], batch.weight[0])
                rows.append((kind, index, seconds, turned_deg(views[order], truth).tolist()))
            found, seconds = by_search(batch, 0, config, poses.source_isocentre_mm)
            rows.append((_SEARCH, index, seconds, turned_deg(found, truth).tolist()))
            order = torch.randperm(len(views), generator=torch.Generator().manual_seed(index))
            rows.append((_CHANCE, index, 0.0, turned_deg(views[order], truth).tolist()))
    nearest = [float(turned_deg(views, stream.batch(i).fixed_camera_from_world[0]).min()) for i in range(8)]
    title = (
        f"{config.xrays} X-rays, {len(views)} views in the bank, the nearest {np.median(nearest):.0f} deg off"
    )
    headings = [f"one of the first {count} within {_WITHIN_DEG:g} deg" for count in _FIRST]
    table = Table("", "first, median", *headings, "CPU seconds", title=title)
    for kind in (*encoders, _SEARCH, _CHANCE):
        own = [(seconds, turned) for name, _, seconds, turned in rows if name == kind]
        shares = [np.mean([min(turned[:count]) <= _WITHIN_DEG for _, turned in own]) for count in _FIRST]
        first = np.median([turned[0] for _, turned in own])
        seconds = np.median([each for each, _ in own])
        table.add_row(kind, f"{first:.0f} deg", *(f"{share:.2f}" for share in shares), f"{seconds:.2f}")
    console.print(table)
    if config.output is not None:
        config.output.mkdir(parents=True, exist_ok=True)
        with (config.output / "bank.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["method", "xray", "seconds", *(f"best_of_{count}_deg" for count in _FIRST)])
            for kind, index, seconds, turned in rows:
                best = (f"{min(turned[:count]):.1f}" for count in _FIRST)
                writer.writerow([kind, index, f"{seconds:.2f}", *best])


if __name__ == "__main__":
    main()
