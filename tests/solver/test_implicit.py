import dataclasses

import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.geometry import perturb
from isoclinic.solver.implicit import implicit_solution
from isoclinic.solver.problem import LeastSquares, Linearization, Problem
from isoclinic.solver.robust import L2, PseudoHuber
from isoclinic.solver.solve import LMConfig, levenberg_marquardt
from isoclinic.solver.termination import Status
from raising import raises

PRECISE = LMConfig(
    max_steps=200,
    min_damping=1e-15,
    step_deviation_tolerance=0,
    decrease_tolerance=0,
    gradient_tolerance=1e-12,
    step_tolerance=1e-11,
)


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _solve(problem: Problem, start: torch.Tensor, config: LMConfig, curvature) -> torch.Tensor:
    with torch.no_grad():
        solution = levenberg_marquardt(problem, start, config)
    assert set(solution.status) == {Status.CONVERGED}
    x = implicit_solution(problem, solution.x, curvature=curvature)
    torch.testing.assert_close(x, solution.x, rtol=0, atol=1e-12)
    return x


def _saturating(target: torch.Tensor, robust, design: torch.Tensor) -> LeastSquares:
    """Tanh of a linear map against targets it cannot reach: residuals are left at the minimum."""
    return LeastSquares(
        residual=lambda x, items: torch.tanh(x @ design.mT) - target[items],
        retract=torch.add,
        tangent_dim=2,
        robust=robust,
    )


@pytest.mark.slow
@pytest.mark.parametrize("robust", [L2(), PseudoHuber(scale=0.3)])
def test_exact_derivative_matches_finite_differences_of_the_whole_solve(robust):
    start = torch.zeros(2, 2).double()

    def solve(target, design):
        return _solve(_saturating(target, robust, design), start, PRECISE, "exact")

    inputs = (0.5 * _random(2, 4, seed=1), _random(4, 2))
    # Comparing costs locates a minimum only to 1e-8: central differences over 1e-3 are wrong by 1e-5.
    inputs = [tensor.requires_grad_() for tensor in inputs]
    assert torch.autograd.gradcheck(solve, inputs, eps=1e-3, atol=1e-4, rtol=0)


def test_gauss_newton_ignores_the_curvature_of_what_is_left():
    start, design, target = torch.zeros(3, 2).double(), _random(6, 2), 0.5 * _random(3, 6, seed=1)
    reachable = torch.tanh(0.3 * _random(3, 2, seed=2) @ design.mT)

    def derivatives(target: torch.Tensor) -> list[torch.Tensor]:
        return [
            torch.autograd.functional.jacobian(
                lambda t, c=curvature: _solve(_saturating(t, L2(), design), start, PRECISE, c), target
            )
            for curvature in ("exact", "gauss_newton")
        ]

    exact, gauss_newton = derivatives(reachable)
    # Zero residuals: both are the same; the residuals left are 1e-11.
    torch.testing.assert_close(exact, gauss_newton, rtol=0, atol=1e-9)
    exact, gauss_newton = derivatives(target)
    assert (exact - gauss_newton).abs().max() > 0.05


# --- A pose ------------------------------------------------------------------------------------------------

CENTRE = torch.tensor([10.0, -20.0, 30.0], dtype=torch.float64)
POSES = perturb(
    torch.tensor([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 800], [0, 0, 0, 1]], dtype=torch.float64),
    torch.tensor([0.3, 0.3, 0.3, 30, 30, 60], dtype=torch.float64) * _random(2, 6, seed=4),
    CENTRE,
)
POINTS = CENTRE + 60 * _random(8, 3, seed=5)
POSE_CONFIG = dataclasses.replace(PRECISE, step_scale=(0.01,) * 3 + (1.0,) * 3)


def _project(camera_from_world, points, focal_length):
    camera = points @ camera_from_world[:, :3, :3].mT + camera_from_world[:, None, :3, 3]
    return (focal_length * camera[..., :2] / camera[..., 2:]).flatten(1)


def _pose_problem(pixels, points, focal_length) -> LeastSquares:
    return LeastSquares(
        residual=lambda pose, items: _project(pose, points, focal_length) - pixels[items],
        retract=lambda pose, delta: perturb(pose, delta, CENTRE),
        tangent_dim=6,
    )


def _pose_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    focal_length = torch.tensor(1000.0, dtype=torch.float64)
    pixels = _project(POSES, POINTS, focal_length) + 3 * _random(2, 16, seed=6)
    return pixels.requires_grad_(), POINTS.clone().requires_grad_(), focal_length.requires_grad_()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["pixels", "points", "focal_length"])
