"""The network of a part in a registration: what it sees, where its looks lead, and when its pose counts."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bone_alone import BONE, BONE_TRUTH, BONE_XRAY, CLOSE
from isoclinic.errors import UsageError
from isoclinic.geometry import se3
from isoclinic.networks import CanonicalConfig, CanonicalImage, Checkpoint, TrainingRecord
from isoclinic.networks.checkpoint import PartRecord
from isoclinic.networks.part_view import PartShape, camera_at_depth, part_camera
from isoclinic.registration import (
    LearnedConfig,
    RegistrationConfig,
    register,
)
from isoclinic.registration._fixed import FixedImage
from isoclinic.registration._part_learned import PartLearned, learned_of, turned
from isoclinic.registration.config import PartLearnedConfig
from isoclinic.rendering import RenderConfig, render
from isoclinic.similarity import canonical_target
from phantoms import displaced, error_mm
from raising import raises
from tiny_networks import space

SHAPE = PartShape.of(BONE)
DEPTH_MM, PIXELS = 600.0, 48
CAMERA = part_camera(SHAPE.radius_mm, DEPTH_MM, field=1.6, pixels=PIXELS)
RENDERING = RenderConfig(method="trilinear", backend="cpu")
FAR = displaced(BONE, BONE_TRUTH, 25, seed=3)
ONE_LOOK = PartLearnedConfig(reaches=(20.0,), candidates=64)


class Oracle(nn.Module):
    """Knows the pose, and the camera of the look at one start; remembers what it was shown."""

    config = CanonicalConfig(window_px=9, hint=True)

    def __init__(self, start: Tensor, truth: Tensor = BONE_TRUTH) -> None:
        super().__init__()
        view = SHAPE.view_from_camera(start[None])
        camera = camera_at_depth(CAMERA, DEPTH_MM, float(SHAPE.depth_mm(start)))
        self.images = [render(BONE, camera, view @ pose[None], RENDERING) for pose in (truth, start)]
        self.seen: list[tuple[Tensor, Tensor]] = []

    def forward(self, image: Tensor, hint: Tensor) -> CanonicalImage:
        self.seen.append((image, hint))
        target = canonical_target(self.images[0], self.config)
        return CanonicalImage(target, torch.zeros_like(target))


def model(network: nn.Module, **part) -> Checkpoint:
    record = TrainingRecord(
        volume_sha256=None,
        camera=CAMERA,
        space=space(),
        rotation_deg=(35.0, 35.0, 35.0),
        translation_mm=(35.0, 35.0, 40.0),
        curves={},
        part=PartRecord(**{"structures": None, "depth_mm": DEPTH_MM} | part),
    )
    return Checkpoint(networks={"canonical": network}, record=record)


def learned(network: nn.Module, settings: PartLearnedConfig = ONE_LOOK) -> PartLearned:
    config = RegistrationConfig(learned=LearnedConfig(part=settings))
    of = learned_of(model(network), BONE, FixedImage.of(BONE_XRAY, config.preprocess), config)
    assert isinstance(of, PartLearned)
    return of


def test_a_turned_camera_sees_the_same_rays():
    """The X-ray resampled is the rendering in the turned camera; beside the X-ray nothing is seen."""
    view = SHAPE.view_from_camera(FAR[None])[0]
    camera = camera_at_depth(CAMERA, DEPTH_MM, float(SHAPE.depth_mm(FAR)))
    plain = FixedImage(
        image=render(BONE, CLOSE, BONE_TRUTH, RENDERING)[0],
        weight=torch.ones(CLOSE.height, CLOSE.width),
        camera=CLOSE,
    )
    image, weight = turned(plain, camera, view)
    expected = render(BONE, camera, view @ BONE_TRUTH, RENDERING)[0]
    difference = (weight * (image - expected)).abs()
    # Pixels of the one average those of the other, and edges are a pixel wide.
    assert float(difference.mean()) < 0.01 * float(expected.max())
    assert float(difference.max()) < 0.35 * float(expected.max())
    assert float((weight * expected).sum()) > 0.8 * float(expected.sum())
    aside = se3.exp(torch.tensor([0.0, 0.5, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64))
    assert not turned(plain, camera, aside @ view)[1].any()
    behind = se3.exp(torch.tensor([0.0, np.pi, 0.0, 0.0, 0.0, 0.0], dtype=torch.float64))
    assert not turned(plain, camera, behind @ view)[1].any()


def test_masked_pixels_are_not_seen():
    view = SHAPE.view_from_camera(BONE_TRUTH[None])[0]
    weight = torch.ones(CLOSE.height, CLOSE.width)
    weight[: CLOSE.height // 2] = 0
    half = FixedImage(image=torch.ones_like(weight), weight=weight, camera=CLOSE)
    image, seen = turned(half, camera_at_depth(CAMERA, DEPTH_MM, float(SHAPE.depth_mm(BONE_TRUTH))), view)
    assert 0.2 < float(seen.mean()) < 0.8
    torch.testing.assert_close(image[seen > 0], torch.ones_like(image[seen > 0]))


def test_a_look_leads_to_where_the_network_sees_the_part():
    network = Oracle(FAR)
    assert error_mm(BONE, FAR, BONE_TRUTH) > 20
    (stage,) = learned(network).refine(FAR[None])
    found = stage.camera_from_world[stage.best]
    assert error_mm(BONE, found, BONE_TRUTH) < 0.5
    torch.testing.assert_close(stage.course[-1], found)
    ((image, hint),) = network.seen
    assert image.shape == hint.shape == (1, PIXELS, PIXELS)
    torch.testing.assert_close(hint, canonical_target(network.images[1], network.config), atol=1e-3, rtol=0)


def test_a_look_that_goes_astray_is_left_out():
    """It ends farther from the start than any start was from the truth in training: there is no stage."""
    of = learned(Oracle(FAR))
    assert len(of.refine(FAR[None])) == 1
    record = replace(of.model.record, translation_mm=(5.0, 5.0, 5.0))
    nearby = replace(of, model=replace(of.model, record=record))
    assert nearby.refine(FAR[None]) == []
    turned_away = replace(of.model.record, rotation_deg=(1.0, 1.0, 1.0))
    assert replace(of, model=replace(of.model, record=turned_away)).refine(FAR[None]) == []


def test_a_polish_is_one_look_from_the_pose_itself():
    near = displaced(BONE, BONE_TRUTH, 3, seed=5)
    stage = learned(Oracle(near)).polish(near)
    assert len(stage.camera_from_world) == 1
    assert error_mm(BONE, stage.camera_from_world[0], BONE_TRUTH) < 0.5


FAST = RegistrationConfig(learned=LearnedConfig(part=replace(ONE_LOOK, polish=False)))


def with_part(config: RegistrationConfig, **part) -> RegistrationConfig:
    return replace(config, learned=replace(config.learned, part=replace(config.learned.part, **part)))


def quick(config: RegistrationConfig) -> RegistrationConfig:
    stages = (replace(config.partial.stages[0], pixels=32), replace(config.partial.stages[1], pixels=64))
    search = replace(config.partial.searches[0], candidates=32, pixels=32, keep=2)
    return replace(config, partial=replace(config.partial, stages=stages, searches=(search,)))


@pytest.mark.slow
def test_a_registration_begins_where_the_network_sees_the_part():
    alone = replace(quick(FAST), learned=replace(FAST.learned, fall_back=False))
    result = register(BONE, BONE_XRAY, FAR, alone, model=model(Oracle(FAR)))
    assert [attempt.learned for attempt in result.attempts] == [("canonical",)]
    assert error_mm(BONE, result.camera_from_world, BONE_TRUTH) < 2


@pytest.mark.slow
def test_a_search_follows_whatever_the_network_has_found():
    """One that sees the part where it is not does no harm."""
    wrong = displaced(BONE, BONE_TRUTH, 12, seed=4)
    near = displaced(BONE, BONE_TRUTH, 8, seed=1)
    result = register(BONE, BONE_XRAY, near, quick(FAST), model=model(Oracle(near, wrong)))
    usual = register(BONE, BONE_XRAY, near, quick(RegistrationConfig()))
    assert result.attempts[0].learned == ("canonical",)
    assert any(not attempt.learned for attempt in result.attempts[1:])
    moved = error_mm(BONE, result.camera_from_world, usual.camera_from_world)
    assert result.similarity >= usual.similarity - 1e-6 or moved < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("margin", [1.0, 0.0])
def test_its_pose_counts_where_it_matches_about_as_well(margin):
    """The oracle sees the part 4 mm from where the X-ray shows it."""
    wrong = displaced(BONE, BONE_TRUTH, 4, seed=9)
    before = register(BONE, BONE_XRAY, BONE_TRUTH, quick(RegistrationConfig()))

    class Wrong(Oracle):
        """Sees the part there from any start."""

        def __init__(self) -> None:
            super().__init__(before.camera_from_world, wrong)

    config = with_part(quick(FAST), enabled=False, polish=True, polish_margin=margin)
    result = register(BONE, BONE_XRAY, BONE_TRUTH, config, model=model(Wrong()))
    names = [stage.name for stage in result.trace]
    if margin:
        assert "about the part" in names[-1]
        assert error_mm(BONE, result.camera_from_world, wrong) < 1
    else:
        assert not any("about the part" in name for name in names)
        torch.testing.assert_close(result.camera_from_world, before.camera_from_world)


def test_what_does_not_fit_is_refused():
    fixed = FixedImage.of(BONE_XRAY, RegistrationConfig().preprocess)
    with raises(UsageError, "model.unused", "femur", "all tissue"):
        learned_of(model(Oracle(FAR), structures=("femur",)), BONE, fixed, RegistrationConfig())
    off = RegistrationConfig(learned=LearnedConfig(part=PartLearnedConfig(enabled=False)))
    with raises(UsageError, "model.unused", "learned.part"):
        learned_of(model(Oracle(FAR)), BONE, fixed, off)
    for settings in [{"candidates": 0}, {"keep": 0}, {"reaches": (-1.0,)}, {"polish_margin": -0.1}]:
        with raises(UsageError, "registration.invalid-value"):
            PartLearnedConfig(**settings)
