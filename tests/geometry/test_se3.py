"""SE(3) against scipy's matrix exponential and logarithm, and the isocentric perturbation against points."""

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from isoclinic.errors import InputError
from isoclinic.geometry import se3, so3
from raising import raises

DTYPES = [torch.float64, torch.float32]
# Both sides of the exponential's switch (2 rad) and of the logarithm's (0.49 rad).
ANGLES = [0, 1e-12, 1e-8, 1e-5, 1e-3, 0.1, 0.48, 0.4899, 0.49, 0.5, 1, 1.999999, 2, 2.000001, 3, 3.1]
NEAR_PI = [np.pi - gap for gap in (1e-2, 1e-4, 1e-6, 1e-9)]


def tangents(angles: list[float], dtype: torch.dtype, per_angle: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    axes = torch.randn(len(angles), per_angle, 3, dtype=torch.float64, generator=generator)
    axes = axes / axes.norm(dim=-1, keepdim=True) * torch.tensor(angles, dtype=torch.float64)[:, None, None]
    velocity = 100 * torch.randn(len(angles), per_angle, 3, dtype=torch.float64, generator=generator)
    return torch.cat([axes, velocity], dim=-1).reshape(-1, 6).to(dtype)


def exponential(tangent: np.ndarray) -> np.ndarray:
    # The translation is linear in the velocity, and expm is most accurate where that is small.
    matrix = scipy.linalg.expm(generator_matrix(tangent * [1, 1, 1, 0.01, 0.01, 0.01]))
    matrix[:3, 3] *= 100
    return matrix


def generator_matrix(tangent: np.ndarray) -> np.ndarray:
    (a, b, c), velocity = tangent[:3], tangent[3:]
    matrix = np.zeros((4, 4))
    matrix[:3, :3] = [[0, -c, b], [c, 0, -a], [-b, a, 0]]
    matrix[:3, 3] = velocity
    return matrix


def random_poses(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    tangent = torch.randn(count, 6, dtype=torch.float64, generator=generator)
    return se3.exp(tangent * torch.tensor([1.0, 1, 1, 200, 200, 200], dtype=torch.float64))


def assert_rigid_close(actual: Tensor, expected: np.ndarray, *, eps: float, reach_mm: float) -> None:
    """Rotation to eps, translation to eps times the longest lever."""
    error = np.abs(actual.double().numpy() - expected)
    assert error[..., :3, :3].max() <= eps
    assert error[..., :3, 3].max() <= eps * reach_mm
    assert actual[..., 3, :].unique(dim=0).tolist() == [[0, 0, 0, 1]]


@pytest.mark.parametrize("dtype", DTYPES)
def test_exponential_matches_expm(dtype: torch.dtype) -> None:
    tangent = tangents(ANGLES + NEAR_PI + [np.pi, 4.0, 6.5], dtype)
    expected = np.stack([exponential(t) for t in tangent.double().numpy()])
    # In float64 this is expm's own error at 4 rad (160 eps); in float32 squaring and rooting an angle of 6.5
    # rad rounds it by as many eps.
    eps = 200 * torch.finfo(dtype).eps if dtype == torch.float64 else 40 * torch.finfo(dtype).eps
    assert_rigid_close(se3.exp(tangent), expected, eps=eps, reach_mm=400)


def test_exponential_matches_exact_arithmetic() -> None:
    tangent = tangents([1e-8, 0.1, 1.999999, 2.000001, np.pi, 4.0], torch.float64, per_angle=1)
    with mpmath.workdps(40):
        exact = [mpmath.expm(mpmath.matrix(generator_matrix(t).tolist())).tolist() for t in tangent.numpy()]
    # A handful of roundings of numbers up to 1, and of millimetres up to the reach.
    assert_rigid_close(
        se3.exp(tangent), np.array(exact, dtype=float), eps=4 * torch.finfo(torch.float64).eps, reach_mm=400
    )


@pytest.mark.parametrize("dtype", DTYPES)
def test_logarithm_inverts_the_exponential_up_to_pi(dtype: torch.dtype) -> None:
    eps = torch.finfo(dtype).eps
    gaps = NEAR_PI if dtype == torch.float64 else NEAR_PI[:2]  # float32 cannot tell the others from pi
    tangent = tangents(ANGLES + gaps, dtype)
    found = se3.log(se3.exp(tangent))
    assert (found - tangent)[:, :3].abs().max() <= 20 * eps
    assert (found - tangent)[:, 3:].abs().max() <= 20 * eps * 400


def test_logarithm_matches_logm() -> None:
    transforms = se3.exp(tangents(ANGLES, torch.float64))
    # logm takes roots of the matrix until it is near 1, which costs it digits at small angles: 1e-12.
    for transform, tangent in zip(transforms, se3.log(transforms), strict=True):
        oracle = scipy.linalg.logm(transform.numpy())
        np.testing.assert_allclose(generator_matrix(tangent.numpy()), oracle.real, atol=4e-11, rtol=1e-12)


def test_logarithm_at_pi_reproduces_the_transform() -> None:
    transforms = se3.exp(tangents([np.pi], torch.float64, per_angle=50))
    found = se3.log(transforms)
    torch.testing.assert_close(found[:, :3].norm(dim=-1), torch.full((50,), torch.pi, dtype=torch.float64))
    assert_rigid_close(se3.exp(found), transforms.numpy(), eps=1e-14, reach_mm=400)


@pytest.mark.slow
@pytest.mark.parametrize("angle", [0.0, 1e-4, 0.489957, 2.0, np.pi - 1e-5])
def test_first_and_second_derivatives(angle: float) -> None:
    tangent = tangents([angle], torch.float64, per_angle=1)[0]
    tangent[3:] /= 100  # gradcheck has one tolerance for all entries
    if angle == 0:
        tangent[:] = 0
    tangent.requires_grad_()
    base = se3.exp(tangents([0.7], torch.float64, per_angle=1)[0] / 50)

    # so that the logarithm's own argument sits at the angle tested
    def there_and_back(x: Tensor) -> Tensor:
        return se3.log(base @ se3.exp(x) @ se3.inverse(base))

    for function in (se3.exp, there_and_back):
        assert torch.autograd.gradcheck(function, tangent)
        assert torch.autograd.gradgradcheck(function, tangent)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_at_zero_are_finite_and_exact(dtype: torch.dtype) -> None:
    zero = torch.zeros(6, dtype=dtype)
    jacobian = torch.func.jacrev(lambda x: se3.log(se3.exp(x)))(zero)
    torch.testing.assert_close(jacobian, torch.eye(6, dtype=dtype), rtol=0, atol=0)
    forward = torch.func.jacfwd(lambda x: se3.log(se3.exp(x)))(zero)
    torch.testing.assert_close(forward, torch.eye(6, dtype=dtype), rtol=0, atol=0)
    # exp(x) = 1 + X + X^2 / 2: the curvature of the translation is half the symmetrised cross product.
    hessian = torch.func.hessian(lambda x: se3.exp(x)[0, 3])(zero)
    expected = torch.zeros(6, 6, dtype=dtype)
    expected[1, 5] = expected[5, 1] = 0.5
    expected[2, 4] = expected[4, 2] = -0.5
    torch.testing.assert_close(hessian, expected, rtol=0, atol=1e-7)


def test_inverse_and_adjoint() -> None:
    poses, others = random_poses(20), random_poses(20, seed=1)
    torch.testing.assert_close(se3.inverse(poses), torch.linalg.inv(poses), rtol=0, atol=1e-11)
    tangent = tangents([0.3], torch.float64, per_angle=20)
    moved = (se3.adjoint(poses) @ tangent[..., None]).squeeze(-1)
    conjugated = poses @ se3.exp(tangent) @ se3.inverse(poses)
    torch.testing.assert_close(se3.exp(moved), conjugated, rtol=1e-12, atol=1e-10)
    product = se3.adjoint(poses) @ se3.adjoint(others)
    torch.testing.assert_close(se3.adjoint(poses @ others), product, rtol=1e-12, atol=1e-10)


def test_batches_broadcast() -> None:
    poses = random_poses(6).reshape(2, 3, 4, 4)
    tangent = tangents([0.3], torch.float64, per_angle=3)
    centre = torch.tensor([10.0, -20, 30], dtype=torch.float64)
    perturbed = se3.perturb(poses, tangent, centre)
    assert perturbed.shape == (2, 3, 4, 4)
    torch.testing.assert_close(perturbed[1, 2], se3.perturb(poses[1, 2], tangent[2], centre))
    assert se3.perturb(poses[0, 0], tangent, centre).shape == (3, 4, 4)
    assert se3.perturbation(poses, poses[0, 0], centre).shape == (2, 3, 6)


def test_points_are_moved_one_by_one_as_by_homogeneous_coordinates() -> None:
    poses = random_poses(3)
    points = 100 * torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    moved = se3.transform_points(poses, points)
    for pose, row in zip(poses.numpy(), moved.numpy(), strict=True):
        for point, image in zip(points.numpy(), row, strict=True):
            # A dozen operations on numbers of some hundreds in float64.
            np.testing.assert_allclose(image, (pose @ [*point, 1.0])[:3], rtol=0, atol=1e-11)
    torch.testing.assert_close(se3.transform_points(poses[1], points), moved[1], rtol=0, atol=1e-11)


def test_perturb_moves_the_patient_about_the_isocentre_in_camera_axes() -> None:
    camera_from_world, isocentre = random_poses(1)[0], torch.tensor([12.0, -34, 56], dtype=torch.float64)
    tangent = tangents([0.4], torch.float64, per_angle=1)[0]
    points = 100 * np.random.default_rng(0).standard_normal((50, 3))
    homogeneous = np.c_[points, np.ones(50)]

    perturbed = se3.perturb(camera_from_world, tangent, isocentre).numpy()

    centre = (camera_from_world.numpy() @ [*isocentre.numpy(), 1])[:3]
    seen = homogeneous @ camera_from_world.numpy().T - [*centre, 0]
    expected = seen @ exponential(tangent.numpy()).T + [*centre, 0]
    np.testing.assert_allclose(homogeneous @ perturbed.T, expected, atol=1e-11)


def test_points_move_along_the_tangent_as_their_jacobian_says() -> None:
    poses = random_poses(2)
    generator = torch.Generator().manual_seed(2)
    points = 100 * torch.randn(4, 3, dtype=torch.float64, generator=generator)
    isocentre = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
    steps = 1e-5 * torch.eye(6, dtype=torch.float64)[:, None]
    ahead, behind = (
        se3.transform_points(se3.perturb(poses, sign * steps, isocentre), points) for sign in (1, -1)
    )
    # Central differences err by the squared step, 1e-10, times some hundred mm; rounding by 1e-13 / 1e-5.
    differences = ((ahead - behind) / 2e-5).movedim(0, -1)
    torch.testing.assert_close(se3.point_jacobian(poses, points, isocentre), differences, rtol=0, atol=1e-6)


def test_perturb_single_entries() -> None:
    camera_from_world, isocentre = random_poses(1)[0], torch.tensor([12.0, -34, 56], dtype=torch.float64)
    at = torch.cat([isocentre, torch.ones(1, dtype=torch.float64)])
    for axis in range(3):
        shift = torch.zeros(6, dtype=torch.float64)
        shift[3 + axis] = 7
        moved = se3.perturb(camera_from_world, shift, isocentre) - camera_from_world
        expected = torch.zeros(4, 4, dtype=torch.float64)
        expected[axis, 3] = 7  # camera axes: the last entry is depth
        torch.testing.assert_close(moved, expected, rtol=0, atol=1e-12)
        turn = torch.zeros(6, dtype=torch.float64)
        turn[axis] = 0.3
        turned = se3.perturb(camera_from_world, turn, isocentre)
        torch.testing.assert_close(turned @ at, camera_from_world @ at, rtol=0, atol=1e-11)
        assert se3.rotation_angle_deg(camera_from_world, turned).item() == pytest.approx(np.degrees(0.3))


def test_perturbation_inverts_perturb() -> None:
    isocentre = torch.tensor([12.0, -34, 56], dtype=torch.float64)
    tangent = tangents(ANGLES + NEAR_PI[:2], torch.float64)
    start = random_poses(len(tangent))
    target = se3.perturb(start, tangent, isocentre)
    found = se3.perturbation(start, target, isocentre)
    # Multiplying poses with 500 mm levers rounds the rotation to a few eps and translations to 1e-12 mm; near
    # pi the logarithm couples the two.
    torch.testing.assert_close(found[:, :3], tangent[:, :3], rtol=0, atol=1e-14)
    torch.testing.assert_close(found[:, 3:], tangent[:, 3:], rtol=0, atol=2e-11)
    backwards = se3.perturb(start, se3.perturbation(start, start.roll(1, 0), isocentre), isocentre)
    torch.testing.assert_close(backwards, start.roll(1, 0), rtol=0, atol=2e-11)


@pytest.mark.parametrize("angle_deg", [0.0, 1e-10, 1e-3, 30.0, 90.0, 179.0, 179.999999, 180.0])
def test_rotation_angle(angle_deg: float) -> None:
    a = random_poses(5)
    b = a @ se3.exp(tangents([np.radians(angle_deg)], torch.float64, per_angle=5))
    # Two products of rotations round to a few 1e-16 rad, 1e-13 deg with room.
    torch.testing.assert_close(
        se3.rotation_angle_deg(a, b), torch.full((5,), angle_deg, dtype=torch.float64), rtol=0, atol=1e-13
    )


class TestAsPoses:
    def test_accepts_one_or_many_of_any_kind(self) -> None:
        poses = random_poses(3)
        assert se3.as_poses(poses[0].tolist(), "pose").shape == (1, 4, 4)
        assert se3.as_poses(poses.numpy().astype(np.float32), "pose").dtype == torch.float64
        torch.testing.assert_close(se3.as_poses(poses, "pose"), poses, rtol=0, atol=0)

    def test_keeps_the_graph(self) -> None:
        tangent = torch.zeros(6, requires_grad=True)
        assert se3.as_poses(se3.exp(tangent), "pose").requires_grad

    def test_tolerates_six_digits(self) -> None:
        se3.as_poses(np.round(random_poses(3).numpy(), 6), "pose")

    @pytest.mark.parametrize(
        ("fault", "change"),
        [
            (("geometry.wrong-shape", "shape"), lambda pose: pose[:3]),
            (("geometry.wrong-shape", "shape"), lambda pose: pose[None, None]),
            (("geometry.wrong-shape", "shape"), lambda pose: np.zeros((0, 4, 4))),
            (("geometry.invalid-value", "numbers"), lambda _: [["a"] * 4] * 4),
            (("geometry.invalid-value", "numbers"), lambda _: [[1, 2], [3]]),
            (("pose.not-rigid", "NaN"), lambda pose: np.where(np.eye(4) == 1, np.nan, pose)),
            (("pose.not-rigid", "transpose"), lambda pose: pose.T),
            (("pose.not-rigid", "last row"), lambda pose: pose + np.eye(4)[3]),
            (("pose.not-rigid", "1000"), lambda pose: pose @ np.diag([1e3, 1e3, 1e3, 1])),
            (("pose.not-rigid", "orthonormal"), lambda pose: pose @ np.diag([1, 2, 1, 1])),
            (("pose.not-rigid", "orthonormal"), lambda pose: pose @ np.diag([0, 0, 0, 1])),
            (("pose.not-rigid", "determinant"), lambda pose: pose @ np.diag([-1, 1, 1, 1])),
        ],
    )
    def test_says_what_is_wrong(self, fault: tuple[str, ...], change) -> None:
        pose = random_poses(1)[0].numpy()
        with raises(InputError, *fault, "`init`"):
            se3.as_poses(change(pose), "`init`")

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("read", [se3.as_poses, se3.nearest_poses])
    def test_a_translation_that_is_not_finite_is_no_pose(self, read, value: float) -> None:
        pose = random_poses(1)[0].numpy()
        pose[1, 3] = value
        with raises(InputError, "pose.not-rigid", "`init`", "NaN") as caught:
            read(pose, "`init`")
        assert caught.value.code == "pose.not-rigid"

    def test_says_which_of_several(self) -> None:
        poses = random_poses(3)
        poses[1, :3, :3] *= 2
        with raises(InputError, "pose.not-rigid", "starts[1]"):
            se3.as_poses(poses, "starts")


class TestNearestPoses:
    def test_what_is_rigid_stays_as_it_is(self) -> None:
        poses = random_poses(4)
        nearest, changes = se3.nearest_poses(poses, "pose")
        assert torch.equal(nearest, poses) and max(changes) < 1e-14

    @pytest.mark.parametrize("decimals", [3, 4, 6])
    def test_three_decimals_without_a_word(self, decimals: int) -> None:
        """The nearest rotation is no farther from the rounded one than the true one: sqrt(9) half units."""
        poses = random_poses(50)
        rounded = torch.from_numpy(np.round(poses.numpy(), decimals))
        before = rounded.clone()
        nearest, changes = se3.nearest_poses(rounded, "pose")
        assert 0.1 * 10**-decimals < max(changes) < 10**-decimals
        se3.as_poses(nearest, "pose")
        gram = nearest[:, :3, :3] @ nearest[:, :3, :3].mT
        torch.testing.assert_close(gram, torch.eye(3).double().expand_as(gram), rtol=0, atol=1e-14)
        off = torch.linalg.matrix_norm((nearest - rounded)[:, :3, :3])
        assert off.max() <= 1.5 * 10**-decimals
        assert torch.equal(nearest[:, :3, 3], rounded[:, :3, 3])
        assert torch.equal(rounded, before)  # the caller's matrix is left alone

    def test_it_is_the_nearest(self) -> None:
        """No small turn of it comes closer."""
        rounded = torch.from_numpy(np.round(random_poses(1)[0].numpy(), 3))
        (nearest,), _ = se3.nearest_poses(rounded, "pose")
        turns = so3.exp(
            1e-4 * torch.eye(3, dtype=torch.float64).repeat(2, 1) * torch.tensor([[1.0]] * 3 + [[-1.0]] * 3)
        )
        others = torch.linalg.matrix_norm(turns @ nearest[:3, :3] - rounded[:3, :3])
        assert (others > torch.linalg.matrix_norm(nearest[:3, :3] - rounded[:3, :3])).all()

    @pytest.mark.parametrize(
        ("fault", "change"),
        [
            (("pose.not-rigid", "orthonormal"), lambda block: np.round(block, 1)),
            (
                ("pose.not-rigid", "orthonormal"),
                lambda block: block @ [[1, 0.05, 0], [0, 1, 0], [0, 0, 1]],
            ),
            (("pose.not-rigid", "orthonormal"), lambda block: block @ np.diag([1, 1, 1.05])),
            (("pose.not-rigid", "1.01"), lambda block: 1.01 * block),
            (("pose.not-rigid", "scaled"), lambda block: np.round(0.99 * block, 3)),
            (("pose.not-rigid", "1000"), lambda block: 1000 * block),
            (("pose.not-rigid", "determinant"), lambda block: np.round(block @ np.diag([1, -1, 1]), 3)),
            (("pose.not-rigid", "NaN"), lambda block: np.nan * block),
        ],
    )
    def test_another_matrix_is_refused_by_name(self, fault: tuple[str, ...], change) -> None:
        pose = random_poses(1)[0].numpy()
        pose[:3, :3] = change(pose[:3, :3])
        with raises(InputError, *fault, "`init`"):
            se3.nearest_poses(pose, "`init`")
