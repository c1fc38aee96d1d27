"""Rules that say whether a trial step is accepted, and how the damping changes after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from .problem import Linearization


def gain_ratio(at: Linearization, trial: Linearization, predicted: Tensor) -> Tensor:
    """Actual over predicted decrease of the cost [B]: 1 where the quadratic model is exact.

    0, hence never accepted, where the trial is not finite or no decrease was predicted.
    """
    usable = trial.finite & (predicted > 0)
    # Both operands are replaced, not the quotient: a NaN would come back through the derivative.
    trial_cost = torch.where(usable, trial.cost, at.cost)
    return (at.cost - trial_cost) / torch.where(usable, predicted, 1.0)


class DampingUpdate(Protocol):
    """Turns the outcome of a trial into the next damping λ and the factor by which a rejection raises it."""

    def __call__(
        self, damping: Tensor, growth: Tensor, gain: Tensor, accepted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Next (λ, growth), both [B], from the present ones, the gain ratio [B] and the decision [B] bool."""
        ...


@dataclass(frozen=True, kw_only=True)
class Marquardt:
    """Divide λ after a success, multiply it after a failure (Marquardt 1963).

    Attributes:
        increase: Factor on λ after a rejected step.
        decrease: Divisor of λ after an accepted step.
    """

    increase: float
    decrease: float

    def __call__(
        self, damping: Tensor, growth: Tensor, gain: Tensor, accepted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Next (λ, growth); see `DampingUpdate`."""
        return torch.where(accepted, damping / self.decrease, damping * growth), growth


@dataclass(frozen=True, kw_only=True)
class Nielsen:
    """λ follows the gain ratio ϱ smoothly; failures in a row raise it ever faster (Nielsen 1999, eq. 2.6).

    Accepted: λ ← λ max(1/decrease, 1 − (2ϱ − 1)³), growth ← increase.
    Rejected: λ ← λ growth, growth ← 2 growth.

    Attributes:
        increase: Factor on λ after the first rejected step (Nielsen: 2).
        decrease: Largest divisor of λ after an accepted step (Nielsen: 3).
    """

    increase: float
    decrease: float

    def __call__(
        self, damping: Tensor, growth: Tensor, gain: Tensor, accepted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Next (λ, growth); see `DampingUpdate`."""
        factor = (1 - (2 * gain - 1) ** 3).clamp(min=1 / self.decrease)
        return (
            torch.where(accepted, damping * factor, damping * growth),
            torch.where(accepted, self.increase, 2 * growth),
        )
