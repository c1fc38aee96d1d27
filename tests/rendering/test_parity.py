"""The compiled kernel against the torch reference, value and Jacobian, wherever it has a special case.

Tolerances: the loop of the kernel runs in float32, and four roundings of 2^-24 move a position among some 16
voxels by up to 4e-6 voxels. In noise attenuation changes by as much as its maximum from voxel to voxel: an
integral may change by 4e-6 of the largest, and a derivative with respect to a translation by several times
that. `RELATIVE` leaves room for both; a wrong voxel on any one ray is 1e-2. A rotation about the isocentre is
the difference between moving the source and turning the ray, each of which is a lever as long as the ray: its
error is that of some hundred float32 roundings times that lever, whatever the difference is.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclinic.geometry import Camera
from isoclinic.rendering import RenderConfig, render, render_with_jacobian
from isoclinic.volumes import Volume
from oracles.line_integrals import through_boxes

from .scenes import (
    CAMERA,
    DEPTH_MM,
    METHODS,
    ORIENTATIONS,
    SPACING_MM,
    affine,
    labelled_volume,
    noise_volume,
    pose,
    random_poses,
    world_from_voxel_point,
)

RELATIVE = 5e-5
LEVER_RELATIVE = 100 * 2.0**-24


def assert_parity(volume: Volume, camera: Camera, poses: Tensor, **options) -> Tensor:
    """Compare both backends; returns the reference image."""
    config = RenderConfig(**{"voxel_mm": "full", **options})
    image, jacobian = render_with_jacobian(volume, camera, poses, replace(config, backend="cpu"))
    expected, expected_jacobian = render_with_jacobian(
        volume, camera, poses, replace(config, backend="reference")
    )
    assert image.dtype == jacobian.dtype == torch.float32
    assert expected_jacobian.dtype == torch.float64
    assert torch.isfinite(expected_jacobian).all()
    assert (image - expected).abs().max() <= RELATIVE * expected.abs().max()
    error = (jacobian - expected_jacobian).abs().amax(dim=(0, 1, 2))
    largest = max(expected_jacobian[..., 3:].abs().max().item(), float(volume.attenuation().max()))
    assert error[3:].max() <= RELATIVE * largest
    assert error[:3].max() <= LEVER_RELATIVE * camera.sdd_mm * largest
    return expected


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("world_from_voxel", ORIENTATIONS)
def test_every_orientation_of_the_volume(world_from_voxel, method):
    volume = noise_volume(world_from_voxel=world_from_voxel)
    assert assert_parity(volume, CAMERA, pose(volume), method=method).max() > 0


@pytest.mark.parametrize("method", METHODS)
def test_batch_of_random_poses(method):
    volume = noise_volume()
    poses = random_poses(volume, 12)
    assert assert_parity(volume, CAMERA, poses, method=method).amax(dim=(1, 2)).min() > 0
    config = RenderConfig(method=method, backend="cpu", voxel_mm="full")
    for one, many in zip(poses, render(volume, CAMERA, poses, config), strict=True):
        assert torch.equal(render(volume, CAMERA, one, config)[0], many)


def test_sheared_voxels():
    sheared = np.array([[1.2, 0.1, 0, -5], [-0.1, 1.0, 0.05, 3], [0, 0.02, 2.0, 7], [0, 0, 0, 1.0]])
    volume = noise_volume(world_from_voxel=sheared)
    for method in METHODS:
        assert_parity(volume, CAMERA, random_poses(volume, 3), method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("axis", range(3))
@pytest.mark.parametrize("turn", [0.0, np.pi])
def test_rays_along_the_axes(axis, turn, method):
    """The ray through the principal point is parallel to an axis; its row and column to two planes."""
    toward = {0: (0, -np.pi / 2, 0), 1: (np.pi / 2, 0, 0), 2: (0, 0, 0)}[axis]
    volume = noise_volume()
    # Off the planes between voxels, where the derivative jumps.
    through = world_from_voxel_point(volume, (4.3, 5.4, 6.2))
    camera = replace(CAMERA, cx=4.0, cy=3.0)
    camera_from_world = pose(volume, toward, point_world=through)
    if turn:
        camera_from_world = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]).double()) @ camera_from_world
        camera_from_world[2, 3] += 400.0
    # A quarter turn from scipy is good to 1e-16; make the zeros exact.
    camera_from_world[:3, :3] = camera_from_world[:3, :3].round()
    expected = assert_parity(volume, camera, camera_from_world, method=method)
    mu = volume.attenuation().astype(np.float64)
    if method == "siddon":
        index = [round(c) for c in (4.3, 5.4, 6.2)]
        index[axis] = slice(None)
        straight = mu[tuple(index)].sum() * SPACING_MM[axis]
        assert expected[0, 3, 4].item() == pytest.approx(straight, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "offset",
    [(80.0, 0.0, 0.0), (0.0, -80.0, 0.0), (0.0, 0.0, -400.0), (0.0, 0.0, 400.0)],
    ids=["beside", "above", "behind the source", "behind the detector"],
)
def test_rays_that_miss(offset, method):
    volume = noise_volume()
    camera_from_world = pose(volume)
    camera_from_world[:3, 3] += torch.tensor(offset)
    image, jacobian = render_with_jacobian(volume, CAMERA, camera_from_world, RenderConfig(method=method))
    assert torch.equal(image, torch.zeros_like(image))
    assert torch.equal(jacobian, torch.zeros_like(jacobian))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tilt", np.geomspace(1e-10, 1e-3, 15))
def test_almost_parallel_rays_that_miss(tilt, method):
    """The planes of an almost parallel ray meet it many thousand million voxels away."""
    volume = noise_volume()
    camera = Camera.from_pixel_spacing(width=1, height=1, pixel_spacing_mm=(1.0, 1.0), sdd_mm=300.0)
    camera_from_world = pose(volume, (0, 0, 0))
    camera_from_world[:2, 3] += 60.0
    camera_from_world = pose(volume, (tilt, 0, 0), depth_mm=0.0, point_world=np.zeros(3)) @ camera_from_world
    image, jacobian = render_with_jacobian(volume, camera, camera_from_world, RenderConfig(method=method))
    assert not image.any()
    assert not jacobian.any()


@pytest.mark.parametrize("method", METHODS)
def test_source_inside_the_volume(method):
    volume = noise_volume()
    poses = torch.stack(
        [
            pose(volume, rotation_vector, 0.0, world_from_voxel_point(volume, voxel))
            for rotation_vector in [(0.3, 0.2, 1.0), (1.4, 0.1, -0.4), (0.1, -1.5, 0.2)]
            for voxel in [(4.3, 5.4, 6.2), (0.1, 8.7, 12.9), (-0.4, -0.4, -0.4)]
        ]
    )
    assert_parity(volume, replace(CAMERA, fx=30.0, fy=30.0), poses, method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("sdd_mm", [193.3, 201.7, 208.4])
def test_detector_inside_the_volume(sdd_mm, method):
    volume = noise_volume()
    camera = replace(CAMERA, sdd_mm=sdd_mm)
    poses = random_poses(volume, 4)
    near = assert_parity(volume, camera, poses, method=method)
    beyond = assert_parity(volume, CAMERA, poses, method=method)
    assert (near <= beyond + 1e-12).all()
    assert near.sum() < 0.95 * beyond.sum()


@pytest.mark.parametrize("method", METHODS)
def test_source_and_detector_inside_one_voxel(method):
    volume = noise_volume()
    camera = Camera.from_pixel_spacing(width=3, height=3, pixel_spacing_mm=(0.1, 0.1), sdd_mm=0.3)
    point = world_from_voxel_point(volume, (4.1, 5.1, 6.1))
    assert_parity(volume, camera, pose(volume, depth_mm=0.0, point_world=point), method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 10, 14), (12, 1, 14), (12, 10, 1), (1, 1, 14), (12, 1, 1), (1, 1, 1)])
def test_volumes_one_voxel_thin(shape, method):
    volume = noise_volume(shape, seed=3)
    camera = Camera.from_pixel_spacing(width=23, height=21, pixel_spacing_mm=(1.9, 1.8), sdd_mm=300.0)
    poses = torch.stack([pose(volume, w) for w in [(0.3, 0.2, 1.0), (1.5, 0.1, 0.1), (0.1, 1.5, -0.2)]])
    assert assert_parity(volume, camera, poses, method=method).amax(dim=(1, 2)).min() > 0


@pytest.mark.parametrize("method", METHODS)
def test_strongly_anisotropic_voxels(method):
    volume = noise_volume((30, 24, 5), affine(spacing_mm=(0.6, 0.7, 6.0)))
    assert_parity(volume, CAMERA, random_poses(volume, 6), method=method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("voxel_mm", ["auto", "full", 2.0, 2.7, 5.0, 1e9])
def test_levels(voxel_mm, method):
    volume = noise_volume()
    assert_parity(volume, CAMERA, random_poses(volume, 2), method=method, voxel_mm=voxel_mm)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("material", ["all", "soft_tissue", "bone"])
@pytest.mark.parametrize("structures", [None, (1,), ("tibia",), (1, "tibia")])
def test_structures_and_materials(structures, material, method):
    volume = labelled_volume()
    assert_parity(volume, CAMERA, pose(volume), method=method, structures=structures, material=material)


def test_siddon_at_45_degrees_through_voxel_corners():
    """Rounding must not let a ray jump over a voxel where it meets two boundaries at once.

    The ray misses every corner of its diagonal by less than float32 resolves. Derivatives do not exist at a
    corner, so only the integral is compared.
    """
    volume = noise_volume((40, 40, 1), affine(spacing_mm=(1.0, 1.0, 1.0)))
    camera = Camera.from_pixel_spacing(width=1, height=1, pixel_spacing_mm=(1.0, 1.0), sdd_mm=300.0)
    # The optical axis along (1, 1, 0).
    half = np.sqrt(0.5)
    rotation = np.array([[half, -half, 0], [0, 0, -1], [half, half, 0]])
    poses = np.tile(np.eye(4), (100, 1, 1))
    poses[:, :3, :3] = rotation
    for camera_from_world, miss in zip(poses, np.linspace(-3e-6, 3e-6, len(poses)), strict=True):
        corner = world_from_voxel_point(volume, (19.5, 19.5 + miss, 0.1))
        camera_from_world[:3, 3] = np.array([0, 0, DEPTH_MM]) - rotation @ corner
    config = RenderConfig(method="siddon", voxel_mm="full", backend="cpu")
    image = render(volume, camera, poses, config)
    mu = volume.attenuation().astype(np.float64)
    for value, camera_from_world in zip(image, poses, strict=True):
        expected, _ = through_boxes(mu, volume.world_from_voxel, camera, camera_from_world)
        assert value.item() == pytest.approx(expected.item(), rel=RELATIVE)
