"""Bones that moved relative to each other since the CT: the whole picture against the bone alone.

    python benchmarks/structures.py --cases 2
    python benchmarks/structures.py --motions-mm 5 10 15 20 --motions-deg 5 10 15 20     # how far it reaches

Every bone of the CT is cut out with its surface, moved at random, and resampled into what was left behind, a
hole filled with a blur of the soft tissue around it. The moved CT is radiographed with the spectrum, scatter,
noise, blur and tone of `isoclinic.simulation`. The overall pose is what `register` finds in that picture.
Contenders: "whole" (`register_structures`) and "alone" (`register` with the bone as its only structure).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
import tyro
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.ndimage import binary_dilation, gaussian_filter
from torch import Tensor

from isoclinic.geometry import Camera, se3
from isoclinic.registration import RegistrationConfig, SearchConfig, register
from isoclinic.registration.structures import register_structures
from isoclinic.simulation import SimulationConfig, simulate_xray
from isoclinic.volumes import Volume, XRay

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_CAMERA = Camera.from_pixel_spacing(width=256, height=256, pixel_spacing_mm=(1.6, 1.6), sdd_mm=1020.0)
_SOURCE_TO_ISOCENTRE_MM = 800.0
# Of the view beside the antero-posterior one, and of the start of the overall registration.
_VIEW = (0.2, 0.3, 0.1, 15.0, 15.0, 30.0)
_START = (0.05, 0.05, 0.05, 6.0, 6.0, 10.0)
_ALONE = RegistrationConfig(
    searches=(SearchConfig(candidates=64, rotation_deg=(8.0, 8.0, 8.0), margin=0.1, keep=6),)
)
_SOFT_TISSUE_HU = (-150, 120)
_HOLE_BLUR_MM = 9.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """What to run.

    Attributes:
        volume: the CT.
        labels: its label map, with names.
        structures: bones that move.
        cases: views and motions per size of motion.
        motions_mm: sizes of the motion: each bone is shifted by half to all of it [mm].
        motions_deg: and turned by half to all of this, one for each of `motions_mm` [deg].
        alone: run the bone alone, too.
    """

    volume: Path = _DATA / "abdomen_pelvis_3mm.nii.gz"
    labels: Path = _DATA / "abdomen_pelvis_3mm_labels.nii.gz"
    structures: tuple[str, ...] = (
        "hip_left",
        "hip_right",
        "sacrum",
        "femur_right",
        "vertebrae_L3",
        "vertebrae_L4",
        "vertebrae_L5",
    )
    cases: int = 4
    motions_mm: tuple[float, ...] = (8.0,)
    motions_deg: tuple[float, ...] = (8.0,)
    alone: bool = True


@dataclass(frozen=True, kw_only=True)
class Error:
    """Mean displacement of a bone's points in the camera [mm].

    Attributes:
        all_mm: in space.
        across_mm: across the beam.
        depth_mm: of the centroid along it, signed.
    """

    all_mm: float
    across_mm: float
    depth_mm: float

    @classmethod
    def of(cls, estimate: Tensor, truth: Tensor, points_world: Tensor) -> Error:
        """Of poses [4, 4] at points [N, 3]."""
        change = (estimate - truth)[:3]
        moved = points_world @ change[:, :3].T + change[:, 3]
        return cls(
            all_mm=float(moved.norm(dim=-1).mean()),
            across_mm=float(moved[:, :2].norm(dim=-1).mean()),
            depth_mm=float(moved[:, 2].mean()),
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One bone of one case, by contender."""

    name: str
    motion_mm: float
    errors: dict[str, Error]
    expected_mm: tuple[float, float]


