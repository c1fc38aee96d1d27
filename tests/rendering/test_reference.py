"""The torch reference against oracles that share nothing with it, its Jacobian against finite differences."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.geometry import perturb
from isoclinic.rendering import RenderConfig, pack, render, render_with_jacobian
from isoclinic.volumes import Volume
from oracles.line_integrals import densely_sampled, on_planes, through_boxes

from .scenes import (
    CAMERA,
    METHODS,
    ORIENTATIONS,
    affine,
    noise_volume,
    pose,
    random_poses,
    world_from_voxel_point,
)

STEP = 1e-6  # rad or mm


def reference(method: str) -> RenderConfig:
    return RenderConfig(method=method, voxel_mm="full", backend="reference")


def quantisation(volume: Volume) -> float:
    """Largest error of a packed voxel [1/mm]: half a stored unit, and float32 rounding of mu itself."""
    mu = volume.attenuation()
    return pack(volume).scale_per_mm / 2 + float(mu.max()) * 2.0**-24


SCENES = {
    "oblique": ((12, 10, 14), None),
    "thin": ((12, 1, 14), None),
    "one voxel": ((1, 1, 1), affine(spacing_mm=(20.0, 15.0, 25.0))),
    "anisotropic": ((20, 18, 4), affine((2, 0, 1), (1, -1, 1), (0.7, 0.8, 6.0))),
    "mirrored": ((12, 10, 14), ORIENTATIONS[13]),
}


@pytest.mark.parametrize(("shape", "world_from_voxel"), SCENES.values(), ids=SCENES.keys())
def test_siddon_is_the_sum_over_all_voxel_boxes(shape, world_from_voxel):
    volume = noise_volume(shape, world_from_voxel)
    mu = volume.attenuation().astype(np.float64)
    for camera_from_world in random_poses(volume, 3):
        expected, inside_mm = through_boxes(mu, volume.world_from_voxel, CAMERA, camera_from_world.numpy())
        image = render(volume, CAMERA, camera_from_world, reference("siddon"))[0].numpy()
        assert (inside_mm > 1).any()
        # Every voxel is off by at most the quantisation, over the length the ray spends inside.
        assert (np.abs(image - expected) <= quantisation(volume) * inside_mm + 1e-10).all()


@pytest.mark.parametrize(("shape", "world_from_voxel"), SCENES.values(), ids=SCENES.keys())
def test_trilinear_is_interpolation_on_voxel_planes(shape, world_from_voxel):
    volume = noise_volume(shape, world_from_voxel)
    mu = volume.attenuation().astype(np.float64)
    # Interpolation reaches one voxel beyond the centres: at most this far through interpolated voxels.
    diagonal_mm = np.linalg.norm((np.array(shape) + 1) * volume.spacing_mm)
    for camera_from_world in random_poses(volume, 3):
        expected = on_planes(mu, volume.world_from_voxel, CAMERA, camera_from_world.numpy())
        image = render(volume, CAMERA, camera_from_world, reference("trilinear"))[0].numpy()
        assert np.abs(image - expected).max() <= quantisation(volume) * diagonal_mm + 1e-10
        assert expected.max() > 1e4 * quantisation(volume)


def test_sources_and_detectors_inside_the_volume():
    volume = noise_volume()
    mu = volume.attenuation().astype(np.float64)
    for sdd_mm in (6.0, 300.0):
        camera = replace(CAMERA, fx=20.0, fy=20.0, sdd_mm=sdd_mm)
        point = world_from_voxel_point(volume, (4.3, 5.0, 6.0))
        camera_from_world = pose(volume, depth_mm=0.0, point_world=point)
        image = render(volume, camera, camera_from_world, reference("siddon"))[0].numpy()
        expected, inside_mm = through_boxes(mu, volume.world_from_voxel, camera, camera_from_world.numpy())
        assert (np.abs(image - expected) <= quantisation(volume) * inside_mm + 1e-10).all()


def smooth_volume(voxel_mm: float) -> Volume:
    """A Gaussian blob of sigma 6 mm, from air to water, in a cube of 48 mm."""
    count = round(48 / voxel_mm)
    centres = (np.arange(count) + 0.5) * voxel_mm - 24
    squared = sum(axis**2 for axis in np.meshgrid(centres, centres, centres, indexing="ij"))
    hu = (1000 * np.exp(-squared / (2 * 6.0**2)) - 1000).astype(np.float32)
    matrix = np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0])
    matrix[:3, 3] = centres[0]
    return Volume(hu=hu, world_from_voxel=matrix)


def test_trilinear_approaches_dense_sampling_at_second_order():
    """Joseph's sum skips the curvature of the interpolation between planes, which falls with voxel size^2."""
    errors = []
    for voxel_mm in (4.0, 2.0, 1.0):
        volume = smooth_volume(voxel_mm)
        camera_from_world = pose(volume)
        dense = densely_sampled(
            volume.attenuation().astype(np.float64),
            volume.world_from_voxel,
            CAMERA,
            camera_from_world.numpy(),
            samples=2000,
        )
        image = render(volume, CAMERA, camera_from_world, reference("trilinear"))[0].numpy()
        errors.append(np.abs(image - dense).max() / dense.max())
    rates = np.log2(np.divide(errors[:-1], errors[1:]))
    assert errors[-1] < 2e-3
    assert (rates > 1.7).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("world_from_voxel", ORIENTATIONS[::7])
