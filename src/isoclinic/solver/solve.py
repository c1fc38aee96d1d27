"""Batched, differentiable Levenberg-Marquardt on a manifold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import UsageError
from .acceptance import DampingUpdate, Marquardt, Nielsen, gain_ratio
from .descent import DampedStep
from .problem import Linearization, Problem
from .termination import (
    Gradient,
    MaxSteps,
    NonFinite,
    Progress,
    Reason,
    Rule,
    Singular,
    SmallDecrease,
    SmallStep,
    Stalled,
    Status,
    StepDeviation,
    fired_rules,
    moved_distance,
)


@dataclass(frozen=True, kw_only=True)
class LMConfig:
    """Settings of `levenberg_marquardt`. A tolerance of 0 switches its rule off.

    Attributes:
        max_steps: Trial steps, accepted or not, after which an item stops; each costs one evaluation.
        step_scale: Length of tangent that counts as one scaled unit, per parameter (for a pose in rad and mm:
            1/ρ three times, then 1 three times); None for ones. Every step length is measured in it.
        max_step: Longest step [scaled units]; longer ones are shortened along their direction.
        damping_matrix: What λ multiplies: the Hessian's diagonal, or the identity in scaled units times the
            largest entry of that diagonal.
        initial_damping: λ of the first step [no unit].
        min_damping: λ never falls below this [no unit].
        max_damping: λ above which an item stops as stalled, or as diverged if its trials failed [no unit].
        damping_update: How λ follows success: by the gain ratio (nielsen) or by fixed factors (marquardt).
        damping_increase: Factor on λ after a rejected step; nielsen doubles it with each further rejection.
        damping_decrease: Divisor of λ after an accepted step; with nielsen the largest such divisor.
        min_gain: A step is accepted if the cost falls by more than this fraction of the predicted decrease.
        step_deviation_tolerance: Stop once the standard deviation of the distance moved per iteration, over
            the window, is below this [scaled units].
        step_deviation_window: Iterations in that window.
        step_tolerance: Stop after a trial step shorter than this [scaled units].
        decrease_tolerance: Stop after an accepted step that lowered the cost by less than this fraction.
        gradient_tolerance: Stop once the cosine between the residual and every Jacobian column is below this.
    """

    max_steps: int = 50
    step_scale: tuple[float, ...] | None = None
    max_step: float = math.inf
    damping_matrix: Literal["diagonal", "identity"] = "diagonal"
    initial_damping: float = 1e-2
    min_damping: float = 1e-6
    max_damping: float = 1e8
    damping_update: Literal["nielsen", "marquardt"] = "nielsen"
    damping_increase: float = 2.0
    damping_decrease: float = 3.0
    min_gain: float = 1e-4
    step_deviation_tolerance: float = 1e-2
    step_deviation_window: int = 10
    step_tolerance: float = 1e-3
    decrease_tolerance: float = 1e-6
    gradient_tolerance: float = 1e-6

    def __post_init__(self) -> None:
        """Raises UsageError for values with which the iteration cannot work."""
        demands = {
            "max_steps must not be negative": self.max_steps >= 0,
            "step_scale must be positive": all(s > 0 for s in self.step_scale or ()),
            "max_step must be positive": self.max_step > 0,
            "need 0 < min_damping <= initial_damping <= max_damping": (
                0 < self.min_damping <= self.initial_damping <= self.max_damping
            ),
            "damping_increase and damping_decrease must be above 1": (
                self.damping_increase > 1 and self.damping_decrease > 1
            ),
            "min_gain must be at least 0 and below 1": 0 <= self.min_gain < 1,
            "step_deviation_window must be at least 2": self.step_deviation_window >= 2,
        }
        for demand, met in demands.items():
            if not met:
                raise UsageError(f"Levenberg-Marquardt settings: {demand}.", code="solver.invalid-value")


@dataclass(frozen=True, kw_only=True)
class Trace:
    """The history of a solution: row 0 is the start, and row t is the state after t trial steps.

    All are [T, B] (x: [T, B, ...]) and detached, NaN (or False) once an item has stopped.

    Attributes:
        x: Best point so far.
        cost: Cost of the best point so far.
        damping: λ for the next trial.
        step_length: Scaled length of the trial step; NaN in row 0 and where no step could be computed.
        accepted: Whether the trial was accepted; the start counts as accepted.
    """

    x: Tensor
    cost: Tensor
    damping: Tensor
    step_length: Tensor
    accepted: Tensor


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The point at which each of B items ended, and the reason.

    Attributes:
        x: [B, ...], the best points found.
        cost: [B], their costs.
        gradient: [B, P], at x.
        hessian: [B, P, P], Gauss-Newton, at x; its inverse times the residual variance is a covariance.
        reason: B reasons to stop.
        steps: [B] int64, trial steps taken; the evaluations are one more.
        trace: The history.
    """

    x: Tensor
    cost: Tensor
    gradient: Tensor
    hessian: Tensor
    reason: tuple[Reason, ...]
    steps: Tensor
    trace: Trace

    @property
    def status(self) -> tuple[Status, ...]:
        """B statuses."""
        return tuple(reason.status for reason in self.reason)


