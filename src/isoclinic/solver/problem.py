"""The interface of a problem for the solver: normal equations at a point, and how to move the point."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

from .robust import L2, RobustLoss


@dataclass(frozen=True)
class Linearization:
    """Cost and its Gauss-Newton model F(δ) ≈ cost + gradientᵀδ + ½ δᵀ hessian δ for B independent items.

    Attributes:
        cost: [B], the value that decides whether a step is accepted.
        gradient: [B, P], derivative of the cost along the tangent δ at δ = 0.
        hessian: [B, P, P], symmetric positive semi-definite curvature.
    """

    cost: Tensor
    gradient: Tensor
    hessian: Tensor

    @cached_property
    def finite(self) -> Tensor:
        """Whether every number of an item is finite: [B] bool."""
        total = self.cost + self.gradient.sum(-1) + self.hessian.sum((-2, -1))
        return total.abs() < math.inf

    def __add__(self, other: Linearization) -> Linearization:
        """Linearization of the sum of two costs of the same items."""
        return Linearization(
            self.cost + other.cost, self.gradient + other.gradient, self.hessian + other.hessian
        )

    def select(self, index: Tensor) -> Linearization:
        """Return the rows of `index`, a mask [B] or integers."""
        return Linearization(self.cost[index], self.gradient[index], self.hessian[index])

    def replace(self, mask: Tensor, other: Linearization) -> Linearization:
        """Rows of `other` where `mask` [B] is set, own rows elsewhere."""
        return Linearization(
            torch.where(mask, other.cost, self.cost),
            torch.where(mask[:, None], other.gradient, self.gradient),
            torch.where(mask[:, None, None], other.hessian, self.hessian),
        )


class Problem(Protocol):
    """B independent items of P unknowns each, evaluated together until they stop one by one."""

    def linearize(self, x: Tensor, items: Tensor, /) -> Linearization:
        """Cost, gradient and Hessian in one pass.

        Args:
            x: [b, ...], one point per running item.
            items: [b] int64, which of the B items each row of `x` is.
        """
        ...

    def retract(self, x: Tensor, delta: Tensor, /) -> Tensor:
        """The points [b, ...] reached from `x` [b, ...] along `delta` [b, P]; δ = 0 returns x."""
        ...


def normal_equations(
    residual: Tensor, jacobian: Tensor, weight: Tensor | None, robust: RobustLoss
) -> Linearization:
    """Linearization of F = Σₙ wₙ ρ(rₙ) by iteratively reweighted least squares.

    With ω = w ρ'(r)/r: gradient = Jᵀ(ω r), which is exact, and hessian = Jᵀ diag(ω) J. The result is float64
    whatever comes in, because the gain ratio compares costs that differ in their last float32 digits.

    Args:
        residual: [B, N].
        jacobian: [B, N, P], ∂r/∂δ. Fastest as the transpose of a contiguous [B, P, N].
        weight: [B, N] non-negative confidences, or None for ones.
        robust: The loss ρ.
    """
    loss, weights = robust(residual)
    if weight is not None:
        loss, weights = weight * loss, weight * weights
    weighted = jacobian.mT * weights[:, None]
    return Linearization(
        loss.sum(-1, dtype=torch.float64),
        (weighted @ residual[..., None]).squeeze(-1).double(),
        (weighted @ jacobian).double(),
    )


@dataclass(frozen=True, kw_only=True)
class LeastSquares:
    """A problem from any residual function that torch can differentiate in forward mode.

    The Jacobian takes one forward-mode pass for all P tangents (`torch.func`), and remains differentiable
    in x and in every tensor the residual closes over.

    Attributes:
        residual: (x [b, ...], items [b]) to r [b, N]; must work under `torch.func.vmap` and `torch.func.jvp`.
        retract: (x [b, ...], δ [b, P]) to the moved x.
        tangent_dim: P.
        robust: Loss applied to every residual.
        weight: [B, N] confidences of all B items, or None for ones.
    """

    residual: Callable[[Tensor, Tensor], Tensor]
    retract: Callable[[Tensor, Tensor], Tensor]
    tangent_dim: int
    robust: RobustLoss = field(default_factory=L2)
    weight: Tensor | None = None

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """Normal equations at x; see `Problem.linearize`."""

        def moved(delta: Tensor) -> Tensor:
            return self.residual(self.retract(x, delta), items)

        def along(axis: Tensor) -> tuple[Tensor, Tensor]:
            residual, slope = torch.func.jvp(moved, (zero,), (axis.expand_as(zero),))[:2]
            return residual, slope

        zero = x.new_zeros(len(x), self.tangent_dim)
        axes = torch.eye(self.tangent_dim, dtype=x.dtype, device=x.device)
        residuals, slopes = torch.func.vmap(along)(axes)
        weight = None if self.weight is None else self.weight[items]
        return normal_equations(residuals[0], slopes.movedim(0, -1), weight, self.robust)
