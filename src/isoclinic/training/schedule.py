"""Optimisers and how their learning rate goes with the share of the training that is done."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

    import torch
    from torch import nn

Method = Literal["adam", "adamw"]
Schedule = Literal["cosine", "cyclic"]

# The lowest learning rate of a cycle, as a share of its highest; the paper does not give it.
_CYCLE_LOW = 0.1


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """How weights follow gradients.

    Attributes:
        method: "adam" (Kingma & Ba 2015) or "adamw" (Loshchilov & Hutter 2019).
        learning_rate: the highest one.
        weight_decay: of "adamw".
        schedule: "cosine" falls to zero (Loshchilov & Hutter 2017); "cyclic" rises and falls in triangles,
            each half as high as the one before (Smith 2017, "triangular2").
        cycles: of "cyclic".
        clip_norm: longest gradient; longer ones are shortened.

    Raises:
        UsageError: another method or schedule, or a number that is not positive.
    """

    method: Method = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    schedule: Schedule = "cosine"
    cycles: int = 4
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        if self.method not in get_args(Method) or self.schedule not in get_args(Schedule):
            raise UsageError(
                f"an optimiser's method is one of {', '.join(get_args(Method))} and its schedule one of "
                f"{', '.join(get_args(Schedule))}, not {self.method!r} and {self.schedule!r}",
                code="training.invalid-value",
            )
        if not (self.learning_rate > 0 and self.clip_norm > 0 and self.cycles > 0 and self.weight_decay >= 0):
            raise UsageError(
                "learning_rate, clip_norm and cycles must be positive, weight_decay not negative",
                code="training.invalid-value",
            )

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """An optimiser of these parameters."""
        import torch  # options do without

        if self.method == "adam":
            return torch.optim.Adam(parameters, lr=self.learning_rate)
        return torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)

    def rate(self, progress: float) -> float:
        """Learning rate when a share of the training, 0 to 1, is done."""
        progress = min(max(progress, 0.0), 1.0)
        if self.schedule == "cosine":
            return self.learning_rate * (1 + math.cos(math.pi * progress)) / 2
        cycle, place = divmod(progress * self.cycles, 1.0)
        height = (1 - abs(2 * place - 1)) / 2**cycle
        return self.learning_rate * (_CYCLE_LOW + (1 - _CYCLE_LOW) * height)