def moved_ct(volume: Volume, motions: dict[str, NDArray[np.float64]]) -> Volume:
    """The CT after every bone moved by its transform [4, 4] of the world, resampled by cubic splines."""
    hu, affine = volume.hu.astype(np.float32), volume.world_from_voxel
    assert volume.labels is not None
    grown = {}
    for name in motions:
        inside = volume.structure_mask((name,))
        # The surface's partly filled voxels belong to the bone, but not those of its neighbours.
        grown[name] = binary_dilation(inside) & ~((volume.labels > 0) & ~inside)
    holes = np.any(list(grown.values()), axis=0)
    low, high = _SOFT_TISSUE_HU
    known = ~holes & (hu > low) & (hu < high)
    blur = _HOLE_BLUR_MM / volume.spacing_mm
    share = gaussian_filter(known.astype(np.float32), blur)
    filling = gaussian_filter(np.where(known, hu, 0), blur) / np.maximum(share, 1e-3)
    moved = np.where(holes, filling, hu)
    for name, motion in motions.items():
        bone = _resampled(np.where(grown[name], hu, filling), affine, motion, sitk.sitkBSpline)
        inside = np.clip(_resampled(grown[name].astype(np.float32), affine, motion, sitk.sitkLinear), 0, 1)
        moved = moved * (1 - inside) + np.maximum(bone, low) * inside
    return Volume(hu=moved.astype(np.float32), world_from_voxel=affine)


def _resampled(
    values: NDArray[np.float32], affine: NDArray[np.float64], motion: NDArray[np.float64], how: int
) -> NDArray[np.float32]:
    # ITK's own frame is LPS; taking RAS for it on both sides changes nothing.
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(values.astype(np.float32).transpose(2, 1, 0)))
    image.SetSpacing(spacing.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection((affine[:3, :3] / spacing).ravel().tolist())
    back = np.linalg.inv(motion)
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(back[:3, :3].ravel().tolist())
    transform.SetTranslation(back[:3, 3].tolist())
    return sitk.GetArrayFromImage(sitk.Resample(image, transform, how, 0.0)).transpose(2, 1, 0)


def random_motion(centre: Tensor, shift_mm: float, turn_deg: float, generator: np.random.Generator) -> Tensor:
    """Transform [4, 4] of the world: a turn about the centre [3] and a shift, about and along random axes."""
    axes = generator.normal(size=(2, 3))
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    sizes = np.array([np.deg2rad(turn_deg), shift_mm]) * generator.uniform(0.5, 1, size=2)
    tangent = torch.from_numpy((axes * sizes[:, None]).ravel())
    return se3.perturb(torch.eye(4, dtype=torch.float64), tangent, centre)


def points_of(volume: Volume, name: str) -> Tensor:
    """Centres [N, 3] of a bone's voxels [mm]."""
    voxels = np.argwhere(volume.structure_mask((name,)))
    return torch.from_numpy(voxels @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3])


def make_case(
    volume: Volume, config: Config, shift_mm: float, turn_deg: float, generator: np.random.Generator
) -> tuple[XRay, Tensor, dict[str, Tensor]]:
    """X-ray, pose of the CT [4, 4], and pose of every bone."""
    motions = {
        name: random_motion(points_of(volume, name).mean(0), shift_mm, turn_deg, generator)
        for name in config.structures
    }
    isocentre = torch.from_numpy(volume.isocentre_world)
    front = torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]], dtype=torch.float64)
    away = torch.tensor([0, 0, _SOURCE_TO_ISOCENTRE_MM], dtype=torch.float64)
    pose = se3.rigid(front, away - front @ isocentre)
    pose = se3.perturb(pose, torch.from_numpy(generator.uniform(-1, 1, 6) * _VIEW), isocentre)
    unit = SimulationConfig(gamma=generator.uniform(0.7, 1.1), photons_per_pixel=5e4)
    ct = moved_ct(volume, {name: motion.numpy() for name, motion in motions.items()})
    xray = simulate_xray(ct, _CAMERA, pose, unit, generator=generator)
    return xray, pose, {name: pose @ motion for name, motion in motions.items()}


