"""SO(4) against matrix exponentials, logarithms, polar factors and principal angles of the 4x4 rotation."""

from collections.abc import Callable

import mpmath
import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.spatial.transform import Rotation
from scipy.stats import special_ortho_group
from torch import Tensor

from isoclinic.geometry import se3, so4

DTYPES = [torch.float64, torch.float32]
# Rotation angles of the two halves, whose sum is below 2 pi, so that they are the shortest: both sides of the
# series' switches (2 rad and 2 arctan(1/4) = 0.49 rad) and of pi, where a half's scalar changes its sign, up
# to the cut locus and to the opposite of the identity.
HALF_ANGLES = [
    *((0.0, 0.0), (1e-12, 0.0), (1e-8, 1e-6), (1e-3, 0.1), (0.489957, 0.489958), (0.5, 1.0), (2.0, 1.999999)),
    *((np.pi, 0.3), (np.pi - 1e-6, 1.0), (np.pi + 1e-6, 1.0), (3.1, 3.1), (4.0, 2.0), (0.2, 5.5), (6.2, 0.0)),
    *((np.pi - 1e-9, np.pi - 1e-9), (2 * np.pi - 1e-3, 1e-4), (2 * np.pi - 1e-6, 0.0)),
]
LENGTHS_MM = [50.0, 200.0, 1000.0]

Function = Callable[[Tensor, Tensor], Tensor]


