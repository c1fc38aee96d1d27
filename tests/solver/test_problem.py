import pytest
import torch

from isoclinic.solver.problem import LeastSquares, Linearization, normal_equations
from isoclinic.solver.robust import L2, Cauchy, RobustLoss


def _random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("robust", [L2(), Cauchy(scale=0.8)])
@pytest.mark.parametrize("weighted", [False, True])
def test_normal_equations_are_the_sums_of_their_definition(robust: RobustLoss, weighted: bool):
    residual, jacobian = _random(2, 7), _random(2, 7, 3, seed=1)
    weight = _random(2, 7, seed=2).abs() if weighted else None
    at = normal_equations(residual, jacobian, weight, robust)
    for b in range(2):
        cost, gradient, hessian = 0.0, torch.zeros(3).double(), torch.zeros(3, 3).double()
        for n in range(7):
            w = weight[b, n] if weighted else 1.0
            loss, irls = robust(residual[b, n])
            cost += w * loss
            gradient += w * irls * residual[b, n] * jacobian[b, n]
            hessian += w * irls * torch.outer(jacobian[b, n], jacobian[b, n])
        torch.testing.assert_close(at.cost[b], cost)
        torch.testing.assert_close(at.gradient[b], gradient)
        torch.testing.assert_close(at.hessian[b], hessian)


@pytest.mark.parametrize("robust", [L2(), Cauchy(scale=0.8)])
def test_gradient_of_least_squares_is_the_derivative_of_its_cost(robust: RobustLoss):
    design, x = _random(6, 3), _random(2, 3, seed=1)
    problem = LeastSquares(
        residual=lambda x, items: torch.sin(x @ design.T) + items[:, None],
        retract=lambda x, delta: x * torch.exp(delta),
        tangent_dim=3,
        robust=robust,
        weight=_random(2, 6, seed=2).abs(),
    )
    items = torch.arange(2)
    at = problem.linearize(x, items)

    def cost(delta: torch.Tensor) -> torch.Tensor:
        return problem.linearize(problem.retract(x, delta), items).cost

    slopes = torch.autograd.functional.jacobian(cost, torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(at.gradient, torch.stack([slopes[b, b] for b in range(2)]))
    assert slopes[0, 1].abs().max() == 0, "items must not see each other"


def test_rows_belong_to_the_items_they_name():
    weight = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.5, 3.0]], dtype=torch.float64)
    target = _random(3, 2)
    problem = LeastSquares(
        residual=lambda x, items: x - target[items], retract=torch.add, tangent_dim=2, weight=weight
    )
    x = _random(3, 2, seed=1)
    whole = problem.linearize(x, torch.arange(3))
    part = problem.linearize(x[[2, 0]], torch.tensor([2, 0]))
    torch.testing.assert_close(part.cost, whole.cost[[2, 0]])
    torch.testing.assert_close(part.hessian, whole.hessian[[2, 0]])


def test_float32_residuals_are_summed_in_float64():
    # In float32 one million terms of 1e-8 vanish beside the first one; float64 keeps them: 0.5 (1 + 0.01).
    residual = torch.full((1, 1_000_001), 1e-4, dtype=torch.float32)
    residual[0, 0] = 1.0
    at = normal_equations(residual, torch.zeros(1, residual.shape[1], 1), None, L2())
    assert at.cost.dtype == at.gradient.dtype == at.hessian.dtype == torch.float64
    assert at.cost.item() == pytest.approx(0.505, rel=1e-6)


@pytest.mark.parametrize("where", ["cost", "gradient", "hessian"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_finite_looks_at_every_number(where: str, value: float):
    at = Linearization(torch.zeros(2), torch.zeros(2, 3), torch.zeros(2, 3, 3))
    getattr(at, where)[1].view(-1)[-1] = value
    assert at.finite.tolist() == [True, False]