class _Active(NamedTuple):
    """Rows of the b items still running."""

    items: Tensor
    x: Tensor
    at: Linearization
    damping: Tensor
    growth: Tensor
    recent: Tensor

    def select(self, mask: Tensor) -> _Active:
        return _Active(
            self.items[mask],
            self.x[mask],
            self.at.select(mask),
            self.damping[mask],
            self.growth[mask],
            self.recent[mask],
        )


def levenberg_marquardt(
    problem: Problem,
    x0: Tensor,
    config: LMConfig,
    *,
    initial_damping: Tensor | None = None,
    watch: Callable[[Tensor, Tensor], None] | None = None,
) -> Solution:
    """Minimises B independent costs from x0 [B, ...], never raising for want of convergence.

    Every item has its own damping and stops by itself; stopped items are not evaluated again. A trial is
    evaluated once, with its derivatives, so an accepted one needs no second pass.

    Under autograd the whole iteration is recorded: x, cost, gradient and hessian are differentiable in x0, in
    `initial_damping` and in whatever tensors the problem closes over. (A trial that evaluates to NaN is
    rejected, but the problem's own backward must not turn the zero gradient it gets there into NaN.)

    Args:
        problem: Cost, derivatives and retraction.
        x0: [B, ...] starting points; their dtype is kept.
        config: Settings.
        initial_damping: λ of the first step, [B] or a scalar tensor, in place of `config.initial_damping`.
        watch: called before every iteration with the points [b, ...] of the items that are still running, and
            their costs [b]; what it raises ends the minimisation.

    Raises:
        UsageError: `config.step_scale` does not have one entry per parameter.
    """
    items = torch.arange(len(x0), device=x0.device)
    at = problem.linearize(x0, items)
    damping = config.initial_damping if initial_damping is None else initial_damping
    active = _Active(
        items=items,
        x=x0,
        at=at,
        damping=torch.as_tensor(damping, dtype=at.cost.dtype, device=at.cost.device).expand_as(at.cost),
        growth=torch.full_like(at.cost, config.damping_increase),
        recent=at.cost.new_full((len(x0), config.step_deviation_window), math.nan),
    )
    descent = DampedStep(
        damping_matrix=config.damping_matrix,
        scale=_step_scale(config, at.gradient),
        max_length=config.max_step,
    )
    update = _damping_update(config)
    rules = _rules(config)
    progress = _start(active)
    stopped: list[_Stopped] = []
    rows: list[_Row] = []
    while True:
        if watch is not None:
            watch(active.x.detach(), active.at.cost.detach())
        with torch.no_grad():
            rows.append(_row(active, progress))
            fired = fired_rules(rules, progress)
            stop = fired.any(-1)
        if stop.all():
            stopped.append(_Stopped(active, fired, progress.iteration))
            return _solution(stopped, rows, rules)
        if stop.any():
            stopped.append(_Stopped(active.select(stop), fired[stop], progress.iteration))
            active = active.select(~stop)
        active, progress = _iterate(problem, active, progress.iteration + 1, descent, update, config)


def _iterate(
    problem: Problem,
    active: _Active,
    iteration: int,
    descent: DampedStep,
    update: DampingUpdate,
    config: LMConfig,
) -> tuple[_Active, Progress]:
    step = descent(active.at, active.damping)
    trial_x = problem.retract(active.x, step.delta.to(active.x.dtype))
    trial = problem.linearize(trial_x, active.items)
    gain = gain_ratio(active.at, trial, step.predicted)
    accepted = gain > config.min_gain
    damping, growth = update(active.damping, active.growth, gain, accepted)
    moved = moved_distance(step.length.detach(), accepted, step.capped)
    following = _Active(
        items=active.items,
        x=torch.where(accepted.view(-1, *[1] * (trial_x.ndim - 1)), trial_x, active.x),
        at=active.at.replace(accepted, trial),
        damping=damping.clamp(min=config.min_damping),
        growth=growth,
        recent=torch.cat((active.recent[:, 1:], moved[:, None]), 1),
    )
    return following, Progress(
        iteration=iteration,
        at=following.at,
        accepted=accepted,
        decrease=active.at.cost - following.at.cost,
        step_length=step.length,
        recent=following.recent,
        damping=following.damping,
        trial_finite=trial.finite,
    )


