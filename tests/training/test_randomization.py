"""Drawing and applying are apart: pure, repeatable, and what is drawn can be stored."""

from __future__ import annotations

import io
from dataclasses import asdict

import pytest
import torch

from isoclinic import UsageError
from isoclinic.training import RandomizationConfig, ToneConfig
from isoclinic.training.acquisition import AcquisitionParameters, apply_acquisition
from isoclinic.training.foreign_objects import ObjectParameters, add_objects
from isoclinic.training.hospital_config import ObjectsConfig, ProcessingConfig
from isoclinic.training.processing import ProcessingParameters, apply_processing
from isoclinic.training.randomization import Parameters, apply, draw
from isoclinic.training.tone import ToneParameters, apply_tone
from raising import raises

PRESETS = (RandomizationConfig.paper(), RandomizationConfig.isoclinic(), RandomizationConfig.hospital())
each_preset = pytest.mark.parametrize("config", PRESETS, ids=("paper", "isoclinic", "hospital"))


@pytest.fixture
def materials() -> torch.Tensor:
    return 2 * torch.rand(16, 2, 24, 32, generator=torch.Generator().manual_seed(0))


def drawn(config: RandomizationConfig, seed: int = 4) -> Parameters:
    return draw(config, torch.Generator().manual_seed(seed), 16)


@each_preset
def test_apply_is_pure(materials, config):
    parameters, before = drawn(config), materials.clone()
    torch.manual_seed(1)
    image, weight = apply(materials, parameters)
    torch.manual_seed(2)
    again = apply(materials, parameters)
    assert torch.equal(image, again[0]) and torch.equal(weight, again[1])
    assert torch.equal(materials, before)
    assert image.shape == weight.shape == (16, 24, 32) and image.isfinite().all()


@each_preset
def test_draws_depend_on_the_generator_alone(materials, config):
    same, other = apply(materials, drawn(config)), apply(materials, drawn(config, seed=5))
    assert torch.equal(apply(materials, drawn(config))[0], same[0])
    assert not torch.equal(same[0], other[0])


@each_preset
def test_parameters_can_be_stored(materials, config):
    """As plain dictionaries of tensors and numbers."""
    file = io.BytesIO()
    parameters = drawn(config)
    torch.save(asdict(parameters), file)
    file.seek(0)
    stored = torch.load(file, weights_only=True)
    kinds = {
        "acquisition": AcquisitionParameters,
        "tone": ToneParameters,
        "objects": ObjectParameters,
        "processing": ProcessingParameters,
    }
    restored = Parameters(**{name: part and kinds[name](**part) for name, part in stored.items()})
    assert torch.equal(apply(materials, restored)[0], apply(materials, parameters)[0])


def test_the_paper_preset_is_its_transforms_on_all_tissue(materials):
    assert RandomizationConfig.paper() == RandomizationConfig(
        acquisition=None, tone=ToneConfig(noise_reading="mean")
    )
    assert RandomizationConfig.paper_batched() == RandomizationConfig(acquisition=None, tone=ToneConfig())
    off = {name: 0.0 for name in vars(ToneConfig()) if name.endswith("_probability")}
    config = RandomizationConfig(acquisition=None, tone=ToneConfig(**off))
    image, weight = apply(materials, drawn(config))
    torch.testing.assert_close(image, materials.sum(dim=1))
    assert (weight == 1).all()
    assert drawn(config).applied(0) == []


def test_hospitals_add_objects_before_and_processing_after_the_acquisition(materials):
    parameters = drawn(RandomizationConfig.hospital())
    image, weight = apply(materials, parameters)
    with_objects, shown = add_objects(materials, parameters.objects)
    expected, expected_weight = apply_acquisition(with_objects, parameters.acquisition)
    expected = apply_tone(apply_processing(expected, expected_weight, parameters.processing), parameters.tone)
    assert torch.equal(image, expected)
    assert torch.equal(weight, expected_weight * shown)
    assert not torch.equal(with_objects, materials) and (shown == 0).any()


def test_what_hospitals_add_changes_no_other_draw():
    """The acquisition and the tone of both presets are drawn alike, but for their ranges."""
    plain = RandomizationConfig.isoclinic()
    more = RandomizationConfig(
        acquisition=plain.acquisition,
        tone=plain.tone,
        objects=ObjectsConfig(),
        processing=ProcessingConfig(),
    )
    one, other = drawn(plain), drawn(more)
    assert one.objects is None and one.processing is None
    for part in ("acquisition", "tone"):
        values, same = (vars(getattr(each, part)).values() for each in (one, other))
        for value, other_value in zip(values, same, strict=True):
            assert torch.equal(torch.as_tensor(value), torch.as_tensor(other_value))


@pytest.mark.parametrize("part", [{"objects": ObjectsConfig()}, {"processing": ProcessingConfig()}])
def test_nothing_is_added_to_a_picture_that_is_none(part):
    with raises(UsageError, "training.invalid-value", "acquisition"):
        RandomizationConfig(acquisition=None, **part)


def test_people_can_read_what_is_applied():
    said = [text for index in range(16) for text in drawn(RandomizationConfig.isoclinic()).applied(index)]
    for words in ("soft x", "quanta", "field", "tool", "erased", "part of the view"):
        assert any(words in text for text in said), words


def test_people_can_read_what_hospitals_add():
    said = [text for index in range(16) for text in drawn(RandomizationConfig.hospital()).applied(index)]
    for words in ("implant", "shadow", "gas", "low dose", "sharpened", "equalised", "bits", "text"):
        assert any(words in text for text in said), words
