import math

import pytest
import torch

from isoclinic.solver.acceptance import Marquardt, Nielsen, gain_ratio
from isoclinic.solver.problem import Linearization


def _tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def _at(*costs: float) -> Linearization:
    batch = len(costs)
    return Linearization(_tensor(*costs), torch.zeros(batch, 2).double(), torch.zeros(batch, 2, 2).double())


def test_gain_is_actual_over_predicted_decrease():
    gain = gain_ratio(_at(4.0, 4.0, 4.0), _at(2.0, 4.0, 5.0), _tensor(2.0, 1.0, 0.5))
    torch.testing.assert_close(gain, _tensor(1.0, 0.0, -2.0))


def test_gain_is_zero_where_nothing_can_be_said():
    trial = _at(math.nan, math.inf, -math.inf, 1.0, 1.0, 1.0)
    trial.gradient[3, 0] = math.nan
    gain = gain_ratio(_at(*[4.0] * 6), trial, _tensor(1.0, 1.0, 1.0, 1.0, 0.0, -1.0))
    assert gain.tolist() == [0.0] * 6


def test_nan_trials_leave_no_nan_in_the_derivative():
    cost, trial_cost = _tensor(4.0, 4.0).requires_grad_(), _tensor(2.0, math.nan).requires_grad_()
    at, trial = _at(0.0, 0.0), _at(0.0, 0.0)
    gain = gain_ratio(
        Linearization(cost, at.gradient, at.hessian),
        Linearization(trial_cost, trial.gradient, trial.hessian),
        _tensor(2.0, 2.0),
    )
    damping, _ = Nielsen(increase=2.0, decrease=3.0)(_tensor(1.0, 1.0), _tensor(2.0, 2.0), gain, gain > 0)
    (gain.sum() + damping.sum()).backward()
    assert cost.grad.isfinite().all()
    assert trial_cost.grad.isfinite().all()


@pytest.mark.parametrize(
    ("gain", "factor"),
    [
        # 1 − (2ϱ − 1)³ by hand; the floor 1/3 is met where (2ϱ − 1)³ = 2/3, at ϱ = 0.93679.
        (0.0625, 1 + 0.875**3),
        (0.25, 1.125),
        (0.5, 1.0),
        (0.75, 0.875),
        (0.93, 1 - 0.86**3),
        (0.9367, 1 - 0.8734**3),
        (0.9369, 1 / 3),
        (1.0, 1 / 3),
        (3.0, 1 / 3),
    ],
)
def test_nielsen_follows_his_formula(gain: float, factor: float):
    update = Nielsen(increase=2.0, decrease=3.0)
    damping, growth = update(_tensor(0.6), _tensor(16.0), _tensor(gain), torch.tensor([True]))
    assert damping.item() == pytest.approx(0.6 * factor, rel=1e-12)
    assert growth.item() == 2.0


def test_nielsen_raises_damping_ever_faster():
    update = Nielsen(increase=2.0, decrease=3.0)
    damping, growth = _tensor(1.0), _tensor(2.0)
    seen = []
    for _ in range(4):
        damping, growth = update(damping, growth, _tensor(-1.0), torch.tensor([False]))
        seen.append(damping.item())
    assert seen == [2.0, 8.0, 64.0, 1024.0]


def test_marquardt_multiplies_and_divides():
    update = Marquardt(increase=5.0, decrease=4.0)
    accepted = torch.tensor([True, False])
    damping, growth = update(_tensor(1.0, 1.0), _tensor(5.0, 5.0), _tensor(0.9, -0.1), accepted)
    assert damping.tolist() == [0.25, 5.0]
    damping, growth = update(damping, growth, _tensor(0.01, -0.1), accepted)
    assert damping.tolist() == [0.0625, 25.0]