def run(volume: Volume, config: Config, console: Console) -> Iterator[Row]:
    """Every bone of every case."""
    sizes = list(zip(config.motions_mm, config.motions_deg, strict=True))
    jobs = [(size, seed) for size in sizes for seed in range(config.cases)]
    isocentre = torch.from_numpy(volume.isocentre_world)
    for (shift_mm, turn_deg), seed in track(jobs, description="registering", console=console):
        generator = np.random.default_rng(seed)
        xray, pose, truths = make_case(volume, config, shift_mm, turn_deg, generator)
        start = torch.from_numpy(generator.uniform(-1, 1, 6) * _START)
        overall = register(volume, xray, se3.perturb(pose, start, isocentre)).camera_from_world
        began = time.perf_counter()
        found = register_structures(volume, xray, overall, config.structures)
        console.print(f"{len(found)} structures: {time.perf_counter() - began:.1f} s", style="dim")
        for result in found:
            points = points_of(volume, result.name)
            poses = {"before": overall, "whole": result.camera_from_world}
            if config.alone:
                only = RegistrationConfig(searches=_ALONE.searches, structures=result.structure)
                poses["alone"] = register(volume, xray, overall, only).camera_from_world
            yield Row(
                name=result.name,
                motion_mm=shift_mm,
                errors={who: Error.of(at, truths[result.name], points) for who, at in poses.items()},
                expected_mm=result.expected_error_mm,
            )


def table(rows: list[Row]) -> Table:
    """Medians by bone, and by size of motion."""
    contenders = list(rows[0].errors)
    made = Table("structure", "motion [mm]", "cases")
    for who in contenders:
        made.add_column(f"{who}\nacross [mm]", justify="right")
        made.add_column("depth\n[mm]", justify="right")
        made.add_column("all\n[mm]", justify="right")
        made.add_column("across\n< 1 / < 2 mm", justify="right")
    made.add_column("expected\nacross, depth", justify="right")
    for motion in dict.fromkeys(row.motion_mm for row in rows):
        of_motion = [row for row in rows if row.motion_mm == motion]
        names = list(dict.fromkeys(row.name for row in of_motion))
        for name in [*names, "all"]:
            chosen = [row for row in of_motion if name in ("all", row.name)]
            cells = [name, f"{motion:g}", f"{len(chosen)}"]
            for who in contenders:
                across = np.array([row.errors[who].across_mm for row in chosen])
                depth = np.array([abs(row.errors[who].depth_mm) for row in chosen])
                everything = np.array([row.errors[who].all_mm for row in chosen])
                cells += [f"{np.median(each):.2f}" for each in (across, depth, everything)]
                cells.append(f"{(across < 1).mean():.2f} / {(across < 2).mean():.2f}")
            expected = np.median([row.expected_mm for row in chosen], axis=0)
            made.add_row(*cells, f"{expected[0]:.2f}, {expected[1]:.2f}")
        made.add_section()
    return made


def main() -> None:
    """Run it all and print it."""
    config = tyro.cli(Config, description=__doc__)
    if len(config.motions_mm) != len(config.motions_deg):
        sys.exit("give as many --motions-deg as --motions-mm")
    console = Console(width=None if sys.stdout.isatty() else 180)
    volume = Volume.read(config.volume, labels=config.labels)
    rows = list(run(volume, config, console))
    console.print(table(rows))
    for who in rows[0].errors:
        worst = np.percentile([row.errors[who].across_mm for row in rows], 90)
        console.print(f"{who}: 90 % are better than {worst:.2f} mm across the beam")
    ratio = [
        (
            row.errors["whole"].across_mm / row.expected_mm[0],
            row.errors["whole"].depth_mm / row.expected_mm[1],
        )
        for row in rows
    ]
    across, depth = np.sqrt(np.median(np.square(ratio), axis=0))
    console.print(f"true over expected error, median: {across:.2f} across the beam, {depth:.2f} in depth")


if __name__ == "__main__":
    main()