@pytest.mark.parametrize("depth_mm", [200.0, 3.0], ids=["source outside", "source inside"])
def test_jacobian_against_central_differences(depth_mm, world_from_voxel, method):
    """Rounding of the integrals, some 1e-15, over the step is 1e-9; truncation, some STEP^2, is far below.

    The derivative jumps where a ray crosses an edge between voxels (Siddon) or a plane of voxel centres
    (trilinear). The few rays that do so within a step betray themselves: their differences ahead and behind
    do not agree.
    """
    volume = noise_volume(world_from_voxel=world_from_voxel)
    isocentre_world = torch.from_numpy(volume.isocentre_world + np.array([3.0, -2.0, 1.0]))
    camera_from_world = pose(volume, depth_mm=depth_mm)
    config = reference(method)
    image, jacobian = render_with_jacobian(
        volume, CAMERA, camera_from_world, config, isocentre_world=isocentre_world
    )
    assert image.max() > 0.1
    kinks = 0
    for axis, step in enumerate(STEP * torch.eye(6, dtype=torch.float64)):
        there, back = (
            render(volume, CAMERA, perturb(camera_from_world, sign * step, isocentre_world), config)
            for sign in (1, -1)
        )
        ahead, behind = there - image, image - back
        smooth = (ahead - behind).abs() <= 1e-3 * STEP
        kinks += int((~smooth).sum())
        error = (jacobian[..., axis] - (ahead + behind) / (2 * STEP)).abs()
        assert error[smooth].max() <= 2e-8 * max(1.0, jacobian[..., axis].abs().max().item())
    assert kinks <= 6


@pytest.mark.parametrize("method", METHODS)
def test_default_isocentre_is_the_centre_of_the_ct(method):
    volume = noise_volume()
    config = reference(method)
    _, jacobian = render_with_jacobian(volume, CAMERA, pose(volume), config)
    _, explicit = render_with_jacobian(
        volume, CAMERA, pose(volume), config, isocentre_world=volume.isocentre_world
    )
    _, elsewhere = render_with_jacobian(volume, CAMERA, pose(volume), config, isocentre_world=[0, 0, 0])
    assert torch.equal(jacobian, explicit)
    assert torch.equal(jacobian[..., 3:], elsewhere[..., 3:])
    assert (jacobian - elsewhere)[..., :3].abs().max() > 0.1
