"""The mirrored pose of a symmetric part has the same outline, the more so the farther the source is."""

import numpy as np
import pytest
import torch

from isoclinic.geometry import se3
from isoclinic.registration._twin import twin_pose
from isoclinic.volumes import MirrorPlane

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
