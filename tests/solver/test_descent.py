import math

import pytest
import torch

from isoclinic.solver.descent import DampedStep, Step
from isoclinic.solver.problem import Linearization

SCALE = torch.tensor([0.02, 1.0, 5.0], dtype=torch.float64)
each_matrix = pytest.mark.parametrize("matrix", ["diagonal", "identity"])


def _linearization(batch: int = 4, seed: int = 0) -> Linearization:
    generator = torch.Generator().manual_seed(seed)
    jacobian = torch.randn(batch, 6, 3, dtype=torch.float64, generator=generator)
    residual = torch.randn(batch, 6, 1, dtype=torch.float64, generator=generator)
    return Linearization(
        0.5 * residual.square().sum((1, 2)), (jacobian.mT @ residual).squeeze(-1), jacobian.mT @ jacobian
    )


def _step(at: Linearization, damping: float, **settings) -> Step:
    settings = {"damping_matrix": "diagonal", "scale": SCALE, "max_length": math.inf} | settings
    return DampedStep(**settings)(at, torch.full_like(at.cost, damping))


def _model_decrease(at: Linearization, delta: torch.Tensor) -> torch.Tensor:
    curvature = torch.einsum("bi,bij,bj->b", delta, at.hessian, delta)
    return -(at.gradient * delta).sum(-1) - 0.5 * curvature


@each_matrix
@pytest.mark.parametrize("damping", [1e-12, 1e-3, 1.0, 1e4])
def test_solves_the_damped_normal_equations(matrix: str, damping: float):
    at = _linearization()
    step = _step(at, damping, damping_matrix=matrix)
    diagonal = at.hessian.diagonal(dim1=-2, dim2=-1)
    if matrix == "identity":
        # max over i of s_i² H_ii, as a diagonal in unscaled units.
        diagonal = (diagonal * SCALE**2).amax(-1, keepdim=True) / SCALE**2
    matrices = at.hessian + damping * torch.diag_embed(diagonal)
    # LU instead of Cholesky, unscaled instead of scaled; condition numbers are below 1e6.
    expected = torch.linalg.solve(matrices, -at.gradient)
    torch.testing.assert_close(step.delta, expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(step.length, (expected / SCALE).norm(dim=-1), rtol=1e-9, atol=0)
    torch.testing.assert_close(step.predicted, _model_decrease(at, expected), rtol=1e-8, atol=0)
    assert not step.capped.any()


def test_diagonal_damping_is_indifferent_to_units():
    at = _linearization()
    units = torch.tensor([1e3, 1.0, 1e-3], dtype=torch.float64)
    other = Linearization(at.cost, at.gradient * units, at.hessian * torch.outer(units, units))
    torch.testing.assert_close(_step(other, 0.3).delta * units, _step(at, 0.3).delta)


@each_matrix
def test_damping_is_indifferent_to_the_scale_of_the_cost(matrix: str):
    at = _linearization()
    other = Linearization(1e6 * at.cost, 1e6 * at.gradient, 1e6 * at.hessian)
    settings = {"damping_matrix": matrix}
    torch.testing.assert_close(_step(other, 0.3, **settings).delta, _step(at, 0.3, **settings).delta)


def test_large_damping_is_scaled_steepest_descent():
    at = _linearization()
    delta = 1e9 * _step(at, 1e9, damping_matrix="identity").delta / SCALE
    downhill = -at.gradient * SCALE
    # H is 1e-9 of the damping.
    torch.testing.assert_close(
        torch.nn.functional.cosine_similarity(delta, downhill), torch.ones(4).double(), rtol=1e-8, atol=0
    )


def test_cap_shortens_long_steps_along_their_direction_and_leaves_short_ones():
    at = _linearization()
    free = _step(at, 1e-3)
    cap = free.length.median().item() * (1 + 1e-9)
    step = _step(at, 1e-3, max_length=cap)
    assert step.capped.tolist() == (free.length > cap).tolist()
    assert 0 < step.capped.sum() < 4
    torch.testing.assert_close(step.length, free.length.clamp(max=cap))
    shrink = (step.length / free.length)[:, None]
    torch.testing.assert_close(step.delta, free.delta * shrink)
    torch.testing.assert_close(step.predicted, _model_decrease(at, step.delta))


@each_matrix
def test_a_parameter_without_influence_does_not_move(matrix: str):
    at = _linearization()
    at.gradient[:, 1] = 0
    at.hessian[:, 1] = at.hessian[:, :, 1] = 0
    step = _step(at, 1e-6, damping_matrix=matrix)
    keep = [0, 2]
    reduced = Linearization(at.cost, at.gradient[:, keep], at.hessian[:, keep][:, :, keep])
    expected = _step(reduced, 1e-6, damping_matrix=matrix, scale=SCALE[keep]).delta
    torch.testing.assert_close(step.delta[:, keep], expected)
    assert (step.delta[:, 1] == 0).all()


def test_rank_deficient_hessian_gives_a_finite_step_along_its_range():
    direction = torch.tensor([1.0, 2.0, -1.0], dtype=torch.float64)
    at = Linearization(torch.ones(1).double(), direction[None], torch.outer(direction, direction)[None])
    step = _step(at, 1e-9, damping_matrix="identity", scale=torch.ones(3).double())
    # The minimum-norm Gauss-Newton step −J⁺r with r = 1; damping shortens it by 1e-9, rounding of the
    # singular matrix (condition 1e9) adds about 1e-7.
    torch.testing.assert_close(step.delta[0], -direction / 6, rtol=0, atol=1e-6)


@pytest.mark.parametrize("hessian", [torch.zeros(3, 3), torch.diag(torch.tensor([1.0, 1.0, -5.0]))])
def test_an_unsolvable_item_gets_a_zero_step_and_spoils_no_other(hessian: torch.Tensor):
    at = _linearization()
    at.hessian[2] = hessian.double()
    at = Linearization(at.cost, at.gradient.requires_grad_(), at.hessian.requires_grad_())
    step = _step(at, 1e-3)
    assert step.length.isnan().tolist() == [False, False, True, False]
    assert (step.delta[2] == 0).all()
    assert step.predicted[2] == 0
    step.delta.sum().backward()
    assert at.gradient.grad.isfinite().all()
    assert at.hessian.grad.isfinite().all()
    others = [0, 1, 3]
    alone = Linearization(at.cost[others], at.gradient[others], at.hessian[others])
    torch.testing.assert_close(step.delta[others], _step(alone, 1e-3).delta)


@each_matrix
@pytest.mark.parametrize("max_length", [math.inf, 0.5])
def test_is_differentiable(matrix: str, max_length: float):
    at = _linearization(batch=2)
    descent = DampedStep(damping_matrix=matrix, scale=SCALE, max_length=max_length)

    def step(gradient, lower, damping):
        hessian = lower @ lower.mT
        result = descent(Linearization(at.cost, gradient, hessian), damping)
        return result.delta, result.predicted

    lower = torch.linalg.cholesky(at.hessian)
    damping = torch.tensor([0.1, 2.0], dtype=torch.float64)
    inputs = [tensor.detach().requires_grad_() for tensor in (at.gradient, lower, damping)]
    assert torch.autograd.gradcheck(step, inputs)
