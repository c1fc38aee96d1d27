import math

import pytest
import torch

from isoclinic.solver.problem import Linearization
from isoclinic.solver.termination import (
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

MOVES = (0.50, 0.51, 0.49, 0.50, 0.51)  # population standard deviation √(2.8e-4 / 5) = 7.483e-3


def _tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _progress(**changes) -> Progress:
    """One item in good health that no rule below stops."""
    fields = {
        "iteration": 3,
        "cost": 2.0,
        "gradient": (3.0, 0.5),
        "curvature": (9.0, 4.0),
        "accepted": True,
        "decrease": 1.0,
        "step_length": 0.7,
        "recent": (0.1, 0.9, 0.4, 0.8, 0.2),
        "damping": 0.1,
        "trial_finite": True,
    } | changes
    return Progress(
        iteration=fields["iteration"],
        at=Linearization(
            _tensor(fields["cost"]),
            _tensor(*fields["gradient"])[None],
            torch.diag(_tensor(*fields["curvature"]))[None],
        ),
        accepted=torch.tensor([fields["accepted"]]),
        decrease=_tensor(fields["decrease"]),
        step_length=_tensor(fields["step_length"]),
        recent=_tensor(*fields["recent"])[None],
        damping=_tensor(fields["damping"]),
        trial_finite=torch.tensor([fields["trial_finite"]]),
    )


RULES = {
    Reason.NON_FINITE: NonFinite(max_damping=100.0),
    Reason.SINGULAR: Singular(max_damping=100.0),
    # √(2 F Hᵢᵢ) is (6, 4), so the cosines of the healthy item are 0.5 and 0.125.
    Reason.GRADIENT: Gradient(tolerance=0.2),
    Reason.STEP_DEVIATION: StepDeviation(tolerance=7.5e-3),
    Reason.SMALL_STEP: SmallStep(tolerance=0.05),
    Reason.SMALL_DECREASE: SmallDecrease(tolerance=1e-3),
    Reason.STALLED: Stalled(max_damping=100.0),
    Reason.MAX_STEPS: MaxSteps(max_steps=10),
}

CASES = [
    (Reason.NON_FINITE, {"iteration": 0, "trial_finite": False}, {"iteration": 1, "trial_finite": False}),
    (Reason.NON_FINITE, {"trial_finite": False, "damping": 101.0}, {"trial_finite": False, "damping": 100.0}),
    (Reason.NON_FINITE, {"trial_finite": False, "damping": 101.0}, {"damping": 101.0}),
    (Reason.SINGULAR, {"curvature": (0.0, 0.0)}, {"curvature": (0.0, 1e-300)}),
    (
        Reason.SINGULAR,
        {"step_length": math.nan, "damping": 101.0},
        {"step_length": math.nan, "damping": 100.0},
    ),
    (Reason.SINGULAR, {"step_length": math.nan, "damping": 101.0}, {"damping": 101.0}),
    (Reason.GRADIENT, {"gradient": (-1.19, 0.79)}, {"gradient": (-1.19, 0.81)}),
    (Reason.GRADIENT, {"gradient": (1.19, -0.79)}, {"gradient": (1.21, -0.79)}),
    # The same angles in other units: the cost, and one parameter, a million times larger.
    (
        Reason.GRADIENT,
        {"cost": 2e6, "gradient": (-1.19e6, 0.79e12), "curvature": (9e6, 4e18)},
        {"cost": 2e6, "gradient": (-1.19e6, 0.81e12), "curvature": (9e6, 4e18)},
    ),
    (Reason.STEP_DEVIATION, {"recent": MOVES}, {"recent": (*MOVES[:4], 0.511)}),
    (Reason.STEP_DEVIATION, {"recent": MOVES}, {"recent": (math.nan, *MOVES[1:])}),
    (Reason.SMALL_STEP, {"step_length": 0.049}, {"step_length": 0.051}),
    (Reason.SMALL_STEP, {"step_length": 0.0}, {"step_length": math.nan}),
    # 0.0019 / 2.0019 is below 1e-3, 0.0021 / 2.0021 is above.
    (Reason.SMALL_DECREASE, {"decrease": 0.0019}, {"decrease": 0.0021}),
    (Reason.SMALL_DECREASE, {"decrease": 0.0019}, {"decrease": 0.0019, "accepted": False}),
    (Reason.STALLED, {"damping": 101.0}, {"damping": 100.0}),
    (Reason.MAX_STEPS, {"iteration": 10}, {"iteration": 9}),
]


@pytest.mark.parametrize(("reason", "stops", "neighbour"), CASES)
def test_rule_fires_on_its_case_and_not_on_the_neighbour(reason: Reason, stops: dict, neighbour: dict):
    rule = RULES[reason]
    assert rule.reason is reason
    assert rule(_progress(**stops)).tolist() == [True]
    assert rule(_progress(**neighbour)).tolist() == [False]


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())
def test_an_item_in_good_health_goes_on(rule: Rule):
    assert rule(_progress()).tolist() == [False]


@pytest.mark.parametrize(
    "rule",
    [
        Gradient(tolerance=0.0),
        StepDeviation(tolerance=0.0),
        SmallStep(tolerance=0.0),
        SmallDecrease(tolerance=0.0),
    ],
)
def test_a_tolerance_of_zero_switches_the_rule_off(rule: Rule):
    at_rest = _progress(cost=0.0, gradient=(0.0, 0.0), decrease=0.0, step_length=0.0, recent=(0.0,) * 5)
    assert rule(at_rest).tolist() == [False]


def test_every_reason_has_a_rule_and_a_status():
    assert set(RULES) == set(Reason)
    assert {reason for reason in Reason if reason.status is Status.DIVERGED} == {"non_finite", "singular"}
    assert {reason for reason in Reason if reason.status is Status.MAX_STEPS} == {"max_steps"}
    assert Status.DOUBTFUL not in {reason.status for reason in Reason}


def test_rules_are_columns_in_their_order():
    rules = (SmallStep(tolerance=0.05), Stalled(max_damping=100.0), MaxSteps(max_steps=10))
    progress = _progress(step_length=0.01, iteration=10)
    assert fired_rules(rules, progress).tolist() == [[True, False, True]]


def test_moved_distance_counts_rejected_as_zero_and_ignores_shortened_and_failed_steps():
    moved = moved_distance(
        _tensor(0.3, 0.3, 0.3, math.nan),
        torch.tensor([True, False, True, False]),
        torch.tensor([False, False, True, False]),
    )
    assert moved[:2].tolist() == [0.3, 0.0]
    assert moved[2:].isnan().all()


def test_every_reason_is_explained_in_words_of_its_own():
    explanations = {reason.explanation for reason in Reason}
    assert len(explanations) == len(Reason)
    assert all(len(each.split()) > 3 and "_" not in each for each in explanations)