def test_pose_derivative_matches_finite_differences_of_the_whole_solve(which: str):
    inputs = dict(zip(("pixels", "points", "focal_length"), _pose_inputs(), strict=True))
    # Translations count in 100 mm, so that they weigh as much as rotations.
    weights = _random(2, 3, 4, seed=8) / torch.tensor([1.0, 1.0, 1.0, 100.0], dtype=torch.float64)

    def solve(curvature, **changed):
        problem = _pose_problem(**(inputs | changed))
        return (_solve(problem, POSES, POSE_CONFIG, curvature)[:, :3] * weights).sum()

    direction = torch.ones_like(inputs[which]) if which == "focal_length" else _random(*inputs[which].shape)
    with torch.no_grad():
        step = 0.1  # px or mm
        ahead, behind = (
            solve("exact", **{which: inputs[which] + sign * step * direction}) for sign in (1, -1)
        )
    finite_difference = (ahead - behind).item() / (2 * step)
    slope = {
        curvature: (torch.autograd.grad(solve(curvature), inputs[which])[0] * direction).sum().item()
        for curvature in ("exact", "gauss_newton")
    }
    # Moving all points by about 0.5 mm out of 100 mm truncates the series at (0.5 / 100)², 3e-5; poses known
    # to 1e-8 [rad, 100 mm] add 1e-5.
    assert slope["exact"] == pytest.approx(finite_difference, rel=1e-4)
    # Residuals of 3 px: leaving out their curvature costs percents, which the tolerance above would not pass.
    assert slope["gauss_newton"] == pytest.approx(finite_difference, rel=0.2)
    assert slope["gauss_newton"] != pytest.approx(finite_difference, rel=1e-3)


@pytest.mark.slow
def test_unrolled_and_implicit_derivatives_of_a_pose_agree():
    inputs = _pose_inputs()
    problem = _pose_problem(*inputs)
    unrolled = levenberg_marquardt(problem, POSES, POSE_CONFIG)
    implicit = implicit_solution(problem, unrolled.x, curvature="exact")
    direction = _random(2, 4, 4, seed=7)
    slopes = [torch.autograd.grad((x * direction).sum(), inputs) for x in (unrolled.x, implicit)]
    for a, b in zip(*slopes, strict=True):
        # The derivative of the iteration converges like the iteration itself, linearly at the end.
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-8)


# --- Where the theorem does not apply ----------------------------------------------------------------------


def test_items_without_an_isolated_minimum_contribute_nothing():
    target = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)

    def residual(x, items):
        # Item 0 knows only the sum of its parameters, item 1 both.
        second = torch.where(items == 0, x.sum(-1), x[:, 0] - x[:, 1])
        return torch.stack((x.sum(-1), second), -1) - target

    problem = LeastSquares(residual=residual, retract=torch.add, tangent_dim=2)
    minima = torch.tensor([[0.5, 0.5], [1.0, 0.0]], dtype=torch.float64)
    for curvature in ("exact", "gauss_newton"):
        x = implicit_solution(problem, minima, curvature=curvature)
        (degenerate,) = torch.autograd.grad(x[0].sum(), target, retain_graph=True)
        assert degenerate.tolist() == [0.0, 0.0]
        (regular,) = torch.autograd.grad(x[1, 0], target)
        # x₀ = (t₀ + t₁) / 2.
        torch.testing.assert_close(regular, torch.full((2,), 0.5).double())


@pytest.mark.parametrize("learned", [True, False])
def test_exact_curvature_needs_a_gradient_that_depends_on_x(learned: bool):
    offset = torch.zeros(2, dtype=torch.float64, requires_grad=learned)

    class Opaque:
        """As a renderer's kernel: values and derivatives out of nowhere."""

        retract = staticmethod(torch.add)

        @staticmethod
        def linearize(x, items):
            gradient = x.detach() - offset
            return Linearization(
                0.5 * gradient.square().sum(-1), gradient, torch.eye(2).double().repeat(len(x), 1, 1)
            )

    x = torch.zeros(1, 2).double()
    with raises(UsageError, "solver.not-differentiable", "gauss_newton"):
        implicit_solution(Opaque(), x, curvature="exact")
    moved = implicit_solution(Opaque(), x, curvature="gauss_newton")
    assert moved.requires_grad is learned
    if learned:
        assert torch.autograd.grad(moved.sum(), offset)[0].tolist() == pytest.approx([1.0, 1.0])
