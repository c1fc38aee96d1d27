"""Saturation, sharpening and grey levels: each on its own, against its definition."""

from dataclasses import replace

import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.training.randomization_config import WorkstationConfig
from isoclinic.training.workstation import WorkstationParameters, apply_workstation, draw_workstation
from raising import raises

NOTHING = WorkstationParameters(
    black=torch.tensor([torch.inf]),
    white=torch.zeros(1),
    sharpening=torch.zeros(1),
    sharpening_range=torch.full((1,), 0.05),
    levels=torch.zeros(1),
)
IMAGE = 3 * torch.rand(1, 16, 24, generator=torch.Generator().manual_seed(0))


def test_nothing_changes_nothing():
    assert torch.equal(apply_workstation(IMAGE, NOTHING), IMAGE)


def test_what_is_thin_or_dense_saturates():
    parameters = replace(NOTHING, black=torch.tensor([1.5]), white=torch.tensor([0.4]))
    torch.testing.assert_close(apply_workstation(IMAGE, parameters), IMAGE.clamp(0.4, 1.9) - 0.4)


def test_sharpening_adds_what_a_blur_takes_away():
    """An edge overshoots on both sides, and by nothing far from it; blurring does not."""
    edge = (torch.arange(48) >= 24).float().expand(1, 8, 48) + 1.0
    sharp = apply_workstation(edge, replace(NOTHING, sharpening=torch.ones(1)))
    assert float(sharp.max()) > 2.3 and float(sharp.min()) < 0.7
    torch.testing.assert_close(sharp[..., [0, 47]], edge[..., [0, 47]], atol=1e-4, rtol=0)
    soft = apply_workstation(edge, replace(NOTHING, sharpening=-torch.ones(1)))
    assert float(soft.min()) >= 1 - 1e-6 and float(soft.max()) <= 2 + 1e-6
    assert float((soft[..., 24] - soft[..., 23]).max()) < 0.5


def test_grey_levels():
    few = apply_workstation(IMAGE, replace(NOTHING, levels=torch.full((1,), 4.0)))
    step = float(IMAGE.max()) / 4
    torch.testing.assert_close(few / step, (few / step).round())
    assert float((few - IMAGE).abs().max()) <= step / 2 + 1e-6
    assert len(few.unique()) == 5


def test_draws_are_within_their_ranges_and_repeat():
    config = WorkstationConfig(black_probability=1.0, white_probability=0.0)
    first, again = (draw_workstation(config, torch.Generator().manual_seed(2), 500) for _ in range(2))
    for name, value in vars(first).items():
        assert torch.equal(value, getattr(again, name))
    assert config.black[0] <= float(first.black.min()) and float(first.black.max()) <= config.black[1]
    assert (first.white == 0).all()
    share = float((first.sharpening != 0).float().mean())
    assert share == pytest.approx(config.sharpening_probability, abs=0.1)
    assert first.applied(0) and "black" in first.applied(0)[0]


def test_settings_that_cannot_be_are_refused():
    for settings in [
        {"levels": 1},
        {"black": (0.0, 1.0)},
        {"white": (-0.1, 0.2)},
        {"sharpening": (-2.0, 1.0)},
    ]:
        with raises(UsageError, "training.invalid-value", *settings):
            WorkstationConfig(**settings)
