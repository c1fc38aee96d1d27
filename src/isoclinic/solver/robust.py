"""Robust losses: what a residual costs, and the weight that lets least squares minimise exactly that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class RobustLoss(Protocol):
    """A loss ρ that agrees with least squares on small residuals: ρ(r) = r²/2 + O(r⁴).

    The weight ρ'(r)/r turns the gradient of Σρ into that of a weighted least-squares problem (iteratively
    reweighted least squares); the Hessian Jᵀ diag(ρ'/r) J built from it is positive semi-definite even where
    ρ is not convex.
    """

    def __call__(self, residual: Tensor, /) -> tuple[Tensor, Tensor]:
        """ρ(r) and ρ'(r)/r of residuals r of any shape, both of that shape."""
        ...


@dataclass(frozen=True, kw_only=True)
class L2:
    """Least squares, ρ(r) = r²/2."""

    def __call__(self, residual: Tensor, /) -> tuple[Tensor, Tensor]:
        """Loss and weight; see `RobustLoss`."""
        return 0.5 * residual.square(), torch.ones_like(residual)


@dataclass(frozen=True, kw_only=True)
class Huber:
    """Quadratic up to `scale`, linear beyond (Huber 1964).

    Attributes:
        scale: Residual at which the loss turns linear, in units of the residual.
    """

    scale: float

    def __call__(self, residual: Tensor, /) -> tuple[Tensor, Tensor]:
        """Loss and weight; see `RobustLoss`."""
        size = residual.abs()
        linear = self.scale * (size - 0.5 * self.scale)
        loss = torch.where(size <= self.scale, 0.5 * residual.square(), linear)
        return loss, self.scale / size.clamp(min=self.scale)


@dataclass(frozen=True, kw_only=True)
class PseudoHuber:
    """Smooth Huber, ρ(r) = c²(√(1 + (r/c)²) − 1), also called Charbonnier.

    Attributes:
        scale: c, where the loss turns from quadratic to linear, in units of the residual.
    """

    scale: float

    def __call__(self, residual: Tensor, /) -> tuple[Tensor, Tensor]:
        """Loss and weight; see `RobustLoss`."""
        root = (1 + (residual / self.scale).square()).sqrt()
        # r²/(1 + √…) is c²(√… − 1) without the cancellation that float32 suffers at small residuals.
        return residual.square() / (1 + root), 1 / root


@dataclass(frozen=True, kw_only=True)
class Cauchy:
    """Logarithmic growth, ρ(r) = c²/2 · log(1 + (r/c)²).

    Attributes:
        scale: c, beyond which a residual pulls ever less, in units of the residual.
    """

    scale: float

    def __call__(self, residual: Tensor, /) -> tuple[Tensor, Tensor]:
        """Loss and weight; see `RobustLoss`."""
        square = (residual / self.scale).square()
        return 0.5 * self.scale**2 * square.log1p(), 1 / (1 + square)


@dataclass(frozen=True, kw_only=True)
class GemanMcClure:
    """Bounded loss, ρ(r) = r²/2 / (1 + (r/c)²) (Geman & McClure 1987): gross outliers pull with nothing.

    Attributes:
        scale: c, in units of the residual: the loss saturates at c²/2.
    """

    scale: float

    def __call__(self, residual: Tensor, /) -> tuple[Tensor, Tensor]:
        """Loss and weight; see `RobustLoss`."""
        weight = 1 / (1 + (residual / self.scale).square())
        return 0.5 * residual.square() * weight, weight.square()
