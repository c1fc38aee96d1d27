"""The mirrored pose of a symmetric part has the same outline, the more so the farther the source is."""

import numpy as np
import pytest
import torch

from isoclinic.geometry import se3
from isoclinic.registration import RegistrationConfig, register
from isoclinic.registration._twin import twin_pose
from isoclinic.volumes import MaskConfig, MirrorPlane, PreprocessConfig, Volume, mirror_plane
from phantoms import CAMERA, detected, line_integrals, true_pose

PLANE = MirrorPlane(point_world=np.array([3.0, -5.0, 2.0]), normal_world=np.array([0.0, 0.6, 0.8]))


def _pose(seed: int, depth_mm: float) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    tangent = torch.from_numpy(np.concatenate([rng.normal(size=3), rng.normal(size=3) * 20]))
    base = se3.rigid(torch.eye(3, dtype=torch.float64), torch.tensor([0, 0, depth_mm], dtype=torch.float64))
    return se3.perturb(base, tangent, torch.zeros(3, dtype=torch.float64))


def _symmetric_points(count: int) -> torch.Tensor:
    points = np.random.default_rng(0).normal(size=(count, 3)) * 15 + PLANE.point_world
    mirrored = np.c_[points, np.ones(count)] @ PLANE.reflection[:3].T
    return torch.from_numpy(np.concatenate([points, mirrored]))


@pytest.mark.parametrize("seed", range(5))
def test_is_a_rigid_motion_and_its_own_inverse(seed):
    pose = _pose(seed, 900.0)
    twin = twin_pose(pose, PLANE)
    assert torch.allclose(twin[:3, :3] @ twin[:3, :3].mT, torch.eye(3, dtype=torch.float64), atol=1e-12)
    assert torch.isclose(torch.linalg.det(twin[:3, :3]), torch.ones((), dtype=torch.float64))
    assert torch.allclose(twin_pose(twin, PLANE), pose, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_projects_a_symmetric_part_onto_itself_but_for_perspective(seed):
    """Each point and the mirror image of it swap places; what is left falls with the distance squared."""
    points, half = _symmetric_points(50), 50
    off = []
    for depth_mm in (1e3, 1e4):
        pose = _pose(seed, depth_mm)
        there = se3.transform_points(pose, points)
        twin = se3.transform_points(twin_pose(pose, PLANE), points)
        swapped = torch.cat([twin[half:], twin[:half]])
        flat = [depth_mm * each[:, :2] / each[:, 2:] for each in (there, swapped)]
        off.append(float((flat[0] - flat[1]).norm(dim=1).mean()))
    assert off[1] < 0.2 * off[0] < 0.2 * 5.0


def _tray() -> Volume:
    """A metal plate with a stem and two pegs, its own mirror image left to right and in no other way."""
    right, front, up = np.meshgrid(*[np.arange(-24.0, 25.0)] * 3, indexing="ij")
    plate = (np.hypot(right / 22, (front + 2) / 13) < 1) & (np.abs(up) < 2)
    stem = (np.hypot(right, front + 3) < 4) & (up > -22) & (up < 0)
    pegs = (np.hypot(np.abs(right) - 13, front - 3) < 2) & (up > -10) & (up < 0)
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[:3, 3] = -24.0
    return Volume(
        hu=np.where(plate | stem | pegs, 6000.0, -1000.0).astype(np.float32), world_from_voxel=affine
    )


@pytest.mark.slow
def test_the_answer_is_compared_with_its_own_mirror_image():
    """It starts at the mirror image of the truth, where nearly the same outline matches nearly as well.

    The X-ray shows more than the part, so that the CT explains only part of it. Its noise leaves the pose
    open by hundredths of a degree; the limit is a tenth of the angle between the two answers.
    """
    tray = _tray()
    plane = mirror_plane(tray)
    assert plane is not None and abs(plane.normal_world[0]) > 0.99
    truth = true_pose(tray, (0.15, 0.35, 0.1, 4.0, -6.0, 10.0))
    camera = CAMERA.crop(top=32, left=32, height=64, width=64).resize(height=192, width=192)
    integrals = line_integrals(tray, truth, camera)
    columns = np.linspace(-2.0, 2.0, 192, dtype=np.float32)
    integrals = integrals + 2.0 + np.cos(columns) + 0.5 * np.sin(5 * columns[:, None])
    xray = detected(integrals, 1, camera)
    start = twin_pose(truth, plane)
    apart_deg = _angle_deg(start, truth)
    assert apart_deg > 10
    settings = RegistrationConfig(preprocess=PreprocessConfig(masks=MaskConfig(find_metal=False)))
    result = register(tray, xray, start, settings)
    assert _angle_deg(result.camera_from_world, truth) < 0.1 * apart_deg
    (compared,) = [stage for stage in result.trace if getattr(stage, "twins", None) is not None]
    assert compared.best == 0, "the other one is where the mirror image of the answer led to"
    ends = compared.camera_from_world
    assert _angle_deg(ends[compared.best], truth) < 0.1 * apart_deg
    assert _angle_deg(ends[1 - compared.best], twin_pose(ends[compared.best], plane)) < 0.5 * apart_deg


def _angle_deg(one: torch.Tensor, other: torch.Tensor) -> float:
    turn = one[:3, :3] @ other[:3, :3].mT
    return float(torch.rad2deg(((turn.trace() - 1) / 2).clamp(-1, 1).acos()))
