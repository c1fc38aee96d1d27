"""The damped Gauss-Newton step of Levenberg and Marquardt."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .problem import Linearization


class Step(NamedTuple):
    """A proposed step of B items.

    Attributes:
        delta: [B, P], tangent to move along; zero where the damped matrix could not be factorised.
        length: [B], ‖δ / scale‖; NaN where the damped matrix could not be factorised.
        predicted: [B], decrease of the cost that the quadratic model promises.
        capped: [B] bool, whether `max_length` shortened the step.
    """

    delta: Tensor
    length: Tensor
    predicted: Tensor
    capped: Tensor


@dataclass(frozen=True, kw_only=True)
class DampedStep:
    """Solves (H + λD) δ = −g in the scaled tangent z = δ / scale, where D is one of two diagonals.

    `"diagonal"`: D = diag(H) (Marquardt 1963), indifferent to units. `"identity"`: in scaled units D is the
    identity times the largest diagonal entry of H (Levenberg 1944 in the scaling of Nielsen 1999, §2). Either
    way λ is a pure number: it means the same for every cost, weight and resolution.

    Attributes:
        damping_matrix: Which D.
        scale: [P], the length of tangent that counts as one unit of each parameter.
        max_length: Longest scaled step; longer ones are shortened along their direction.
    """

    damping_matrix: Literal["diagonal", "identity"]
    scale: Tensor
    max_length: float

    @cached_property
    def _scale_product(self) -> Tensor:
        return torch.outer(self.scale, self.scale)

    def __call__(self, at: Linearization, damping: Tensor) -> Step:
        """The step from `at` with damping λ [B]."""
        gradient = at.gradient * self.scale
        hessian = at.hessian * self._scale_product
        curvature = hessian.diagonal(dim1=-2, dim2=-1)
        largest = curvature.amax(-1, keepdim=True)
        # Without a floor a parameter of no influence would leave the matrix singular at every λ.
        floor = largest * (torch.finfo(largest.dtype).eps if self.damping_matrix == "diagonal" else 1.0)
        diagonal = torch.maximum(curvature, floor)
        damped = hessian + torch.diag_embed(damping[:, None] * diagonal)
        z, failed = solve_positive_definite(damped, -gradient)
        length = torch.linalg.vector_norm(z, dim=-1)
        capped = length > self.max_length
        if math.isfinite(self.max_length):
            z = z * (self.max_length / length.clamp(min=self.max_length))[:, None]
            length = length.clamp(max=self.max_length)
        predicted = -(z * (gradient + 0.5 * (hessian @ z[..., None]).squeeze(-1))).sum(-1)
        return Step(z * self.scale, length.masked_fill(failed, math.nan), predicted, capped)


def solve_positive_definite(matrix: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solutions z [B, P] of matrix z = right, and which items [B] bool have none.

    An item whose `matrix` [B, P, P] is not positive definite gets a zero solution without derivative.
    """
    factor, info = torch.linalg.cholesky_ex(matrix)
    failed = info != 0
    if failed.any():
        # Replaced before the factorisation: a failed factor's derivative is NaN and would reach everything.
        identity = torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device)
        factor = torch.linalg.cholesky(torch.where(failed[:, None, None], identity, matrix))
        right = torch.where(failed[:, None], 0.0, right)
    return torch.cholesky_solve(right[..., None], factor).squeeze(-1), failed
