"""Learning rates at the places where they are known by hand, and the weights' first step."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from isoclinic import UsageError
from isoclinic.training import OptimizerConfig
from raising import raises


@pytest.mark.parametrize(
    ("progress", "share"),
    [(-0.5, 1.0), (0.0, 1.0), (0.25, (1 + math.sqrt(0.5)) / 2), (0.5, 0.5), (1.0, 0.0), (1.5, 0.0)],
)
def test_a_cosine_falls_from_all_to_nothing(progress, share):
    rate = OptimizerConfig(schedule="cosine", learning_rate=0.02).rate(progress)
    assert rate == pytest.approx(0.02 * share, abs=1e-15)


@pytest.mark.parametrize(
    ("progress", "height"),
    [
        # Two cycles: each begins and ends low, the second half as high as the first.
        (0.0, 0.0),
        (0.125, 0.5),
        (0.25, 1.0),
        (0.5, 0.0),
        (0.75, 0.5),
        (0.875, 0.25),
        (1.0, 0.0),
        (2.0, 0.0),
    ],
)
def test_cycles_rise_and_fall_in_triangles(progress, height):
    config = OptimizerConfig(schedule="cyclic", cycles=2, learning_rate=0.02)
    assert config.rate(progress) == pytest.approx(0.02 * (0.1 + 0.9 * height))


def test_either_schedule_changes_smoothly_between_batches():
    """Slopes of the closed forms: pi / 2 for the cosine, 2 * 0.9 * cycles for triangles."""
    for config, slope in (
        (OptimizerConfig(learning_rate=1.0), math.pi / 2),
        (OptimizerConfig(learning_rate=1.0, schedule="cyclic", cycles=3), 2 * 0.9 * 3),
    ):
        rates = [config.rate(step / 1000) for step in range(1001)]
        steps = [abs(after - before) * 1000 for before, after in pairwise(rates)]
        assert max(steps) <= slope * (1 + 1e-9)
        assert min(rates) >= 0 and max(rates) == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("method", "decay"), [("adam", 0.0), ("adamw", 0.3)])
def test_the_first_step_of_the_optimiser(method, decay):
    """Adam's is the learning rate, against the gradient's sign; AdamW's shrinks the weight besides."""
    weight = nn.Parameter(torch.tensor([2.0, -3.0], dtype=torch.float64))
    config = OptimizerConfig(method=method, learning_rate=0.1, weight_decay=0.3)
    optimizer = config.optimizer([weight])
    weight.grad = torch.tensor([5.0, -1e-3], dtype=torch.float64)
    optimizer.step()
    expected = torch.tensor([2.0, -3.0]) * (1 - 0.1 * decay) - 0.1 * torch.tensor([1.0, -1.0])
    # Of the 1e-8 that Adam adds to the gradient's size.
    torch.testing.assert_close(weight.data, expected.double(), rtol=1e-4, atol=0.0)


@pytest.mark.parametrize(
    "change",
    [
        {"method": "sgd"},
        {"schedule": "flat"},
        {"learning_rate": 0.0},
        {"clip_norm": -1.0},
        {"cycles": 0},
        {"weight_decay": -0.1},
    ],
)
def test_what_is_no_optimiser(change):
    with raises(UsageError, "training.invalid-value"):
        OptimizerConfig(**change)