def _start(active: _Active) -> Progress:
    return Progress(
        iteration=0,
        at=active.at,
        accepted=torch.ones_like(active.items, dtype=torch.bool),
        decrease=torch.full_like(active.damping, math.inf),
        step_length=torch.full_like(active.damping, math.nan),
        recent=active.recent,
        damping=active.damping,
        trial_finite=active.at.finite,
    )


def _step_scale(config: LMConfig, gradient: Tensor) -> Tensor:
    parameters = gradient.shape[-1]
    scale = config.step_scale or (1.0,) * parameters
    if len(scale) != parameters:
        raise UsageError(
            f"step_scale has {len(scale)} entries, but the problem has {parameters} parameters: give as "
            "many.",
            code="solver.invalid-value",
        )
    return torch.tensor(scale, dtype=gradient.dtype, device=gradient.device)


def _damping_update(config: LMConfig) -> DampingUpdate:
    kind = Nielsen if config.damping_update == "nielsen" else Marquardt
    return kind(increase=config.damping_increase, decrease=config.damping_decrease)


def _rules(config: LMConfig) -> tuple[Rule, ...]:
    """The first rule that fires names the reason, so failures precede successes and the budget comes last."""
    return (
        NonFinite(max_damping=config.max_damping),
        Singular(max_damping=config.max_damping),
        Gradient(tolerance=config.gradient_tolerance),
        SmallStep(tolerance=config.step_tolerance),
        SmallDecrease(tolerance=config.decrease_tolerance),
        StepDeviation(tolerance=config.step_deviation_tolerance),
        Stalled(max_damping=config.max_damping),
        MaxSteps(max_steps=config.max_steps),
    )


class _Row(NamedTuple):
    """One iteration of the trace, of the items [b].

    Attributes:
        items: [b], which they are.
        x: [b, ...], their points.
        values: cost, λ, step length and acceptance, stacked [4, b].
    """

    items: Tensor
    x: Tensor
    values: Tensor


class _Stopped(NamedTuple):
    """Items that stopped in the same iteration, with the rules [b, R] that stopped them."""

    active: _Active
    fired: Tensor
    iteration: int


def _row(active: _Active, progress: Progress) -> _Row:
    cost = progress.at.cost
    columns = (cost, progress.damping, progress.step_length, progress.accepted.to(cost))
    return _Row(active.items, active.x, torch.stack(columns))


def _trace(rows: list[_Row], batch: int) -> Trace:
    values = torch.cat([row.values for row in rows], 1)
    items = torch.cat([row.items for row in rows])
    counts = torch.tensor([len(row.items) for row in rows], device=items.device)
    iterations = torch.arange(len(rows), device=items.device).repeat_interleave(counts)
    table = values.new_full((4, len(rows), batch), math.nan)
    table[:, iterations, items] = values
    points = torch.cat([row.x for row in rows]).detach()
    x = points.new_full((len(rows), batch, *points.shape[1:]), math.nan)
    x[iterations, items] = points
    return Trace(x=x, cost=table[0], damping=table[1], step_length=table[2], accepted=table[3] == 1)


def _solution(stopped: list[_Stopped], rows: list[_Row], rules: tuple[Rule, ...]) -> Solution:
    # Items stop in any order; sorting their indices puts the rows back.
    order = torch.cat([group.active.items for group in stopped]).argsort()
    first = torch.cat([group.fired for group in stopped])[order].byte().argmax(-1)
    steps = torch.cat([torch.full_like(group.active.items, group.iteration) for group in stopped])[order]
    return Solution(
        x=torch.cat([group.active.x for group in stopped])[order],
        cost=torch.cat([group.active.at.cost for group in stopped])[order],
        gradient=torch.cat([group.active.at.gradient for group in stopped])[order],
        hessian=torch.cat([group.active.at.hessian for group in stopped])[order],
        reason=tuple(rules[index].reason for index in first.tolist()),
        steps=steps,
        trace=_trace(rows, len(order)),
    )
