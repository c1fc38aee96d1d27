"""Derivatives of an optimum by the implicit function theorem, without unrolling the iteration."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from ..errors import UsageError
from .descent import solve_positive_definite
from .problem import Linearization, Problem

_NOT_DIFFERENTIABLE = (
    "The problem's gradient is not differentiable in x: use curvature='gauss_newton' for this problem."
)


def implicit_solution(problem: Problem, x: Tensor, *, curvature: Literal["exact", "gauss_newton"]) -> Tensor:
    """The minimisers `x`, unchanged in value, differentiable in every tensor `problem` closes over.

    At a minimum the gradient g(ξ, p) along the tangent ξ at x vanishes for every value of the parameters p,
    so dξ/dp = −H⁻¹ ∂g/∂p with H = ∂g/∂ξ. The result is x moved by −H⁻¹(g − stop_gradient(g)): a zero step
    with that derivative (of first order only). Memory is that of one linearization. Take x from a solve that
    ended close to the minimum, for an error in g is an error in the derivative.

    `"exact"` differentiates the problem's gradient for H and is right for every smooth cost; the
    linearization must be differentiable in x, its Jacobian included (as that of `LeastSquares` is).
    `"gauss_newton"` takes H = JᵀWJ, which is exact for zero residuals and otherwise ignores their curvature
    (and, under a robust loss, that of the loss); it asks for nothing but a gradient differentiable in p.

    Items whose H is not positive definite are no isolated minima, so the theorem says nothing about them:
    they contribute no derivative.

    Args:
        problem: As it was solved.
        x: [B, ...] minimisers, for instance `Solution.x`.
        curvature: Which H.

    Raises:
        UsageError: `"exact"` with a linearization that is not differentiable in x.
    """
    x = x.detach()
    items = torch.arange(len(x), device=x.device)
    at = problem.linearize(x, items)
    hessian = at.hessian.detach() if curvature == "gauss_newton" else _exact_hessian(problem, x, items, at)
    # Less a few roundings of its diagonal, or rounding would let singular matrices pass.
    diagonal = hessian.diagonal(dim1=-2, dim2=-1)
    margin = 4 * hessian.shape[-1] * torch.finfo(hessian.dtype).eps * diagonal
    gradient = at.gradient - at.gradient.detach()
    delta, _ = solve_positive_definite(hessian - torch.diag_embed(margin), -gradient)
    return problem.retract(x, delta.to(x.dtype))


def _exact_hessian(problem: Problem, x: Tensor, items: Tensor, at: Linearization) -> Tensor:
    """The symmetric Hessian [B, P, P], from one reverse pass per parameter."""
    with torch.enable_grad():
        delta = torch.zeros_like(at.gradient, dtype=x.dtype, requires_grad=True)
        # Items are independent, so the sum over them keeps their derivatives apart.
        totals = problem.linearize(problem.retract(x, delta), items).gradient.sum(0)
        if not totals.requires_grad:
            raise UsageError(_NOT_DIFFERENTIABLE, code="solver.not-differentiable")
        columns = [
            torch.autograd.grad(total, delta, retain_graph=True, allow_unused=True)[0] for total in totals
        ]
        if any(column is None for column in columns):
            raise UsageError(_NOT_DIFFERENTIABLE, code="solver.not-differentiable")
    hessian = torch.stack(columns, -1).to(at.gradient)
    return 0.5 * (hessian + hessian.mT)
