"""What lies in the beam: rods against their definition pixel by pixel, and draws against their ranges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic import UsageError
from isoclinic.training.foreign_objects import ObjectParameters, add_objects, draw_objects, rod_attenuation
from isoclinic.training.hospital_config import ObjectsConfig
from raising import raises

HEIGHT, WIDTH = 20, 28
MANY = 2000
NONE = [0.0] * 10
# (x, y, direction, length, radius, end radius, wave, waves, exponent, attenuation)
NAIL = [-0.2, 0.1, 0.7, 0.5, 0.08, 0.04, 0.0, 0.0, 0.5, 6.0]
BALL = [0.1, -0.05, 0.0, 0.0, 0.15, 0.15, 0.0, 0.0, 0.5, 3.0]
VESSEL = [-0.3, -0.2, 0.3, 0.6, 0.05, 0.05, 0.06, 1.5, 1.5, 0.8]
GAS = [0.0, 0.0, 1.0, 0.3, 0.1, 0.06, 0.03, 1.0, 1.5, -0.7]


def oracle(rod: list[float]) -> np.ndarray:
    """Pixel by pixel: the nearest point of the straight line between two points, in complex numbers."""
    x, y, direction, length, radius, end, wave, waves, exponent, attenuation = rod
    image = np.zeros((HEIGHT, WIDTH))
    for i in range(HEIGHT):
        for j in range(WIDTH):
            place = complex((j + 0.5) / WIDTH - 0.5 - x, (i + 0.5 - HEIGHT / 2) / WIDTH - y)
            place *= complex(math.cos(direction), -math.sin(direction))
            share = min(max(place.real / length, 0), 1) if length else 0.0
            middle = complex(share * length, wave * math.sin(2 * math.pi * waves * share))
            distance = abs(place - middle) / (radius + share * (end - radius))
            if distance < 1:
                image[i, j] = attenuation * (1 - distance**2) ** exponent
    return image


@pytest.mark.parametrize("rod", [NAIL, BALL, VESSEL, GAS], ids=["nail", "ball", "vessel", "gas"])
def test_a_rod_is_its_definition(rod):
    expected = oracle(rod)
    assert (expected != 0).sum() > 10
    found = rod_attenuation(torch.tensor([[NONE, rod], [NONE, NONE]]), HEIGHT, WIDTH)
    # Rounding of 1e-7 at the rim of a round profile: its root times the attenuation.
    np.testing.assert_allclose(found[0], expected, atol=6 * math.sqrt(1e-6))
    assert not found[1].any()


def parameters(**changes) -> ObjectParameters:
    nothing = torch.zeros(2, 1, 10)
    neutral = ObjectParameters(
        soft=nothing, hard=nothing, metal=nothing, metal_masked=torch.zeros(2, dtype=torch.bool)
    )
    return replace(neutral, **changes)


def test_rods_are_added_to_their_tissue_and_gas_takes_away_no_more_than_there_is():
    materials = torch.full((2, 2, HEIGHT, WIDTH), 0.3)
    rods = {"soft": GAS, "hard": VESSEL, "metal": NAIL}
    rods = {name: torch.tensor([[rod], [NONE]]) for name, rod in rods.items()}
    added, shown = add_objects(materials, parameters(**rods))
    soft, hard, metal = map(oracle, (GAS, VESSEL, NAIL))
    assert soft.min() < -0.3
    np.testing.assert_allclose(added[0, 0], np.maximum(0.3 + soft, 0), atol=1e-3)
    np.testing.assert_allclose(added[0, 1], 0.3 + hard + metal, atol=6e-3)
    torch.testing.assert_close(added[1], materials[1])
    assert (shown == 1).all()


def test_masked_metal_does_not_count_where_it_is_opaque():
    metal = torch.tensor([[NAIL], [NAIL]])
    which = torch.tensor([True, False])
    _, shown = add_objects(torch.zeros(2, 2, HEIGHT, WIDTH), parameters(metal=metal, metal_masked=which))
    opaque = oracle(NAIL) > 2
    assert opaque.sum() > 10
    np.testing.assert_array_equal(shown[0], ~opaque)
    assert (shown[1] == 1).all()


@pytest.fixture(scope="module")
def drawn() -> ObjectParameters:
    return draw_objects(ObjectsConfig(), torch.Generator().manual_seed(1), MANY)


def test_everything_is_there_as_often_as_said(drawn):
    """Five standard deviations of a share of 2000 are at most 0.056."""
    config = ObjectsConfig()
    table, arm, body = drawn.soft[:, :3, -1].T
    leads = drawn.hard[:, 3 : 3 + config.leads, -1]
    vessels, gas = drawn.hard[:, -config.vessels :, -1], drawn.soft[:, 3:, -1]
    for rods, share in (
        (drawn.metal[..., -1], config.metal_probability),
        (table[:, None], config.table_probability),
        (arm[:, None], config.arm_probability),
        (body[:, None], config.surroundings_probability),
        (leads, config.leads_probability),
        (vessels, config.vessels_probability),
        (gas, config.gas_probability),
    ):
        assert (rods != 0).any(dim=1).double().mean() == pytest.approx(share, abs=0.056)
    assert drawn.metal_masked.double().mean() == pytest.approx(config.metal_masked, abs=0.056)
    for rods, most in ((leads, config.leads), (vessels, config.vessels), (gas, config.gas)):
        assert set((rods != 0).sum(dim=1).tolist()) == set(range(most + 1))


def test_attenuations_are_in_their_ranges(drawn):
    config = ObjectsConfig()
    hard, soft = drawn.hard, drawn.soft
    for rods, (low, high) in (
        (soft[:, 0], config.table_attenuation),
        (soft[:, 1], config.arm_attenuation),
        (soft[:, 2], config.surroundings_attenuation),
        (hard[:, 3 : 3 + config.leads], config.leads_attenuation),
        (hard[:, -config.vessels :], config.vessels_attenuation),
    ):
        peak = rods[..., -1][rods[..., -1] != 0]
        assert low <= peak.min() and peak.max() <= high
        assert peak.max() - peak.min() > 0.8 * (high - low)
    gas = -soft[:, 3:, -1][soft[:, 3:, -1] != 0]
    assert config.gas_attenuation[0] <= gas.min() and gas.max() <= config.gas_attenuation[1]


def test_the_bone_of_an_arm_lies_in_its_middle(drawn):
    arm, bone = drawn.soft[:, 1], drawn.hard[:, 0]
    assert torch.equal(arm[:, :4], bone[:, :4])
    assert torch.equal(arm[:, -1] != 0, bone[:, -1] != 0)
    assert (bone[:, 4] < 0.41 * arm[:, 4]).all()


def test_four_kinds_of_implants(drawn):
    """Told apart by their parts: three, a flat first one, two parallel rods of equal length, or screws."""
    metal = drawn.metal[(drawn.metal[..., -1] != 0).any(dim=1)]
    head = metal[:, 0, 3] == 0
    plate = (metal[:, 0, 8] < 0.1) & ~head
    pair = (metal[:, 0, 2:4] == metal[:, 6, 2:4]).all(dim=1)
    counts = [int(kind.sum()) for kind in (head, plate, pair, ~(head | plate | pair))]
    # About 125 each: five standard deviations.
    assert min(counts) > 75 and sum(counts) == len(metal)
    assert set((metal[head][..., -1] != 0).sum(dim=1).tolist()) == {3}
    neck, stem = metal[head][:, 1], metal[head][:, 2]
    end = neck[:, :2] + neck[:, 3:4] * torch.stack([neck[:, 2].cos(), neck[:, 2].sin()], dim=1)
    torch.testing.assert_close(end, stem[:, :2], atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "change",
    [
        {"metal_probability": 1.1},
        {"metal_masked": -0.1},
        {"metal_attenuation": (-1.0, 3.0)},
        {"screw_radius": (0.0, 0.1)},
        {"gas_attenuation": (1.0, 0.1)},
    ],
)
def test_ranges_outside_what_is_possible(change):
    with raises(UsageError, "training.invalid-value", next(iter(change))):
        ObjectsConfig(**change)


def test_there_are_leads_vessels_and_gas_or_a_probability_of_0():
    with raises(UsageError, "training.invalid-value", "at least 1"):
        ObjectsConfig(leads=0)
