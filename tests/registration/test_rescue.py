"""The last resort: when a canonical network is asked, what is searched then, and that it cannot do harm."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from isoclinic.errors import InputError, UsageError
from isoclinic.networks import CanonicalConfig, CanonicalImage, Checkpoint
from isoclinic.registration import (
    AnyViewConfig,
    ConfidenceConfig,
    LearnedConfig,
    RegistrationConfig,
    register,
)
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._learned import Learned
from isoclinic.registration._run import Run
from phantoms import error_mm
from raising import raises
from tiny_networks import encoder

from .test_learned import FAR, FAST, NEAR, TRUTH, VOLUME, WIDE, XRAY, Canonical, model

# No result is ever good enough.
DISSATISFIED = replace(
    FAST, confidence=ConfidenceConfig(edges_below=2.0), any_view=AnyViewConfig(enabled=False)
)


class Loader:
    """Counts how often the networks were asked for."""

    def __init__(self, network: nn.Module | None = None) -> None:
        self.calls = 0
        self.network = network or Canonical()

    def __call__(self) -> Checkpoint:
        self.calls += 1
        return model({"canonical": self.network})


class Blind(nn.Module):
    """Predicts nothing at all, everywhere with the same precision."""

    config = CanonicalConfig(window_px=9)

    def forward(self, image):
        return CanonicalImage(torch.zeros_like(image), torch.zeros_like(image))


def test_networks_are_not_loaded_where_the_images_match():
    loader = Loader()
    result = register(VOLUME, XRAY, NEAR, FAST, model=loader)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 0.5
    assert loader.calls == 0
    assert all(attempt.learned == () for attempt in result.attempts)


@pytest.mark.slow
def test_they_come_last_and_the_best_edges_count():
    loader = Loader()
    without = register(VOLUME, XRAY, FAR, DISSATISFIED)
    result = register(VOLUME, XRAY, FAR, DISSATISFIED, model=loader)
    assert loader.calls == 1
    searches = [("matrix", (), 32), ("matrix", (), 128)]
    tried = [(each.start, each.learned, each.candidates) for each in result.attempts]
    assert tried == [*searches, ("matrix", ("canonical search",), 128)]
    assert result.attempts[:2] == without.attempts
    assert result.attempt in result.attempts and result.confidence.edges == result.attempt.edges


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0.0, 1.0])
def test_they_must_match_better_by_a_margin(monkeypatch, margin):
    """Edges of all attempts but the last are said to be worse, by half."""
    edges = iter([0.3, 0.3, 0.8])
    assess = Run.assess
    monkeypatch.setattr(Run, "assess", lambda *arguments: replace(assess(*arguments), edges=next(edges)))
    config = replace(DISSATISFIED, learned=LearnedConfig(rescue_margin=margin))
    result = register(VOLUME, XRAY, FAR, config, model=Loader())
    assert [each.edges for each in result.attempts] == [0.3, 0.3, 0.8]
    assert result.attempt == result.attempts[2 if margin < 0.5 else 0]


@pytest.mark.slow
def test_it_finds_what_the_xray_itself_does_not_show():
    """Instead of the patient the X-ray shows stripes; the network knows what it should have been."""
    stripes = 2000 + 1500 * torch.sin(torch.arange(XRAY.camera.width) / 2.0)
    hidden = replace(XRAY, pixels=stripes.expand(XRAY.camera.height, -1).numpy().astype(XRAY.pixels.dtype))
    lost = register(VOLUME, hidden, FAR, DISSATISFIED)
    assert error_mm(VOLUME, lost.camera_from_world, TRUTH) > 10
    learned = Learned.of(Loader()(), VOLUME, FixedImage.of(hidden, FAST.preprocess), DISSATISFIED)
    assert learned.canonical_image is not None
    run = Run(
        volume=VOLUME,
        fixed=(learned.canonical_image,),
        view_from_first=torch.eye(4, dtype=torch.float64)[None],
        start=FAR,
        config=DISSATISFIED,
    )
    errors = [error_mm(VOLUME, pose, TRUTH) for pose in run.searched(WIDE)]
    # The nearest of 128 orientations within 35 degrees is about 8 degrees away; the search slides, no more.
    assert min(errors) < 15


@pytest.mark.slow
@pytest.mark.parametrize("start", ["any", "ap"])
def test_where_nobody_says_where_to_start_it_looks_in_all_directions(monkeypatch, start):
    """The canonical image is what is searched then, not only the neighbourhood of a standard view."""
    config = replace(DISSATISFIED, any_view=AnyViewConfig(spacing_deg=30.0, mirrored=False))
    searched: list[FixedImage] = []
    found: list[float] = []
    any_view = Run.any_view

    def watched(run, runs):
        searched.append(runs[0].fixed[0])
        results = any_view(run, runs)
        found.append(min(error_mm(VOLUME, pose, TRUTH) for pose in results[0][0]))
        return results

    monkeypatch.setattr(Run, "any_view", watched)
    loader = Loader()
    result = register(VOLUME, XRAY, start, config, model=loader)
    assert loader.calls == 1
    candidates = config.any_view.candidates
    tried = [(each.start, each.learned, each.candidates) for each in result.attempts]
    around = [("preset ap", 128)] if start == "ap" else []
    expected_each = [*around, ("any view", candidates)]
    learned_names = ("canonical search",)
    assert tried == [(where, names, count) for names in ((), learned_names) for where, count in expected_each]
    learned = Learned.of(loader(), VOLUME, FixedImage.of(XRAY, FAST.preprocess), config)
    expected = learned.canonical_image
    assert expected is not None and torch.equal(searched[1].image, expected.image)
    # Directions are 30 degrees apart: at the corners of a cube of 100 mm the nearest one is some 25 mm off.
    assert found[1] < 35


@pytest.mark.slow
def test_a_network_that_is_wrong_does_no_harm():
    without = register(VOLUME, XRAY, FAR, DISSATISFIED)
    result = register(VOLUME, XRAY, FAR, DISSATISFIED, model=Loader(Blind()))
    assert result.confidence.edges >= without.confidence.edges
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"rescue": False}, {"fall_back": False}])
def test_they_can_be_turned_off(settings):
    loader = Loader()
    register(VOLUME, XRAY, FAR, replace(DISSATISFIED, learned=LearnedConfig(**settings)), model=loader)
    assert loader.calls == 0


class Failing(nn.Module):
    """Loads, and cannot predict."""

    config = CanonicalConfig(window_px=9)

    def forward(self, image):
        raise torch.OutOfMemoryError("CUDA out of memory")


def loading_fails(error: Exception):
    def load() -> Checkpoint:
        raise error

    return load


@pytest.mark.slow
@pytest.mark.parametrize(
    ("networks", "why"),
    [
        (
            loading_fails(InputError("any-patient.safetensors is damaged", code="input.unreadable")),
            "any-patient.safetensors is damaged",
        ),
        (
            loading_fails(UsageError("pip install 'isoclinic[train]'", code="options.invalid-value")),
            "pip install 'isoclinic[train]'",
        ),
        (
            loading_fails(ModuleNotFoundError("No module named 'safetensors'")),
            "No module named 'safetensors'",
        ),
        (loading_fails(PermissionError(13, "Permission denied")), "Permission denied"),
        (loading_fails(MemoryError()), "MemoryError"),
        (Loader(Failing()), "CUDA out of memory"),
        (lambda: model({}), "no part of the model is used"),
    ],
)
def test_what_was_found_before_it_fails_is_kept(networks, why):
    without = register(VOLUME, XRAY, FAR, DISSATISFIED)
    result = register(VOLUME, XRAY, FAR, DISSATISFIED, model=networks)
    assert torch.equal(result.camera_from_world, without.camera_from_world)
    assert result.attempts == without.attempts
    assert result.status == "doubtful"
    *others, last = result.confidence.doubts
    assert tuple(others) == without.confidence.doubts
    assert "the last resort" in last and "was not available" in last and why in last


@pytest.mark.slow
def test_a_model_without_a_canonical_network_is_no_help():
    networks = model({"coarse_encoder": encoder("dense", "spherical")})
    config = replace(DISSATISFIED, learned=LearnedConfig(coarse=True))
    result = register(VOLUME, XRAY, FAR, config, model=lambda: networks)
    assert [each.learned for each in result.attempts] == [(), ()]


def test_what_the_network_is_unsure_of_is_left_out():
    """Below 0.7 of the median precision of what the X-ray shows."""

    class Unsure(nn.Module):
        config = CanonicalConfig(window_px=9)

        def forward(self, image):
            precision = torch.ones_like(image)
            precision[:, :4] = 0.75  # of the median: kept
            precision[:, 4:6] = 0.65
            return CanonicalImage(2 * image, precision.log())

    fixed = FixedImage.of(XRAY, RegistrationConfig().preprocess)
    learned = Learned.of(model({"canonical": Unsure()}), VOLUME, fixed, FAST)
    image = learned.canonical_image
    assert image is not None and image.camera == learned.model.record.camera
    seen = learned.fixed.weight
    assert (seen[4:6] > 0).any()
    assert torch.equal(image.weight[:4], seen[:4]) and torch.equal(image.weight[6:], seen[6:])
    assert not image.weight[4:6].any()


@pytest.mark.parametrize("name", ["least_precision", "rescue_margin"])
@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_settings_that_make_no_sense(name, value):
    with raises(UsageError, "registration.invalid-value", name):
        LearnedConfig(**{name: value})
