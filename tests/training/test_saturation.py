"""The limits of a detector, against the definition."""

import math

import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.training.hospital_config import SaturationConfig
from isoclinic.training.saturation import SaturationParameters, apply_saturation, draw_saturation
from raising import raises

IMAGE = 3 * torch.rand(1, 16, 24, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("black", "white"), [(math.inf, 0.0), (1.5, 0.0), (math.inf, 0.4), (1.5, 0.4)])
def test_what_is_thin_or_dense_saturates(black, white):
    parameters = SaturationParameters(black=torch.tensor([black]), white=torch.tensor([white]))
    expected = IMAGE.clamp(white, white + black) - white
    torch.testing.assert_close(apply_saturation(IMAGE, parameters), expected)
    assert len(parameters.applied(0)) == math.isfinite(black) + (white > 0)


def test_draws_are_within_their_ranges_and_repeat():
    config = SaturationConfig(black_probability=0.6, white_probability=0.0)
    first, again = (draw_saturation(config, torch.Generator().manual_seed(2), 500) for _ in range(2))
    assert torch.equal(first.black, again.black) and (first.white == 0).all()
    black = first.black[first.black.isfinite()]
    assert config.black[0] <= float(black.min()) and float(black.max()) <= config.black[1]
    # Five standard deviations of 500 draws.
    assert len(black) / 500 == pytest.approx(0.6, abs=0.11)


@pytest.mark.parametrize(
    "settings", [{"black": (0.0, 1.0)}, {"white": (-0.1, 0.2)}, {"black_probability": 1.5}]
)
def test_settings_that_cannot_be_are_refused(settings):
    with raises(UsageError, "training.invalid-value", *settings):
        SaturationConfig(**settings)