def tangents(angles: list[tuple[float, float]] = HALF_ANGLES, per_angle: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    halves = torch.randn(len(angles), per_angle, 2, 3, dtype=torch.float64, generator=generator)
    halves /= halves.norm(dim=-1, keepdim=True)
    return (halves * torch.tensor(angles, dtype=torch.float64)[:, None, :, None]).reshape(-1, 6)


def random_elements(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(count, 2, 4, dtype=torch.float64, generator=generator)
    return normal / normal.norm(dim=-1, keepdim=True)


def random_poses(count: int, reach_mm: float = 100.0, seed: int = 0) -> Tensor:
    """Rotations of any angle, translations in a cube of half width `reach_mm`."""
    rng = np.random.default_rng(seed)
    rotation = torch.from_numpy(Rotation.random(count, random_state=rng).as_matrix())
    return se3.rigid(rotation, torch.from_numpy(rng.uniform(-reach_mm, reach_mm, (count, 3))))


def rotations(degrees: list[float]) -> Tensor:
    """Poses that turn about one skew axis."""
    axis = np.array([2.0, -1.0, 2.0]) / 3
    turns = Rotation.from_rotvec(np.radians(degrees)[:, None] * axis).as_matrix()
    return se3.rigid(torch.from_numpy(turns), torch.zeros(3, dtype=torch.float64))


def polar_factor(matrix: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrix)
    return left @ right


def generator_matrix(tangent: np.ndarray) -> np.ndarray:
    """The skew matrix of x -> (u/2) x - x (v/2) on (x, y, z, w), with u and v the halves of the tangent."""
    (a, b, c), velocity = (tangent[:3] + tangent[3:]) / 2, (tangent[:3] - tangent[3:]) / 2
    skew = np.zeros((4, 4))
    skew[:3, :3] = [[0, -c, b], [c, 0, -a], [-b, a, 0]]
    skew[:3, 3], skew[3, :3] = velocity, -velocity
    return skew


def distance_from_principal_angles(a: Tensor, b: Tensor) -> Tensor:
    """Root sum square of the angles of the eigenvalues, which come in conjugate pairs."""
    angles = np.angle(np.linalg.eigvals((so4.matrix(a).mT @ so4.matrix(b)).numpy()))
    return torch.from_numpy(np.sqrt((angles**2).sum(-1) / 2))


def assert_close(actual: Tensor, expected: Tensor, atol: float) -> None:
    torch.testing.assert_close(actual, expected, rtol=0, atol=atol)


# ---- elements and matrices


def test_an_element_acts_as_g_x_conjugate_h() -> None:
    one, i, j, k = torch.eye(4, dtype=torch.float64)
    x, y, z, w = torch.eye(4, dtype=torch.float64)
    by_i_from_the_left = so4.matrix(torch.stack([i, one]))
    for point, image in [(w, x), (x, -w), (y, z), (z, -y)]:  # i 1 = i, i i = -1, i j = k, i k = -j
        assert_close(by_i_from_the_left @ point, image, 0)
    by_j_from_the_right = so4.matrix(torch.stack([one, -j]))
    for point, image in [(w, y), (x, z), (y, -w), (z, -x)]:  # 1 j = j, i j = k, j j = -1, k j = -i
        assert_close(by_j_from_the_right @ point, image, 0)
    assert_close(so4.matrix(torch.stack([k, k])), torch.diag(x.new_tensor([-1.0, -1, 1, 1])), 0)


def test_group_operations_are_those_of_matrices() -> None:
    a, b = random_elements(50), random_elements(50, seed=1)
    rotation = so4.matrix(a)
    unit = torch.eye(4, dtype=torch.float64)
    assert_close(rotation @ rotation.mT, unit.expand(50, 4, 4), 2e-15)
    assert_close(torch.linalg.det(rotation), torch.ones(50, dtype=torch.float64), 4e-15)
    assert_close(so4.matrix(so4.compose(a, b)), rotation @ so4.matrix(b), 2e-15)
    assert_close(so4.matrix(so4.inverse(a)), rotation.mT, 1e-15)
    assert_close(so4.matrix(so4.identity()), unit, 0)
    assert_close(so4.compose(so4.identity(), a), a, 0)
    assert_close(so4.matrix(-a), rotation, 0)


def test_matrices_become_elements() -> None:
    rotation = torch.from_numpy(special_ortho_group(4, seed=0).rvs(200))
    element = so4.from_matrix(rotation)
    assert_close(so4.matrix(element), rotation, 3e-15)
    assert_close(element.norm(dim=-1), torch.ones(200, 2, dtype=torch.float64), 5e-16)
    # Every pair of units is the largest entry of g h^T once.
    units = torch.eye(4, dtype=torch.float64)
    pairs = torch.stack([units[:, None].expand(4, 4, 4), units[None].expand(4, 4, 4)], dim=-2)
    for signed in (pairs, pairs * units.new_tensor([[1.0], [-1.0]])):
        assert_close(so4.matrix(so4.from_matrix(so4.matrix(signed))), so4.matrix(signed), 0)


def test_rounded_matrices_become_nearly_the_nearest_rotation() -> None:
    generator = torch.Generator().manual_seed(0)
    rotation = torch.from_numpy(special_ortho_group(4, seed=1).rvs(200))
    rounded = rotation + 1e-5 * torch.randn(200, 4, 4, dtype=torch.float64, generator=generator)
    # The power iteration leaves about the error squared: of 16 entries, of a row of norm 1/2 or more.
    assert_close(so4.matrix(so4.from_matrix(rounded)), polar_factor(rounded), 4 * 16 * 1e-10)


# ---- exponential, logarithm, distance


def test_exponential_matches_exact_arithmetic() -> None:
    tangent = tangents([*HALF_ANGLES, (7.0, 9.0)], per_angle=1)
    with mpmath.workdps(40):
        generators = [mpmath.matrix(generator_matrix(t).tolist()) for t in tangent.numpy()]
        expected = np.array([mpmath.expm(generator).tolist() for generator in generators], dtype=float)
    # A few roundings of numbers up to 1, and of the angle 9 / 2; measured 4 eps.
    assert_close(so4.matrix(so4.exp(tangent)), torch.from_numpy(expected), 2e-15)


def test_logarithm_matches_logm() -> None:
    tangent = tangents([angles for angles in HALF_ANGLES if sum(angles) < 2 * np.pi - 1e-2], per_angle=1)
    for element in so4.exp(tangent):
        oracle = scipy.linalg.logm(so4.matrix(element).numpy())
        # logm takes square roots until the matrix is near 1, which costs it digits.
        np.testing.assert_allclose(
            generator_matrix(so4.log(element).numpy()), oracle.real, rtol=0, atol=1e-13
        )


def test_logarithm_inverts_the_exponential() -> None:
    tangent = tangents()
    gap = 2 * torch.pi - torch.maximum(tangent[:, :3].norm(dim=-1), tangent[:, 3:].norm(dim=-1))
    for sign in (1, -1):
        error = (so4.log(sign * so4.exp(tangent)) - tangent).abs().amax(dim=-1)
        # Near -1 the axis is read from a vector of length gap / 2: its rounding turns 2 pi by 4 pi eps / gap.
        assert (error <= 1e-14 + 4 * torch.pi * torch.finfo(torch.float64).eps / gap).all()


def test_distance_is_the_root_sum_square_of_the_principal_angles() -> None:
    a = torch.cat([random_elements(200), so4.exp(tangents())])
    b = torch.cat([random_elements(200, seed=1), so4.identity().expand(len(a) - 200, 2, 4)])
    expected = distance_from_principal_angles(a, b)
    # Eigenvalues err by a few eps; where the product of the matrices is near 1, so do the angles.
    assert_close(so4.distance(a, b), expected, 5e-15)
    assert_close(so4.squared_distance(a, b).sqrt(), expected, 5e-15)
    assert_close(so4.residual(a, b).norm(dim=-1) / 2**0.5, expected, 5e-15)
    assert so4.distance(a, b).max() <= 2**0.5 * torch.pi


def test_distance_is_bi_invariant() -> None:
    a, b, left, right = (random_elements(500, seed=seed) for seed in range(4))
    moved = so4.distance(so4.compose(so4.compose(left, a), right), so4.compose(so4.compose(left, b), right))
    assert_close(moved, so4.distance(a, b), 5e-15)
    assert_close(so4.residual(so4.compose(left, a), so4.compose(left, b)), so4.residual(a, b), 2e-14)
    assert_close(so4.distance(b, a), so4.distance(a, b), 2e-15)


def test_signs_flip_together_never_one_alone() -> None:
    degree = torch.pi / 180
    # alpha = 100 and beta = 60 deg: principal angles of 160 and 40 deg, 180 deg is not crossed.
    element = so4.exp(tangents([(200 * degree, 120 * degree)], per_angle=1)[0])
    found = so4.distance(so4.identity(), element)
    assert found.item() == pytest.approx(degree * (2 * (100**2 + 60**2)) ** 0.5, abs=1e-14)
    assert found.item() == pytest.approx(degree * (160**2 + 40**2) ** 0.5, abs=1e-14)
    assert so4.distance(so4.identity(), -element).item() == found.item()
    # The sign of each half alone would make alpha 80 deg, which is the distance of another rotation.
    independent = degree * (2 * (80**2 + 60**2)) ** 0.5
    other = element * torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    assert so4.distance(so4.identity(), other).item() == pytest.approx(independent, abs=1e-14)
    assert_close(so4.matrix(other), -so4.matrix(element), 0)
    assert found.item() - independent > 0.3


# ---- rigid motions


@pytest.mark.parametrize("length_mm", LENGTHS_MM)
def test_projection_is_the_polar_factor(length_mm: float) -> None:
    poses = torch.cat([random_poses(100), rotations([0, 1e-6, 90, 179.999, 180]), random_poses(20, 1e4)])
    scaled = poses.clone()
    scaled[:, :3, 3] /= length_mm
    # The singular vectors of a matrix of norm 1e4 / 50 err by that many roundings.
    assert_close(so4.matrix(so4.from_se3(poses, length_mm)), polar_factor(scaled), 1e-13)
    assert_close(so4.matrix(so4.from_se3(poses[:105], length_mm)), polar_factor(scaled[:105]), 2e-14)


@pytest.mark.parametrize("length_mm", LENGTHS_MM)
def test_projection_is_undone(length_mm: float) -> None:
    poses = torch.cat([random_poses(100), rotations([0, 1e-6, 90, 179.999, 180])])
    element = so4.from_se3(poses, length_mm)
    assert_close(element.norm(dim=-1), torch.ones(len(poses), 2, dtype=torch.float64), 1e-15)
    for sign in (1, -1):
        undone = so4.to_se3(sign * element, length_mm)
        assert_close(undone[:, :3, :3], poses[:, :3, :3], 3e-15)
        # Roundings of p^2, each worth 2L sec(phi)^2 mm: at L = 50 and 173 mm that is 400 mm.
        assert_close(undone[:, :3, 3], poses[:, :3, 3], 1e-15 * max(400, 4 * length_mm))
        assert undone[:, 3].unique(dim=0).tolist() == [[0, 0, 0, 1]]


def test_elements_that_are_no_projection_have_no_translation() -> None:
    element = random_elements(200).requires_grad_()
    undone = so4.to_se3(element, 300.0)
    impossible = so4.matrix(element)[:, 3, 3] <= 0
    assert 50 < impossible.sum() < 150
    torch.testing.assert_close(undone[:, :3, 3].isnan().all(-1), impossible)
    torch.testing.assert_close(undone.isnan().flatten(1).any(-1), impossible)
    again = so4.from_se3(undone[~impossible], 300.0)
    assert so4.distance(again, element[~impossible]).max() < 1e-13
    undone[:, :3, 3].nansum().backward()
    assert element.grad is not None and element.grad.isfinite().all()
    assert (element.grad[impossible] == 0).all()


@pytest.mark.parametrize("length_mm", LENGTHS_MM)
def test_distances_of_pure_rotations_and_pure_translations(length_mm: float) -> None:
    degrees = [0.0, 1e-9, 1.0, 90.0, 179.999, 180.0]
    turned = so4.distance(so4.identity(), so4.from_se3(rotations(degrees), length_mm))
    assert_close(turned, torch.tensor(degrees, dtype=torch.float64).deg2rad(), 2e-15)

    shift = torch.tensor([1.0, -2, 2], dtype=torch.float64) / 3 * torch.tensor([[1e-9], [1], [30], [500]])
    moved = so4.distance(so4.identity(), so4.from_se3(se3.rigid(torch.eye(3), shift).double(), length_mm))
    ratio = shift.norm(dim=-1) / (2 * length_mm)
    assert_close(moved, ratio.atan(), 1e-15)
    assert ((moved - ratio).abs() <= ratio**3 / 3 + 1e-15).all()

    halves = so4.log(so4.from_se3(rotations([70]), length_mm)).unflatten(-1, (2, 3))
    assert_close(halves[..., 0, :], se3.log(rotations([70]))[..., :3], 1e-15)
    assert_close(halves[..., 1, :], halves[..., 0, :], 1e-15)


def se3_distance(a: Tensor, b: Tensor, length_mm: float) -> Tensor:
    """Geodesic distance of SE(3) under the left-invariant metric |omega|^2 + |v|^2 / (2L)^2.

    Its geodesics turn about a fixed axis while the origin moves straight (Park 1995, J. Mech. Design 117).
    """
    angle = se3.rotation_angle_deg(a, b).deg2rad()
    return (angle**2 + ((b - a)[..., :3, 3] / (2 * length_mm)).square().sum(-1)).sqrt()


def test_distance_approaches_that_of_rigid_motions_as_the_inverse_square_of_the_length() -> None:
    a, b = random_poses(500), random_poses(500, seed=1)
    tangent = 1e-3 * tangents([(1.0, 1.0)], per_angle=500)
    near = a @ se3.exp(tangent * torch.tensor([1.0, 1, 1, 500, 500, 500], dtype=torch.float64))
    lengths = 500.0 * 2.0 ** np.arange(6)
    far_errors, near_errors = [], []
    for length_mm in lengths:
        first, second, third = (so4.from_se3(poses, length_mm) for poses in (a, b, near))
        exact, exact_near = se3_distance(a, b, length_mm), se3_distance(a, near, length_mm)
        far_errors.append((so4.distance(first, second) - exact).abs().max().item())
        near_errors.append(((so4.distance(first, third) - exact_near) / exact_near).abs().max().item())
    # Measured: far apart 0.0158 rad at 500 mm, then 3.93 to 4.00 times less for every doubling. Nearby poses
    # agree at this rate in proportion too.
    for errors in (far_errors, near_errors):
        rates = np.log2(np.divide(errors[:-1], errors[1:]))
        np.testing.assert_allclose(rates, 2, atol=0.2)
        assert rates[-1] == pytest.approx(2, abs=0.005)
    assert far_errors[0] < 0.02
    # and the same for what a shift of the camera by up to 100 mm per axis changes
    shifted = se3.rigid(torch.eye(3, dtype=torch.float64), random_poses(500, seed=2)[:, :3, 3])
    changes = [
        (
            so4.distance(so4.from_se3(shifted @ a, length), so4.from_se3(shifted @ b, length))
            - so4.distance(so4.from_se3(a, length), so4.from_se3(b, length))
        )
        .abs()
        .max()
        .item()
        for length in lengths
    ]
    np.testing.assert_allclose(np.log2(np.divide(changes[:-1], changes[1:])), 2, atol=0.1)


def test_recentring_takes_the_source_distance_out() -> None:
    isocentre_world = torch.tensor([12.0, -34, 56], dtype=torch.float64)
    isocentre_camera = torch.tensor([0.0, 0, 700], dtype=torch.float64)
    nominal = random_poses(1)[0]
    nominal[:3, 3] = isocentre_camera - nominal[:3, :3] @ isocentre_world
    tangent = tangents([(0.4, 0.0)], per_angle=50) + 40 * tangents([(0.0, 1.0)], per_angle=50)
    poses = se3.perturb(nominal, tangent, isocentre_world)

    recentred = so4.recentre(poses, isocentre_camera, isocentre_world)

    # A perturbation about the isocentre is just that motion of the camera axes, after the nominal rotation.
    expected = se3.exp(tangent) @ so4.recentre(nominal, isocentre_camera, isocentre_world)
    assert_close(recentred, expected, 1e-12)
    assert_close(so4.recentre(recentred, -isocentre_camera, -isocentre_world), poses, 1e-12)
    # 10 mm of depth are 0.01 rad at L = 500 mm, but less by 1 + 0.7^2 where the source is 700 mm away.
    near, far = se3.rigid(nominal[:3, :3], torch.tensor([[0.0, 0, 700], [0, 0, 710]], dtype=torch.float64))
    origin = torch.zeros(3, dtype=torch.float64)
    for centre, expected_distance in [(isocentre_camera, 0.01), (origin, 0.01 / 1.49)]:
        a, b = (so4.from_se3(so4.recentre(pose, centre, origin), 500.0) for pose in (near, far))
        assert so4.distance(a, b).item() == pytest.approx(expected_distance, rel=0.01)


# ---- derivatives


def pairs(angles: list[tuple[float, float]]) -> tuple[Tensor, Tensor]:
    base = random_elements(len(angles), seed=3)
    return base, so4.compose(base, so4.exp(tangents(angles, per_angle=1)))


def along_tangents(function: Function, angles: tuple[float, float]) -> tuple[Function, tuple[Tensor, Tensor]]:
    """The function of a pair that far apart, after both were moved by tangents; and the tangents, zero."""
    a, b = (element[0] for element in pairs([angles]))

    def moved(x: Tensor, y: Tensor) -> Tensor:
        return function(so4.compose(a, so4.exp(x)), so4.compose(so4.exp(y), b))

    x, y = torch.zeros(2, 6, dtype=torch.float64)
    return moved, (x.requires_grad_(), y.requires_grad_())


# Both sides of pi within a half. Where the angles of the halves add up to 2 pi the sign flips, a cut that no
# finite difference may cross: the last two are three hundred steps away from it.
SMOOTH = [
    *((0.0, 0.0), (1e-7, 0.0), (0.3, 1e-6), (0.489957, 2.0), (np.pi - 1e-3, 1.0), (np.pi, 1.0)),
    *((np.pi + 1e-3, 1.0), (4.0, 2.0), (5.0, 0.0), (np.pi - 1e-3, np.pi - 1e-3), (5.0, 2 * np.pi - 5.002)),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("function", "angles"),
    [
        (so4.squared_distance, SMOOTH),
        (so4.residual, SMOOTH),
        (so4.distance, SMOOTH[2:]),  # the distance itself has a cone at zero
    ],
)
def test_derivatives_match_finite_differences(function: Function, angles: list[tuple[float, float]]) -> None:
    for pair in angles:
        moved, tangent = along_tangents(function, pair)
        # Steps of 1e-6 leave eps / 1e-6 of rounding, about 1e-9, and gradcheck allows 1e-3 of the value.
        assert torch.autograd.gradcheck(moved, tangent, atol=1e-7)
        assert torch.autograd.gradgradcheck(moved, tangent, atol=1e-6, fast_mode=True)


def test_second_derivatives_match_differences_of_the_values() -> None:
    # Second differences of values alone err by 4 eps / h^2 of rounding, 1e-9, and by h^2 / 12 of the fourth
    # derivatives, which grow towards the opposite of the identity: the pair at 5 rad is left out.
    step, basis = 1e-3, torch.eye(6, dtype=torch.float64)
    together, opposed = (step * (basis[:, None] + sign * basis[None]) for sign in (1, -1))
    for pair in SMOOTH[:8]:
        moved, (x, y) = along_tangents(so4.squared_distance, pair)
        hessian = torch.autograd.functional.hessian(lambda t, f=moved, y=y: f(t, y), x)
        values = [moved(shift, y).detach() for shift in (together, -together, opposed, -opposed)]
        expected = (values[0] + values[1] - values[2] - values[3]) / (4 * step**2)
        assert_close(hessian, expected, 2e-6)


# At a half turn the quaternion of R changes its sign, and (g, h) with it: checked right beside.
@pytest.mark.parametrize("pose", [*rotations([0, 90, 180 - 1e-2, 180 + 1e-2]), *random_poses(2)])
def test_derivatives_of_the_projection(pose: Tensor) -> None:
    scale = torch.tensor([1.0, 1, 1, 100, 100, 100], dtype=torch.float64)
    target = so4.exp(tangents([(0.7, 0.2)], per_angle=1)[0])

    def there(x: Tensor) -> Tensor:
        return so4.from_se3(pose @ se3.exp(scale * x), 200.0)

    def there_and_back(x: Tensor) -> Tensor:
        return so4.to_se3(there(x), 200.0)[:3, 3] / 100

    def through_the_matrix(x: Tensor) -> Tensor:
        return so4.squared_distance(target, so4.from_matrix(so4.matrix(there(x))))

    zero = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    for function in (there, there_and_back, through_the_matrix):
        assert torch.autograd.gradcheck(function, zero, atol=1e-7)
        assert torch.autograd.gradgradcheck(function, zero, atol=1e-6, fast_mode=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_at_zero_are_exact(dtype: torch.dtype) -> None:
    zero, origin = torch.zeros(6, dtype=dtype), so4.identity(dtype)
    unit = torch.eye(6, dtype=dtype)
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(lambda x: so4.log(so4.exp(x)))(zero), unit, rtol=0, atol=0)
    # d^2 = |x|^2 / 2
    hessian = torch.func.hessian(lambda x: so4.squared_distance(origin, so4.exp(x)))(zero)
    torch.testing.assert_close(hessian, unit, rtol=0, atol=0)
    assert torch.func.jacrev(lambda x: so4.distance(origin, so4.exp(x)))(zero).tolist() == [0] * 6
    # of 10 mm at L = 500 mm: 1 / 4L^2 per mm^2 and axis
    hessian = torch.func.hessian(
        lambda x: so4.squared_distance(so4.from_se3(se3.exp(x), 500.0), so4.from_se3(se3.exp(zero), 500.0))
    )(zero)
    expected = torch.diag(torch.tensor([2.0] * 3 + [2 / 1000**2] * 3, dtype=dtype))
    torch.testing.assert_close(hessian, expected, rtol=4 * torch.finfo(dtype).eps, atol=0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_length_of_the_quaternions_does_not_matter(dtype: torch.dtype) -> None:
    element = so4.exp(tangents()[9:]).to(dtype).requires_grad_()  # zero tangents have no gradient to compare
    target = random_elements(1, seed=9)[0].to(dtype)
    (gradient,) = torch.autograd.grad(so4.distance(target, element).sum(), element)
    radial = (gradient * element).sum(-1)
    assert_close(radial, torch.zeros_like(radial), 8 * torch.finfo(dtype).eps)
    rescaled = so4.distance(2 * target, 3 * element)
    assert_close(rescaled, so4.distance(target, element), 8 * torch.finfo(dtype).eps)


# ---- the cut locus and its neighbourhood


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("half", [0, 1])
def test_the_opposite_of_the_identity(dtype: torch.dtype, half: int) -> None:
    opposite = so4.identity(dtype)
    opposite[half, 0] = -1
    expected = torch.zeros(6, dtype=dtype)
    expected[3 * half] = 2 * torch.pi
    eps = torch.finfo(dtype).eps
    assert_close(so4.log(opposite), expected, 4 * eps)
    assert_close(so4.matrix(so4.exp(so4.log(opposite))), -torch.eye(4, dtype=dtype), 8 * eps)
    assert_close(so4.distance(so4.identity(dtype), opposite), expected.new_tensor(2**0.5 * torch.pi), 4 * eps)
    for function in (so4.log, lambda x: so4.distance(so4.identity(dtype), x).expand(6)):
        jacobian = torch.func.jacrev(function)(opposite).unflatten(0, (2, 3))
        assert (jacobian[half, :, half, 1:] == 0).all()
        assert torch.func.hessian(function)(opposite).isfinite().all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_derivatives_are_finite_everywhere(dtype: torch.dtype) -> None:
    gaps = [0.0, *np.logspace(-30, -1, 30)]
    angles = [(0.0, gap) for gap in gaps] + [(gap, gap) for gap in gaps] + [(gap, 2.0) for gap in gaps]
    near = so4.exp(tangents(angles, per_angle=1).to(dtype))
    flips = torch.tensor([[1, 1], [-1, 1], [1, -1], [-1, -1]], dtype=dtype)[:, None, :, None]
    element = torch.cat([(flips * near).flatten(0, 1), so4.exp(tangents(per_angle=1)).to(dtype)])
    origin = so4.identity(dtype)
    for function in (so4.log, lambda x: so4.distance(origin, x), lambda x: so4.squared_distance(origin, x)):
        assert function(element).isfinite().all()
        assert torch.func.vmap(torch.func.jacrev(function))(element).isfinite().all()
        assert torch.func.vmap(torch.func.hessian(function))(element).isfinite().all()


def test_either_shortest_tangent_is_returned_on_the_cut_locus() -> None:
    element = torch.tensor([[0.6, 0.8, 0, 0], [-0.6, 0, 0.8, 0]], dtype=torch.float64)
    found = so4.log(element), so4.log(-element)
    assert_close(found[0].norm(), found[1].norm(), 2e-15)
    for tangent in found:
        assert_close(so4.matrix(so4.exp(tangent)), so4.matrix(element), 1e-15)
    assert (found[0] - found[1]).norm() > 1
    # The distance is continuous across: principal angles of pi -+ 1e-9.
    origin = so4.identity()
    across = [so4.distance(origin, so4.exp(tangents([(4.0, 2 * np.pi - 4.0 + g)]))) for g in (-1e-9, 1e-9)]
    assert_close(across[0], across[1], 2e-9)


# ---- float32, shapes


def test_float32_is_correct_to_rounding() -> None:
    eps = torch.finfo(torch.float32).eps
    a, b = pairs(HALF_ANGLES * 10)
    a = torch.cat([a, random_elements(500)]).float()
    b = torch.cat([b, random_elements(500, seed=1)]).float()
    # The same numbers in two precisions. The relative quaternion errs by 2 eps, its angle by as much, and the
    # distance adds sqrt(2) times two of them; measured 4.3 eps.
    found, exact = so4.distance(a, b), so4.distance(a.double(), b.double())
    assert (found - exact).abs().max() <= 6 * eps
    tangent = tangents().float()
    recovered = so4.log(so4.exp(tangent))
    gap = 2 * torch.pi - torch.maximum(tangent[:, :3].norm(dim=-1), tangent[:, 3:].norm(dim=-1))
    # Nearer to the cut locus float32 cannot tell its sides apart.
    clear = tangent[:, :3].norm(dim=-1) + tangent[:, 3:].norm(dim=-1) < 2 * torch.pi - 1e-4
    assert ((recovered - tangent).abs().amax(-1) <= 12 * eps + 4 * torch.pi * eps / gap)[clear].all()
    small = tangents([(size, size) for size in (1e-10, 1e-7, 1e-4, 1e-2)]).float()
    assert ((so4.log(so4.exp(small)) - small).norm(dim=-1) <= 4 * eps * small.norm(dim=-1)).all()
    expected = so4.matrix(so4.exp(tangent.double()))
    assert_close(so4.matrix(so4.exp(tangent)).double(), expected, 8 * eps)


@pytest.mark.parametrize("length_mm", LENGTHS_MM)
def test_float32_projections(length_mm: float) -> None:
    eps = torch.finfo(torch.float32).eps
    poses = random_poses(300)
    element = so4.from_se3(poses.float(), length_mm)
    assert element.dtype == torch.float32
    exact = so4.from_se3(poses.float().double(), length_mm)
    assert_close(so4.matrix(element).double(), so4.matrix(exact), 6 * eps)
    undone = so4.to_se3(element, length_mm)
    assert_close(undone[:, :3, :3], poses[:, :3, :3].float(), 8 * eps)
    assert_close(undone[:, :3, 3], poses[:, :3, 3].float(), 4 * eps * max(400, 2 * length_mm))


def test_float32_gradients_near_the_opposite_of_the_identity() -> None:
    # Of the squared distance: 4 alpha per unit of the vector, in its direction, however close.
    origin, gaps = so4.identity(torch.float32), torch.logspace(-6, -1, 20)
    tangent = tangents([(2 * np.pi - gap, 0.0) for gap in gaps.tolist()], per_angle=1)
    element = so4.exp(tangent).float()
    gradient = torch.func.vmap(torch.func.grad(lambda x: so4.squared_distance(origin, x)))(element)
    element = element.double()
    exact = torch.func.vmap(torch.func.grad(lambda x: so4.squared_distance(origin.double(), x)))(element)
    assert_close(gradient.double(), exact, 4 * torch.pi * 8 * torch.finfo(torch.float32).eps)


def test_batches_broadcast_and_keep_their_type() -> None:
    a, b = random_elements(6).reshape(2, 3, 2, 4), random_elements(3, seed=1)
    assert so4.compose(a, b).shape == so4.compose(b, a).shape == (2, 3, 2, 4)
    assert so4.distance(a, b).shape == so4.squared_distance(b, a).shape == (2, 3)
    assert so4.residual(a, b[0]).shape == (2, 3, 6)
    assert_close(so4.residual(a, b)[1, 2], so4.residual(a[1, 2], b[2]), 0)
    assert_close(so4.from_matrix(so4.matrix(a))[1, 2], so4.from_matrix(so4.matrix(a[1, 2])), 0)
    assert so4.to_se3(so4.from_se3(random_poses(6).reshape(2, 3, 4, 4), 300.0), 300.0).shape == (2, 3, 4, 4)
    assert_close(torch.func.vmap(so4.distance)(a, a.flip(0)), so4.distance(a, a.flip(0)), 0)
    for dtype in DTYPES:
        element = so4.exp(torch.ones(6, dtype=dtype))
        distance = so4.distance(so4.identity(dtype), element)
        for result in (so4.matrix(element), so4.log(element), so4.from_matrix(so4.matrix(element)), distance):
            assert result.dtype == dtype
