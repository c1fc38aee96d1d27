import math

import pytest
import torch

from isoclinic.solver.robust import L2, Cauchy, GemanMcClure, Huber, PseudoHuber, RobustLoss

SCALE = 1.7
LOSSES = [
    L2(),
    Huber(scale=SCALE),
    PseudoHuber(scale=SCALE),
    Cauchy(scale=SCALE),
    GemanMcClure(scale=SCALE),
]
each_loss = pytest.mark.parametrize("loss", LOSSES, ids=lambda loss: type(loss).__name__)


@each_loss
def test_weight_times_residual_is_the_derivative_of_the_loss(loss: RobustLoss):
    # Both sides of Huber's switch, and residuals far on either side of the scale. (Much further out the
    # derivative of Geman-McClure, taken by autograd, cancels: relative error (r/c)² times a rounding.)
    switch = [SCALE * (1 + side * 1e-9) for side in (-1, 1)]
    sizes = torch.tensor([1e-8, 1e-3, 0.3, *switch, 2.0, 40.0], dtype=torch.float64)
    residual = torch.cat((-sizes, sizes)).requires_grad_()
    value, weight = loss(residual)
    (derivative,) = torch.autograd.grad(value.sum(), residual)
    # Two closed forms in float64, a few roundings apart.
    torch.testing.assert_close(weight * residual, derivative, rtol=1e-12, atol=0)


@each_loss
def test_agrees_with_least_squares_at_small_residuals(loss: RobustLoss):
    residual = torch.tensor([-1e-3, 0.0, 1e-3], dtype=torch.float64)
    value, weight = loss(residual)
    # The next term of every loss is at most 2 (r/c)² relative, 7e-7 here.
    torch.testing.assert_close(value, residual.square() / 2, rtol=1e-6, atol=0)
    torch.testing.assert_close(weight, torch.ones(3, dtype=torch.float64), rtol=1e-6, atol=0)


@each_loss
def test_curvature_at_zero_is_that_of_least_squares(loss: RobustLoss):
    residual = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(residual)[0].sum(), residual, create_graph=True)
    (curvature,) = torch.autograd.grad(slope.sum(), residual)
    assert curvature.item() == pytest.approx(1.0, rel=1e-12)


@each_loss
def test_float32_keeps_its_digits_at_small_residuals(loss: RobustLoss):
    residual = torch.logspace(-6, 2, 50, dtype=torch.float64)
    single = loss(residual.float())
    for low, high in zip(single, loss(residual), strict=True):
        # A handful of roundings of 6e-8 each; the textbook pseudo-Huber loses everything at 1e-4.
        torch.testing.assert_close(low.double(), high, rtol=1e-6, atol=0)


def test_closed_forms_at_the_scale():
    residual = torch.tensor([SCALE], dtype=torch.float64)
    expected = {
        L2: SCALE**2 / 2,
        Huber: SCALE**2 / 2,
        PseudoHuber: SCALE**2 * (math.sqrt(2) - 1),
        Cauchy: SCALE**2 / 2 * math.log(2),
        GemanMcClure: SCALE**2 / 4,
    }
    for loss in LOSSES:
        assert loss(residual)[0].item() == pytest.approx(expected[type(loss)], rel=1e-14)


def test_growth_of_the_tails():
    residual = torch.tensor([1e3, 2e3], dtype=torch.float64)
    tail = {type(loss): loss(residual)[0] for loss in LOSSES}
    assert tail[Huber][1] / tail[Huber][0] == pytest.approx(2, abs=1e-2)
    assert tail[PseudoHuber][1] / tail[PseudoHuber][0] == pytest.approx(2, abs=1e-2)
    assert (tail[Cauchy][1] - tail[Cauchy][0]).item() == pytest.approx(SCALE**2 * math.log(2), rel=1e-5)
    assert tail[GemanMcClure][1].item() == pytest.approx(SCALE**2 / 2, rel=1e-5)
