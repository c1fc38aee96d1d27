"""The schedule as data: defaults that make sense together, and a refusal of what means nothing."""

import dataclasses
import math
from itertools import pairwise

import pytest

from isoclinic.errors import UsageError
from isoclinic.registration import RegistrationConfig, SearchConfig, Stage
from raising import raises


def test_default_stages_go_from_coarse_to_fine():
    stages = RegistrationConfig().stages
    pixels = [stage.pixels for stage in stages]
    assert pixels == sorted(pixels) and pixels[0] < pixels[-1]
    keep = [stage.keep for stage in stages]
    assert keep == sorted(keep, reverse=True) and keep[-1] == 1


def test_default_searches_reach_further_and_further():
    searches = RegistrationConfig().searches
    assert len(searches) >= 2, "rough starts begin with the second"
    for near, far in pairwise(searches):
        assert far.candidates > near.candidates and far.depth_mm >= near.depth_mm
        assert all(a <= b for a, b in zip(near.rotation_deg, far.rotation_deg, strict=True))


def test_solver_measures_steps_in_millimetres():
    """A rotation by one millimetre over `length_mm` counts like a translation by one millimetre."""
    config = RegistrationConfig(length_mm=80.0, max_step_mm=25.0)
    solver = Stage(pixels=64, max_steps=7).solver(config.length_mm, config.max_step_mm)
    assert solver.max_steps == 7 and solver.max_step == 25.0
    assert [1.0 / scale for scale in solver.step_scale] == pytest.approx([80.0] * 3 + [1.0] * 3)


@pytest.mark.parametrize("config", [RegistrationConfig(), Stage(pixels=32), SearchConfig()])
def test_configs_are_immutable_values(config):
    assert config == dataclasses.replace(config) and hash(config) == hash(dataclasses.replace(config))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 1)


@pytest.mark.parametrize(
    "settings",
    [{"pixels": 7}, {"max_steps": 0}, {"keep": 0}, {"voxel_per_pixel": 0.0}, {"voxel_per_pixel": math.nan}],
)
def test_stage_without_meaning(settings):
    with raises(UsageError, "registration.invalid-value", "stage"):
        Stage(**({"pixels": 32} | settings))


@pytest.mark.parametrize(
    "settings",
    [{"stages": ()}, {"searches": ()}, {"length_mm": 0.0}, {"max_step_mm": -1.0}, {"length_mm": math.nan}],
)
def test_registration_without_meaning(settings):
    with raises(UsageError, "registration.invalid-value"):
        RegistrationConfig(**settings)
