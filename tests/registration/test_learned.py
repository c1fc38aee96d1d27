"""Registering with a model: what its networks see, the start, refinements, and what is done if they fail."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from isoclinic.errors import UsageError
from isoclinic.geometry import Camera, se3
from isoclinic.networks import CanonicalConfig, CanonicalImage, Checkpoint, TrainingRecord, masked
from isoclinic.registration import (
    LearnedConfig,
    RegistrationConfig,
    RegistrationResult,
    SearchConfig,
    Stage,
    View,
    _run,
    register,
    register_views,
)
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._learned import Learned
from isoclinic.rendering import RenderConfig, render
from isoclinic.similarity import canonical_target
from isoclinic.solver import Status
from phantoms import CAMERA, displaced, error_mm, phantom, true_pose, xray_of
from raising import raises
from tiny_networks import encoder, small_camera, space

VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)
NEAR = displaced(VOLUME, TRUTH, 6, seed=1)
# 80 mm and 27 degrees: out of reach without a search.
FAR = displaced(VOLUME, TRUTH, 80, seed=2)

WIDE = SearchConfig(candidates=128, rotation_deg=(35.0, 35.0, 35.0), depth_mm=60.0, keep=16)
FAST = RegistrationConfig(
    searches=(SearchConfig(candidates=32, keep=4), WIDE), stages=(Stage(pixels=32), Stage(pixels=64))
)


class Oracle(nn.Module):
    """A regressor that predicts the same pose whatever it sees, and remembers that."""

    def __init__(self, camera_from_world: Tensor) -> None:
        super().__init__()
        self.motion = space().motion(camera_from_world)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return self.motion.expand(len(image), 4, 4)


class Canonical(nn.Module):
    """Predicts the DRR of the truth, standardised."""

    config = CanonicalConfig(window_px=9)

    def forward(self, image: Tensor) -> CanonicalImage:
        target = canonical_target(noise_free(small_camera())[None], self.config)
        return CanonicalImage(target, torch.zeros_like(target))


def model(networks: Mapping[str, Any], camera: Camera | None = None) -> Checkpoint:
    record = TrainingRecord(
        volume_sha256=None,
        camera=camera or small_camera(),
        space=space(),
        rotation_deg=(30.0, 45.0, 15.0),
        translation_mm=(60.0, 60.0, 150.0),
        curves={},
    )
    return Checkpoint(networks=networks, record=record)


def regressor(camera_from_world: Tensor) -> Checkpoint:
    return model({"pose_regressor": Oracle(camera_from_world)})


def noise_free(camera: Camera = CAMERA) -> Tensor:
    """Line integrals [H, W] of the renderer, at the resolution that networks are trained with."""
    return render(VOLUME, camera, TRUTH, RenderConfig(method="trilinear", backend="cpu"))[0]


def encoders() -> dict[str, nn.Module]:
    """Random weights: without noise and near by, they lead to the truth all the same."""
    return {
        "coarse_encoder": encoder("global", elements=6).eval(),
        "fine_encoder": encoder("dense", elements=6).eval(),
    }


def clean_learned(networks: Mapping[str, Any], **settings: Any) -> Learned:
    """Of an X-ray without noise, tone or masks."""
    image = noise_free(small_camera())
    fixed = FixedImage(image=image, weight=torch.ones_like(image), camera=small_camera())
    config = RegistrationConfig(learned=all_on(max_steps=40, step_tolerance_mm=0.03, **settings))
    return Learned.of(model(networks), VOLUME, fixed, config)


def without_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_run, "search", None)


def same(a: RegistrationResult, b: RegistrationResult) -> bool:
    # The covariance is that of matrix products in float32, whose order of summing is not fixed.
    return (
        torch.equal(a.camera_from_world, b.camera_from_world)
        and torch.allclose(a.confidence.covariance, b.confidence.covariance, rtol=1e-3, atol=1e-6)
        and a.similarity == b.similarity
        and [stage.name for stage in a.trace] == [stage.name for stage in b.trace]
    )


# Networks -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "camera",
    [
        small_camera(),
        CAMERA.resize(height=96, width=80).crop(top=8, left=4, height=64, width=64),
        small_camera(64).flip(left_right=True),
    ],
)
def test_networks_see_the_masked_xray_in_the_camera_of_their_training(camera):
    """An X-ray of half a collimated field, mirrored: its networks need not know."""
    pixels = XRAY.pixels.copy()
    pixels[:, 100:] = 0
    xray = replace(XRAY, pixels=pixels).flip(left_right=True)
    chosen = model({"pose_regressor": Oracle(NEAR)}, camera)
    register(VOLUME, xray, None, FAST, model=chosen)
    (image,) = chosen.networks["pose_regressor"].seen
    assert image.shape == (1, camera.height, camera.width) and image.dtype == torch.float32
    assert not image.requires_grad
    fixed = FixedImage.of(xray, FAST.preprocess).through(camera)
    torch.testing.assert_close(image[0], masked(fixed.image, fixed.weight), rtol=0, atol=0)
    expected = render(VOLUME, camera, TRUTH, RenderConfig(backend="cpu"))[0]
    shown = image[0] != 0
    assert 0.5 < shown.float().mean() < 0.95
    # Tone and scatter change contrasts, not what is where.
    assert torch.corrcoef(torch.stack([image[0][shown], expected[shown]]))[0, 1] > 0.97


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["coarse_encoder", "fine_encoder"])
def test_an_encoder_refines_the_start(kind):
    (stage,) = clean_learned({kind: encoders()[kind]}).refine(NEAR[None])
    assert stage.name == f"{kind.replace('_', ' ')}, 32 x 32 px"
    assert error_mm(VOLUME, NEAR, TRUTH) > 5
    found = stage.camera_from_world[stage.best]
    # The renderer, resolution and X-ray are the same; the rest is the stopping rule, a step of 0.03 mm.
    assert error_mm(VOLUME, found, TRUTH) < 0.3
    assert found.dtype == torch.float64 and not found.requires_grad
    assert torch.equal(stage.course[0], NEAR) and torch.equal(stage.course[-1], found)


def test_the_canonical_network_refines_the_start():
    (stage,) = clean_learned({"canonical": Canonical()}, canonical=True).refine(NEAR[None])
    assert stage.name == "canonical, 32 x 32 px"
    assert error_mm(VOLUME, stage.camera_from_world[0], TRUTH) < 0.3


@pytest.mark.slow
def test_stages_hand_on_their_results_and_the_lowest_cost_counts():
    starts = torch.stack([displaced(VOLUME, TRUTH, 40, seed=3), NEAR])
    first, second = clean_learned(encoders()).refine(starts)
    assert torch.equal(second.solution.trace.x[0], first.solution.x)
    assert first.best == first.solution.cost.argmin() == 1


def all_on(**settings) -> LearnedConfig:
    """Both encoders, which are off by default."""
    return LearnedConfig(**{"coarse": True, "fine": True, **settings})


def test_by_default_the_model_only_gives_the_start():
    networks = {**encoders(), "canonical": Canonical(), "pose_regressor": Oracle(NEAR)}
    (attempt,) = register(VOLUME, XRAY, None, FAST, model=model(networks)).attempts
    assert (attempt.start, attempt.learned, attempt.candidates) == ("model", (), 0)


ON_OFF = [
    ({}, ["coarse encoder", "fine encoder"]),
    ({"coarse": False}, ["fine encoder"]),
    ({"fine": False}, ["coarse encoder"]),
    ({"canonical": True}, ["coarse encoder", "fine encoder", "canonical"]),
    ({"canonical": True, "coarse": False, "fine": False}, ["canonical"]),
    ({"coarse": False, "fine": False}, []),
]


@pytest.mark.parametrize(("settings", "names"), ON_OFF)
def test_stages_are_switched_on_and_off(settings, names):
    networks = {**encoders(), "canonical": Canonical(), "pose_regressor": Oracle(NEAR)}
    config = replace(FAST, learned=all_on(**settings, max_steps=2, fall_back=False))
    result = register(VOLUME, XRAY, None, config, model=model(networks))
    traced = [stage.name for stage in result.trace]
    assert traced == [f"{name}, 32 x 32 px" for name in names] + ["32 x 32 px", "64 x 64 px"]
    assert all(torch.isfinite(stage.course).all() for stage in result.trace)
    (attempt,) = result.attempts
    assert attempt.learned == tuple(names) and attempt.candidates == 0
    assert attempt.edges == result.confidence.edges


# Start and fallback -------------------------------------------------------------------------------------


def test_the_model_says_where_to_start(monkeypatch):
    """And nothing is searched: the regressor is right."""
    without_search(monkeypatch)
    for init in (None, "model"):
        result = register(VOLUME, XRAY, init, FAST, model=regressor(NEAR))
        assert result.initial.source == "model"
        # There and back through the space of poses, in float64.
        torch.testing.assert_close(result.initial.camera_from_world, NEAR, rtol=0, atol=1e-9)
        assert result.status is Status.CONVERGED
        assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1.5
        assert [attempt.start for attempt in result.attempts] == ["model"]
        assert result.confidence.rival is None


def test_a_wrong_start_is_searched_around():
    result = register(VOLUME, XRAY, None, FAST, model=regressor(FAR))
    assert error_mm(VOLUME, result.initial.camera_from_world, TRUTH) > 60
    assert result.status is Status.CONVERGED
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1.5
    first, *searches = result.attempts
    assert (first.start, first.candidates) == ("model", 0)
    assert first.edges < FAST.confidence.edges_below <= searches[-1].edges
    assert [attempt.candidates for attempt in searches] == [32, 128][: len(searches)]
    assert {attempt.start for attempt in searches} == {"model"}


# It faces the patient's side: no search around it reaches the truth.
OPPOSITE = se3.perturb(
    TRUTH, torch.tensor([0.0, np.pi / 2, 0.0, 60.0, 60.0, 150.0], dtype=torch.float64), ISOCENTRE
)


@pytest.mark.slow
def test_at_last_it_is_searched_where_it_would_have_been_without_a_model():
    result = register(VOLUME, XRAY, None, FAST, model=regressor(OPPOSITE))
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1.5
    assert [(each.start, each.candidates) for each in result.attempts] == [
        ("model", 0),
        ("model", 32),
        ("model", 128),
        ("preset ap", 128),
    ]
    assert same(result, register(VOLUME, XRAY, None, FAST)), "the same as that attempt alone"
    assert result.initial.source == "model"


def test_the_fallback_can_be_switched_off(monkeypatch):
    without_search(monkeypatch)
    config = replace(FAST, learned=all_on(fall_back=False))
    result = register(VOLUME, XRAY, None, config, model=regressor(FAR))
    assert result.status is Status.DOUBTFUL and len(result.attempts) == 1


@pytest.mark.slow
def test_a_network_that_leads_astray_does_not_decide(monkeypatch):
    """The start goes along."""
    refine = Learned.refine
    monkeypatch.setattr(Learned, "refine", lambda self, points: refine(self, FAR[None]))
    config = replace(FAST, learned=all_on(max_steps=1, fall_back=False))
    result = register(VOLUME, XRAY, None, config, model=model({"pose_regressor": Oracle(NEAR), **encoders()}))
    assert error_mm(VOLUME, result.trace[1].camera_from_world[0], TRUTH) > 60
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1.5


@pytest.mark.slow
def test_a_start_that_sees_nothing_of_the_ct_is_survived():
    aside = se3.perturb(TRUTH, torch.tensor([0, 0, 0, 900.0, 0, 0], dtype=torch.float64), ISOCENTRE)
    result = register(VOLUME, XRAY, None, FAST, model=model({"pose_regressor": Oracle(aside), **encoders()}))
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1.5
    assert result.attempts[-1].start == "preset ap"


@pytest.mark.slow
@pytest.mark.parametrize("init", [NEAR, FAR])
def test_a_start_that_is_given_wins(init):
    chosen = model({"pose_regressor": Oracle(OPPOSITE), **encoders()})
    result = register(VOLUME, XRAY, init, replace(FAST, learned=all_on(max_steps=1)), model=chosen)
    assert torch.equal(result.initial.camera_from_world, init)
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1.5
    assert {attempt.start for attempt in result.attempts} == {"matrix"}
    ways = [(attempt.candidates, bool(attempt.learned)) for attempt in result.attempts]
    assert ways == [(0, True), (32, True), (32, False), (128, False)][: len(ways)]
    assert (len(ways) > 1) == (init is FAR)


@pytest.mark.slow
def test_where_nothing_is_learned_about_a_given_start_it_is_as_without_a_model():
    config = replace(FAST, learned=all_on(initialize=False, max_steps=1))
    with_regressor = register(VOLUME, XRAY, NEAR, FAST, model=regressor(FAR))
    assert same(with_regressor, register(VOLUME, XRAY, NEAR, FAST))
    encoders_only = register(
        VOLUME, XRAY, None, config, model=model({"pose_regressor": Oracle(FAR), **encoders()})
    )
    assert encoders_only.initial.source == "preset ap"


@pytest.mark.slow
def test_several_views():
    """The networks see the first X-ray; all of them decide."""
    pose = se3.perturb(TRUTH, torch.tensor([0.1, 1.3, 0.05, 6, -5, 12], dtype=torch.float64), ISOCENTRE)
    other = View(xray=xray_of(VOLUME, pose, seed=1), view_from_first=pose @ se3.inverse(TRUTH))
    chosen = model({"pose_regressor": Oracle(NEAR), **encoders()})
    config = replace(FAST, learned=all_on(max_steps=2))
    result = register_views(VOLUME, [View(xray=XRAY), other], None, config, model=chosen)
    assert len(chosen.networks["pose_regressor"].seen) == 1
    assert [stage.name for stage in result.trace][:3] == [
        "coarse encoder, 32 x 32 px",
        "fine encoder, 32 x 32 px",
        "32 x 32 px + 32 x 32 px",
    ]
    assert len(result.attempts) == 1 and result.initial.source == "model"
    assert error_mm(VOLUME, result.camera_from_world, TRUTH) < 1


@pytest.mark.slow
def test_structures_are_rendered_for_the_stages_not_for_the_networks():
    """Networks have been trained with all tissue."""
    volume = VOLUME.with_labels((VOLUME.hu > 250).astype(np.uint8), {1: "bone"})
    image = noise_free(small_camera())
    fixed = FixedImage(image=image, weight=torch.ones_like(image), camera=small_camera())
    config = RegistrationConfig(structures=("bone",), learned=all_on(max_steps=40, step_tolerance_mm=0.03))
    chosen = {"fine_encoder": encoders()["fine_encoder"]}
    (stage,) = Learned.of(model(chosen), volume, fixed, config).refine(NEAR[None])
    assert error_mm(VOLUME, stage.camera_from_world[0], TRUTH) < 0.3


# Without a model, and models of no use ------------------------------------------------------------------


def test_attempts_without_a_model_are_its_searches():
    result = register(VOLUME, XRAY, FAR, FAST)
    assert [(each.start, each.learned) for each in result.attempts] == [("matrix", ())] * len(result.attempts)
    assert [each.candidates for each in result.attempts] == [32, 128][: len(result.attempts)]
    assert max(each.edges for each in result.attempts) == result.confidence.edges


@pytest.mark.parametrize(
    ("networks", "settings", "init", "fault"),
    [
        ({}, {}, None, ("model.unused", "no network")),
        (
            {"canonical": Canonical()},
            {"canonical": False, "rescue": False},
            None,
            ("model.unused", "canonical", "`learned.canonical`"),
        ),
        ({"pose_regressor": Oracle(NEAR)}, {"initialize": False}, None, ("model.unused", "pose_regressor")),
        (encoders(), {}, "model", ("start.model-missing", "`model`")),
        (
            {"pose_regressor": Oracle(NEAR), **encoders()},
            {"initialize": False},
            "model",
            ("start.model-missing", "`learned.initialize`"),
        ),
    ],
)
def test_models_that_are_of_no_use(networks, settings, init, fault):
    config = replace(FAST, learned=all_on(**settings))
    with raises(UsageError, *fault):
        register(VOLUME, XRAY, init, config, model=model(networks))


def test_a_model_that_is_not_there():
    with raises(UsageError, "start.model-missing", "`model`"):
        register(VOLUME, XRAY, "model", FAST)


@pytest.mark.parametrize(
    "settings",
    [{"max_steps": 0}, {"robust_scale": 0.0}, {"robust_scale": math.nan}, {"step_tolerance_mm": 0.0}],
)
def test_settings_that_make_no_sense(settings):
    with raises(UsageError, "registration.invalid-value", "learned", "max_steps"):
        LearnedConfig(**settings)
