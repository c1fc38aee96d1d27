"""When an item stops, and why: one small rule per reason."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from .problem import Linearization


class Status(StrEnum):
    """The status of a result: how far it can be relied on."""

    CONVERGED = "converged"
    MAX_STEPS = "max_steps"
    DIVERGED = "diverged"
    DOUBTFUL = "doubtful"
    """A check of the registration pipeline (never of the solver) failed."""


class Reason(StrEnum):
    """The rule that stopped an item."""

    NON_FINITE = "non_finite"
    SINGULAR = "singular"
    GRADIENT = "gradient"
    STEP_DEVIATION = "step_deviation"
    SMALL_STEP = "small_step"
    SMALL_DECREASE = "small_decrease"
    STALLED = "stalled"
    MAX_STEPS = "max_steps"

    @property
    def status(self) -> Status:
        """Return what the reason means for the result."""
        if self in (Reason.NON_FINITE, Reason.SINGULAR):
            return Status.DIVERGED
        return Status.MAX_STEPS if self is Reason.MAX_STEPS else Status.CONVERGED

    @property
    def explanation(self) -> str:
        """What happened, for people to read: a sentence without capital and full stop."""
        return _EXPLANATIONS[self]


_EXPLANATIONS = {
    Reason.NON_FINITE: "the cost or its derivatives were not finite",
    Reason.SINGULAR: "the equations of a step had no solution",
    Reason.GRADIENT: "the gradient fell below its tolerance",
    Reason.STEP_DEVIATION: "the lengths of the last steps hardly differed",
    Reason.SMALL_STEP: "the steps became shorter than the tolerance",
    Reason.SMALL_DECREASE: "the cost hardly fell any more",
    Reason.STALLED: "no step, however short, lowered the cost",
    Reason.MAX_STEPS: "the limit of steps was reached",
}


class Progress(NamedTuple):
    """The state of the b running items after an iteration; iteration 0 is the starting point.

    Attributes:
        iteration: Trial steps so far.
        at: Linearization at the best point so far (the trial, if it was accepted).
        accepted: [b] bool, whether the trial was accepted.
        decrease: [b], decrease of the cost; meaningless where the trial was rejected.
        step_length: [b], scaled length of the trial step; NaN at the start and where there is no step.
        recent: [b, window], scaled distance moved in the last iterations, NaN where it says nothing.
        damping: [b], λ for the next trial.
        trial_finite: [b] bool, whether the trial's cost and derivatives were finite.
    """

    iteration: int
    at: Linearization
    accepted: Tensor
    decrease: Tensor
    step_length: Tensor
    recent: Tensor
    damping: Tensor
    trial_finite: Tensor


class Rule(Protocol):
    """Marks the items [b] that shall stop for `reason`."""

    reason: ClassVar[Reason]

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        ...


@dataclass(frozen=True, kw_only=True)
class NonFinite:
    """The start is not finite, or every trial around the best point was not, however short.

    Attributes:
        max_damping: λ beyond which no shorter step is tried.
    """

    max_damping: float
    reason: ClassVar[Reason] = Reason.NON_FINITE

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        if progress.iteration == 0:
            return ~progress.trial_finite
        return ~progress.trial_finite & (progress.damping > self.max_damping)


@dataclass(frozen=True, kw_only=True)
class Singular:
    """No parameter has any influence on the cost, or no damping makes the normal equations solvable.

    Attributes:
        max_damping: λ beyond which no more is tried.
    """

    max_damping: float
    reason: ClassVar[Reason] = Reason.SINGULAR

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        flat = progress.at.hessian.diagonal(dim1=-2, dim2=-1).amax(-1) <= 0
        return flat | (progress.step_length.isnan() & (progress.damping > self.max_damping))


@dataclass(frozen=True, kw_only=True)
class Gradient:
    """|gᵢ| < tolerance √(2 F Hᵢᵢ) for every parameter.

    For least squares that is MINPACK's `gtol` (Moré 1978): the cosine of the angle between the residual and
    every column of its Jacobian, free of units.

    Attributes:
        tolerance: Cosine below which an item stops.
    """

    tolerance: float
    reason: ClassVar[Reason] = Reason.GRADIENT

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        at = progress.at
        reach = (2 * at.cost[:, None] * at.hessian.diagonal(dim1=-2, dim2=-1)).sqrt()
        return (at.gradient.abs() < self.tolerance * reach).all(-1)


@dataclass(frozen=True, kw_only=True)
class StepDeviation:
    """The scaled distance moved per iteration has settled: its standard deviation over a window is small.

    The rule of the spherical-similarity paper (ten iterations, 1e-2). A rejected trial moved by zero. A step
    that the length limit shortened says nothing: equally long shortened steps are a march, not a rest.

    Attributes:
        tolerance: Population standard deviation below which an item stops, in scaled units.
    """

    tolerance: float
    reason: ClassVar[Reason] = Reason.STEP_DEVIATION

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        centred = progress.recent - progress.recent.mean(-1, keepdim=True)
        deviation = torch.linalg.vector_norm(centred, dim=-1) / math.sqrt(centred.shape[-1])
        return deviation < self.tolerance


@dataclass(frozen=True, kw_only=True)
class SmallStep:
    """The trial step, accepted or not, was too short to matter.

    Attributes:
        tolerance: Scaled length below which an item stops.
    """

    tolerance: float
    reason: ClassVar[Reason] = Reason.SMALL_STEP

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        return progress.step_length < self.tolerance


@dataclass(frozen=True, kw_only=True)
class SmallDecrease:
    """An accepted step lowered the cost by too small a fraction of itself.

    Attributes:
        tolerance: Decrease over cost below which an item stops.
    """

    tolerance: float
    reason: ClassVar[Reason] = Reason.SMALL_DECREASE

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        before = progress.at.cost + progress.decrease
        return progress.accepted & (progress.decrease < self.tolerance * before)


@dataclass(frozen=True, kw_only=True)
class Stalled:
    """No step, however short, lowers the cost: the point is a minimum to the cost's own precision.

    Attributes:
        max_damping: λ beyond which no shorter step is tried.
    """

    max_damping: float
    reason: ClassVar[Reason] = Reason.STALLED

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        return progress.damping > self.max_damping


@dataclass(frozen=True, kw_only=True)
class MaxSteps:
    """The budget of trial steps is spent.

    Attributes:
        max_steps: The budget.
    """

    max_steps: int
    reason: ClassVar[Reason] = Reason.MAX_STEPS

    def __call__(self, progress: Progress, /) -> Tensor:
        """Which items stop: [b] bool."""
        return torch.full_like(progress.accepted, progress.iteration >= self.max_steps)


def moved_distance(step_length: Tensor, accepted: Tensor, capped: Tensor) -> Tensor:
    """The entry [b] of one iteration in `Progress.recent`."""
    moved = torch.where(accepted, step_length, 0.0)
    return moved.masked_fill(capped | step_length.isnan(), math.nan)


def fired_rules(rules: tuple[Rule, ...], progress: Progress) -> Tensor:
    """Which of the R rules want which item to stop: [b, R] bool."""
    return torch.stack([rule(progress) for rule in rules], -1)
