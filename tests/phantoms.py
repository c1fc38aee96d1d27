"""A small patient of random ellipsoids, its X-ray from an exact renderer, and poses around the true one."""

from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from isoclinic.geometry import Camera, se3
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import Volume, XRay

Array = NDArray[np.float64]

SPACING_MM = 2.5
# A C-arm's distances; 160 mm of patient, magnified 1.5 times, on a 320 mm detector.
CAMERA = Camera.from_pixel_spacing(width=128, height=128, pixel_spacing_mm=(2.5, 2.5), sdd_mm=1000.0)
DEPTH_MM = 670.0


@cache
def phantom(seed: int, shape: tuple[int, int, int] = (64, 64, 64)) -> Volume:
    """A body of water with ellipsoids of bone, fat and air in it; axes run left, anterior, superior (LAS)."""
    rng = np.random.default_rng(seed)
    size_mm = SPACING_MM * np.array(shape)
    centres = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    points = (centres - (np.array(shape) - 1) / 2) * SPACING_MM
    hu = np.full(shape, -1000.0)
    _fill(hu, points, 0.46 * size_mm, 20)
    for value in rng.choice([-700, -100, 400, 700, 1000], size=24, p=[0.15, 0.1, 0.25, 0.25, 0.25]):
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        middle = rng.uniform(-0.3, 0.3, size=3) * size_mm
        semi_axes = rng.uniform(0.04, 0.15, size=3) * size_mm
        _fill(hu, (points - middle) @ axes, semi_axes, value)
    world_from_voxel = np.diag([-SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    world_from_voxel[:3, 3] = (35.0, -120.0, 900.0)
    return Volume(hu=hu.astype(np.float32), world_from_voxel=world_from_voxel)


def _fill(hu: Array, points: Array, semi_axes: Array, value: float) -> None:
    """Set the voxels inside an ellipsoid; over one and a half voxels it fades into what was there."""
    inside_mm = (1 - np.linalg.norm(points / semi_axes, axis=-1)) * semi_axes.mean()
    share = np.clip(0.5 + inside_mm / (1.5 * SPACING_MM), 0, 1)
    hu += share * (value - hu)


def true_pose(volume: Volume, tangent=(0.2, -0.1, 0.15, 12.0, -9.0, 20.0)) -> Tensor:
    """camera_from_world [4, 4] near an antero-posterior view: written out, not taken from the presets."""
    rotation = torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]], dtype=torch.float64)
    isocentre = torch.from_numpy(volume.isocentre_world)
    shift = torch.tensor([0, 0, DEPTH_MM], dtype=torch.float64) - rotation @ isocentre
    pose = se3.rigid(rotation, shift)
    return se3.perturb(pose, torch.tensor(tangent, dtype=torch.float64), isocentre)


def displaced(volume: Volume, camera_from_world: Tensor, distance_mm: float, seed: int) -> Tensor:
    """A translation of that length and a rotation of a third as many degrees, about random axes."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(2, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    tangent = np.concatenate([np.deg2rad(distance_mm / 3) * directions[0], distance_mm * directions[1]])
    return se3.perturb(camera_from_world, torch.from_numpy(tangent), torch.from_numpy(volume.isocentre_world))


def line_integrals(volume: Volume, camera_from_world: Tensor, camera: Camera = CAMERA, **config) -> Array:
    """Exact for the voxels of the CT [H, W]."""
    render_config = RenderConfig(method="siddon", voxel_mm="full", backend="cpu", **config)
    return render(volume, camera, camera_from_world, render_config)[0].numpy().astype(np.float64)


def detected(line_integrals: Array, seed: int, camera: Camera = CAMERA, photons: float = 2e4) -> XRay:
    """Photon noise, a veil of scatter and the detector's tone curve."""
    arrived = np.random.default_rng(seed).poisson(photons * (np.exp(-line_integrals) + 0.01))
    pixels = (4000 * (arrived / photons) ** 0.8).astype(np.float32)
    return XRay(pixels=pixels, camera=camera, source_isocentre_mm=DEPTH_MM)


def xray_of(volume: Volume, camera_from_world: Tensor, seed: int, camera: Camera = CAMERA) -> XRay:
    return detected(line_integrals(volume, camera_from_world, camera), seed, camera)


def error_mm(volume: Volume, estimate: Tensor, truth: Tensor) -> float:
    """Mean distance, in the camera frame, of the corners of a 100 mm cube around the CT's centre."""
    corners = 100.0 * (np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3) - 0.5)
    points = np.c_[corners + volume.isocentre_world, np.ones(8)]
    difference = points @ (estimate - truth).numpy().T
    return float(np.linalg.norm(difference[:, :3], axis=1).mean())
