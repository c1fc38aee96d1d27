"""Images of a box and of a sphere against their closed forms, on the compiled kernel."""

import numpy as np
import pytest

from isoclinic.geometry import Camera
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import Volume, mu_from_hu
from oracles.line_integrals import rays_world

from .scenes import METHODS, pose

MU_WATER = float(mu_from_hu(np.zeros(1))[0])
CAMERA = Camera.from_pixel_spacing(width=48, height=40, pixel_spacing_mm=(2.1, 2.3), sdd_mm=400.0)


def cube_grid(voxel_mm: float, side_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Voxel centres [n, n, n, 3] of a cube about the world's origin, and its affine."""
    count = round(side_mm / voxel_mm)
    centres = (np.arange(count) + 0.5) * voxel_mm - side_mm / 2
    matrix = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    matrix[:3, 3] = centres[0]
    return np.stack(np.meshgrid(centres, centres, centres, indexing="ij"), axis=-1), matrix


def box_chord_mm(half_mm: float, source: np.ndarray, targets: np.ndarray) -> np.ndarray:
    direction = targets - source
    first, second = (-half_mm - source) / direction, (half_mm - source) / direction
    enter = np.minimum(first, second).max(axis=-1)
    leave = np.maximum(first, second).min(axis=-1)
    return np.clip(leave - enter, 0, None) * np.linalg.norm(direction, axis=-1)


def sphere_chord_mm(radius_mm: float, source: np.ndarray, targets: np.ndarray) -> np.ndarray:
    along = (targets - source) / np.linalg.norm(targets - source, axis=-1, keepdims=True)
    nearest = source - (along @ source)[..., None] * along
    return 2 * np.sqrt(np.clip(radius_mm**2 - (nearest**2).sum(axis=-1), 0, None))


@pytest.mark.parametrize("rotation_vector", [(0.3, 0.2, 1.0), (0.0, 0.0, 0.1), (2.0, -1.0, 0.4)])
def test_box_of_water_by_siddon(rotation_vector):
    """Exact: the box ends at voxel faces. 1e-6 is float32 rounding of sums over 20 slabs."""
    centres, matrix = cube_grid(voxel_mm=2.0, side_mm=40.0)
    volume = Volume(hu=np.zeros(centres.shape[:3], dtype=np.float32), world_from_voxel=matrix)
    camera_from_world = pose(volume, rotation_vector)
    expected = MU_WATER * box_chord_mm(20.0, *rays_world(CAMERA, camera_from_world.numpy()))
    config = RenderConfig(method="siddon", voxel_mm="full")
    image = render(volume, CAMERA, camera_from_world, config)[0].numpy()
    assert (expected == 0).any()
    assert np.abs(image - expected).max() <= 2e-6 * expected.max()


def test_box_of_water_by_trilinear():
    """Exact where the ray enters and leaves through two opposite faces, away from the others' soft edges."""
    centres, matrix = cube_grid(voxel_mm=2.0, side_mm=40.0)
    volume = Volume(hu=np.zeros(centres.shape[:3], dtype=np.float32), world_from_voxel=matrix)
    camera = Camera.from_pixel_spacing(width=15, height=13, pixel_spacing_mm=(3.0, 3.0), sdd_mm=400.0)
    camera_from_world = pose(volume, (0.1, -0.05, 0.2))
    source, targets = rays_world(camera, camera_from_world.numpy())
    image = render(volume, camera, camera_from_world, RenderConfig(voxel_mm="full"))[0].numpy()
    assert np.abs(image - MU_WATER * box_chord_mm(20.0, source, targets)).max() <= 2e-6 * image.max()


def sphere(voxel_mm: float, radius_mm: float) -> Volume:
    """Water sphere; voxels near its surface hold about the share of water that they should."""
    centres, matrix = cube_grid(voxel_mm, side_mm=40.0)
    share = np.clip((radius_mm - np.linalg.norm(centres, axis=-1)) / voxel_mm + 0.5, 0, 1)
    return Volume(hu=(1000 * share - 1000).astype(np.float32), world_from_voxel=matrix)


@pytest.mark.parametrize("method", METHODS)
def test_sphere_converges_with_the_voxel_size(method):
    """Root mean square error of the chord at first order in the voxel size h, its mean at second order.

    First order: the image's rim is blurred over a ring of width h, on which the chord is about sqrt(R h), so
    the mean square error falls as h * R h. Away from the rim the blur of the surface is symmetric, and the
    mean is left with the surface's curvature over a voxel, h^2 / R.
    """
    radius_mm = 15.0
    spread, bias = [], []
    for voxel_mm in (4.0, 2.0, 1.0, 0.5):
        volume = sphere(voxel_mm, radius_mm)
        camera_from_world = pose(volume)
        expected = sphere_chord_mm(radius_mm, *rays_world(CAMERA, camera_from_world.numpy()))
        config = RenderConfig(method=method, voxel_mm="full")
        error = render(volume, CAMERA, camera_from_world, config)[0].numpy() / MU_WATER - expected
        spread.append(np.sqrt(np.mean(error**2)))
        bias.append(abs(np.mean(error[expected > 20.0])))
    assert np.log2(spread[0] / spread[-1]) / 3 == pytest.approx(1.0, abs=0.2)
    assert np.log2(bias[0] / bias[-1]) / 3 == pytest.approx(2.0, abs=0.4)
    assert spread[-1] < 0.2
    assert bias[-1] < 0.01
