"""Quaternions and rotation vectors against scipy."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from isoclinic.geometry import so3

# Around every axis and both diagonals, so that each of the four quaternion entries is the largest somewhere.
AXES = [*np.eye(3), *-np.eye(3), [1, 1, 0], [1, -2, 3], [-0.2, 1, 0.1]]
ANGLES = [0.0, 1e-12, 1e-6, 0.1, 1.5, 2.0, 2.2, 3.0, np.pi - 1e-6, np.pi - 1e-12]


def rotations() -> Rotation:
    axes = np.array(AXES, dtype=float)
    axes /= np.linalg.norm(axes, axis=1, keepdims=True)
    return Rotation.from_rotvec(np.concatenate([angle * axes for angle in ANGLES]))


def test_hat_is_the_cross_product() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 5, 3, dtype=torch.float64, generator=generator)
    torch.testing.assert_close((so3.hat(a) @ b[..., None]).squeeze(-1), torch.linalg.cross(a, b))


def test_quaternion_matches_scipy_at_every_angle() -> None:
    expected = np.roll(rotations().as_quat(), 1, axis=1)  # scipy puts the scalar last
    expected *= np.where(expected[:, :1] < 0, -1, 1)
    quaternion = so3.quaternion_from_matrix(torch.from_numpy(rotations().as_matrix())).numpy()
    np.testing.assert_allclose(np.linalg.norm(quaternion, axis=1), 1, atol=4e-16)
    np.testing.assert_allclose(quaternion, expected, atol=1e-15)


def test_matrix_of_a_quaternion_of_any_length() -> None:
    quaternion = torch.from_numpy(np.roll(rotations().as_quat(), 1, axis=1))
    expected = torch.from_numpy(rotations().as_matrix())
    torch.testing.assert_close(so3.matrix_from_quaternion(-3.7 * quaternion), expected, rtol=0, atol=2e-15)


def test_exponential_and_logarithm_match_scipy() -> None:
    vectors = torch.from_numpy(rotations().as_rotvec())
    matrices = torch.from_numpy(rotations().as_matrix())
    torch.testing.assert_close(so3.exp(vectors), matrices, rtol=0, atol=2e-15)
    torch.testing.assert_close(so3.log(matrices), vectors, rtol=0, atol=1e-14)


@pytest.mark.parametrize("axis", AXES)
def test_logarithm_of_a_half_turn_is_one_of_the_two(axis: list[float]) -> None:
    unit = np.array(axis) / np.linalg.norm(axis)
    half_turn = torch.from_numpy(2 * np.outer(unit, unit) - np.eye(3))
    vector = so3.log(half_turn).numpy()
    assert min(np.abs(vector - np.pi * unit).max(), np.abs(vector + np.pi * unit).max()) < 1e-14


def test_logarithm_tolerates_rounded_matrices() -> None:
    # A matrix stored with six digits: the error of the angle is of the size of the rounding, not its root.
    rounded = torch.from_numpy(np.round(rotations().as_matrix(), 6))
    moved = so3.exp(so3.log(rounded))
    torch.testing.assert_close(moved, rounded, rtol=0, atol=3e-6)
