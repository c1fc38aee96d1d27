"""Networks learn; an interrupted training is the one that was not; and what is wrong is said."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from isoclinic import InputError, UsageError
from isoclinic.anatomy import CohortConfig, SkeletonConfig
from isoclinic.networks import Checkpoint, PoseRegressor, PoseRegressorConfig
from isoclinic.networks.checkpoint import PartRecord
from isoclinic.networks.part_view import PartShape
from isoclinic.training import (
    OptimizerConfig,
    RandomizationConfig,
    ToneConfig,
    TrainConfig,
    Trainer,
    TrainingData,
)
from isoclinic.training._adaptation import adaptation
from isoclinic.training.file_names import MODEL_FILE, STATE_FILE
from isoclinic.training.phase import COLUMNS, network_of
from isoclinic.training.trainer import TrainingProgress
from raising import raises
from tiny_training import CANONICAL, CONFIG, CPU, POSES, REGRESSOR, data, subject, trainer, weights

UNCHANGED = RandomizationConfig(
    acquisition=None,
    tone=ToneConfig(**{name: 0.0 for name in vars(ToneConfig()) if name.endswith("_probability")}),
)


class Watched(list):
    """What a training told: (network, batches, validated)."""

    def __call__(self, now: TrainingProgress) -> None:
        assert now.images_per_s > 0 and now.seconds_left >= 0
        self.append((now.phase.kind, now.phase.course.batches, now.validated))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Trainer, Path, Watched]:
    """Four batches of each of two networks, without a break."""
    made, folder, watched = trainer(), tmp_path_factory.mktemp("whole"), Watched()
    assert made.run(folder, watched)
    return made, folder, watched


def without_time(made: Trainer) -> dict[str, dict[str, list[float]]]:
    return {
        phase.kind: {name: values for name, values in phase.course.curve.items() if name != "minutes"}
        for phase in made.phases
    }


@pytest.mark.slow
def test_networks_are_trained_one_after_the_other(whole):
    made, _, watched = whole
    assert watched == [
        (kind, batch, batch in (1, 4)) for kind in ("pose_regressor", "canonical") for batch in range(1, 5)
    ]
    before = weights(trainer())
    changed = {name for name, value in weights(made).items() if not torch.equal(value, before[name])}
    assert {name.partition(".")[0] for name in changed} == {"pose_regressor", "canonical"}


def test_the_curves(whole):
    made, _, _ = whole
    for phase in made.phases:
        assert tuple(phase.course.curve) == COLUMNS
        assert phase.course.curve["images"] == [4.0, 16.0]
        minutes, low, median, high = (
            phase.course.curve[name] for name in ("minutes", "mtre_25_mm", "mtre_50_mm", "mtre_75_mm")
        )
        assert 0 < minutes[0] < minutes[1] == pytest.approx(phase.course.seconds / 60)
        assert all(0 < a <= b <= c for a, b, c in zip(low, median, high, strict=True))
        assert all(math.isfinite(loss) for loss in phase.course.curve["loss"])


def test_the_model_is_what_was_trained(whole):
    made, folder, _ = whole
    model = Checkpoint.load(folder / MODEL_FILE)
    assert list(model.networks) == ["pose_regressor", "canonical"]
    stored = {
        f"{kind}.{name}": value
        for kind, network in model.networks.items()
        for name, value in network.state_dict().items()
    }
    assert all(torch.equal(stored[name], value) for name, value in weights(made).items())
    record = model.record
    assert (record.volume_sha256, record.camera.width, record.camera.height) == ("0" * 64, 16, 16)
    assert record.camera.fx == pytest.approx(data().camera.fx / 8)
    assert record.rotation_deg == (30.0, 45.0, 15.0) and record.translation_mm == (10.0, 10.0, 30.0)
    assert record.curves["pose_regressor"]["images"] == (4.0, 16.0)
    network = model.networks["pose_regressor"]
    assert isinstance(network, PoseRegressor)
    for reach, bound in (
        (record.rotation_deg, network.config.rotation_deg),
        (record.translation_mm, network.config.translation_mm),
    ):
        assert all(inner < outer for inner, outer in zip(reach, bound, strict=True))
    assert network.config.length_mm == record.space.length_mm == CONFIG.length_mm


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 4, 6])
def test_an_interruption_changes_nothing(whole, tmp_path, batches):
    """Bitwise, whether a network is begun, half done or complete."""
    counted = count(1)
    assert not trainer().run(tmp_path, should_stop=lambda: next(counted) >= batches)
    begun = set(Checkpoint.load(tmp_path / MODEL_FILE).networks)
    assert begun == {"pose_regressor"} | ({"canonical"} if batches > 4 else set())
    resumed, watched = trainer(), Watched()
    resumed.resume(tmp_path)
    assert resumed.run(tmp_path, watched)
    assert len(watched) == 8 - batches
    expected = weights(whole[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())
    assert without_time(resumed) == without_time(whole[0])
    assert [phase.course.losses for phase in resumed.phases] == [
        phase.course.losses for phase in whole[0].phases
    ]


def test_a_complete_training_can_be_made_longer(whole):
    _, folder, _ = whole
    same, longer, shorter = trainer(), trainer(images=64), trainer(images=8)
    for each, progress in ((same, 1.0), (longer, 0.5), (shorter, 1.0)):
        each.resume(folder)
        assert [phase.course.progress for phase in each.phases] == [progress, progress]
    assert same.run(folder, lambda now: pytest.fail("nothing is left to do"))


@pytest.mark.parametrize("change", [{"seed": 1}, {"pixels": 24}, {"networks": ("pose_regressor",)}])
def test_another_training_is_not_gone_on_with(whole, change):
    with raises(InputError, "training.cannot-resume", STATE_FILE, next(iter(change))):
        trainer(**change).resume(whole[1])


def test_another_ct_is_not_gone_on_with(whole):
    other = Trainer(replace(data(), subjects=(subject(1),)), CONFIG, CPU)
    with raises(InputError, "training.cannot-resume", "ct_sha256"):
        other.resume(whole[1])


def test_seeds_differ(tmp_path):
    one = trainer(images=8, networks=("pose_regressor",))
    other = trainer(images=8, networks=("pose_regressor",), seed=1)
    for each in (one, other):
        each.run(tmp_path)
    for name, value in weights(one).items():
        if value.ndim > 1:
            assert not torch.equal(value, weights(other)[name]), name


def test_the_state_of_the_global_generator_is_left_alone(tmp_path):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    trainer(images=4, networks=("pose_regressor",)).run(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_only_regressors_are_spared_turned_pictures_and_views_from_anywhere():
    """A regressor predicts poses within a reach; what the others do is the same for every view."""
    poses = replace(POSES, turned_probability=0.5, anywhere_probability=0.5)
    made = trainer(networks=("pose_regressor", "canonical", "coarse_encoder"), poses=poses)
    seen = {phase.kind: made._stream(CONFIG.phase(phase.kind)).config.poses for phase in made.phases}
    assert seen["pose_regressor"] == POSES
    for kind in ("canonical", "coarse_encoder"):
        assert (seen[kind].turned_probability, seen[kind].anywhere_probability) == (0.5, 0.5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "images", "fall"), [("pose_regressor", 800, 3.0), ("canonical", 320, 1.5)]
)
def test_a_network_learns(tmp_path, network, images, fall):
    """Of shifts across the image alone, seen without noise, little is left to guess."""
    poses = replace(POSES, primary_reach_deg=0.0, secondary_reach_deg=0.0, in_plane_reach_deg=0.0)
    schedule = OptimizerConfig(learning_rate=3e-3)
    made = trainer(
        networks=(network,),
        images=images,
        poses=replace(poses, depth_reach_mm=0.0, lateral_reach_mm=20.0),
        randomization=UNCHANGED,
        pose_regressor=replace(REGRESSOR, batch=16, copies=1, optimizer=schedule),
        canonical=replace(CANONICAL, copies=1, optimizer=schedule),
    )
    losses: list[float] = []
    made.run(tmp_path, lambda now: losses.append(sum(now.phase.course.losses.values())))
    # Each is an average over the last 50 batches.
    assert losses[-1] < max(losses) / fall


def test_checkpoints_are_written_when_they_are_due(tmp_path, monkeypatch):
    made, saved = trainer(images=16, networks=("pose_regressor",), checkpoint_minutes=1e-9), []
    monkeypatch.setattr(made, "save", lambda folder: saved.append(made.phases[0].course.batches))
    made.run(tmp_path)
    assert saved == [1, 2, 3, 4]
    made, saved = trainer(images=16, networks=("pose_regressor",)), []
    monkeypatch.setattr(made, "save", lambda folder: saved.append(made.phases[0].course.batches))
    made.run(tmp_path)
    assert saved == [4]


def test_minutes_end_a_training(tmp_path):
    made = trainer(minutes=1e-4, images=None, networks=("pose_regressor",), validations=1)
    lengths = Watched()
    assert made.run(tmp_path, lengths)
    assert made.phases[0].course.seconds >= 60 * 1e-4
    assert len(lengths) == made.phases[0].course.batches


def test_precision():
    """Tiny images make oneDNN's bfloat16 gradients of strided convolutions arbitrary."""
    for pixels, precision, expected in (
        (16, "bfloat16", torch.float32),
        (32, "bfloat16", torch.bfloat16),
        (32, "float32", torch.float32),
    ):
        made = trainer(networks=("pose_regressor",), pixels=pixels, precision=precision)
        (phase,) = made.phases
        assert phase._objective._dtype is expected
        phase.advance(made._length("pose_regressor"))
        assert all(
            parameter.dtype is torch.float32 and parameter.grad.isfinite().all()
            for parameter in phase.network.parameters()
        )


def test_a_folder_that_cannot_be_written_to(tmp_path):
    with raises(InputError, "output.unwritable", "state.safetensors"):
        trainer(images=4, networks=("pose_regressor",)).run(tmp_path / "no")


def test_a_gpu_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with raises(UsageError, "installation.no-gpu", "`device`", "cuda"):
        Trainer(data(), CONFIG, torch.device("cuda"))


def any_patient(**changes) -> Trainer:
    """A trainer on two CTs, a third held out."""
    some = TrainingData(
        subjects=(subject(0), subject(1)), camera=data().camera, held_out=(subject(2),), one_patient=False
    )
    skeleton = SkeletonConfig(voxels=12, voxel_mm=25.0)
    cohort = CohortConfig(present=2, batches=1, skeletons=0.5, voxel_mm=3.0, skeleton=skeleton)
    return Trainer(some, replace(CONFIG, networks=("canonical",), cohort=cohort, **changes), CPU)


@pytest.mark.slow
def test_networks_of_any_patient(tmp_path):
    """Bitwise the same when interrupted: the cohort is where it would have been."""
    whole, watched = any_patient(), Watched()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert whole.run(tmp_path / "a", watched)
    assert len(watched) == 8
    record = whole.checkpoint().record
    assert record.volume_sha256 is None
    counted = count(1)
    assert not any_patient().run(tmp_path / "b", should_stop=lambda: next(counted) >= 3)
    resumed = any_patient()
    resumed.resume(tmp_path / "b")
    assert resumed.run(tmp_path / "b")
    expected = weights(whole)
    assert all(torch.equal(value, expected[name]) for name, value in weights(resumed).items())
    assert without_time(resumed) == without_time(whole)
    with raises(InputError, "training.cannot-resume", "one_patient"):
        trainer(networks=("canonical",)).resume(tmp_path / "b")


def test_held_out_cts_are_validated_on(tmp_path):
    for made, expected in ((any_patient(), [2]), (any_patient(validation_images=4), [2]), (trainer(), [0])):
        batches = [each.batch for each in made._validations]
        assert [len(batch.fixed) for batch in batches] == [made.config.validation_images]
        for seed, batch in zip(expected, batches, strict=True):
            assert np.array_equal(batch.volume.hu, subject(seed).volume.hu)


def test_several_cts_are_validated_on_alike():
    some = TrainingData(subjects=(subject(0), subject(1)), camera=data().camera, one_patient=False)
    made = Trainer(some, replace(CONFIG, validation_images=3), CPU)
    for each, of in zip(made._validations, some.subjects, strict=True):
        assert len(each.batch.fixed) == 2
        np.testing.assert_allclose(each.space.isocentre_world, of.volume.isocentre_world)


def test_a_training_starts_from_a_model(whole):
    model = Checkpoint.load(whole[1] / MODEL_FILE)
    other = Trainer(TrainingData(subjects=(subject(1),), camera=data().camera), CONFIG, CPU)
    other.start_from(model)
    expected = weights(whole[0])
    assert all(torch.equal(value, expected[name]) for name, value in weights(other).items())


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"poses": replace(POSES, source_isocentre_mm=600.0)}, ("model.unsuitable", "nominal view")),
        ({"pixels": 24}, ("model.unsuitable", "field of view")),
        (
            {"pose_regressor": replace(REGRESSOR, network=PoseRegressorConfig(width=16))},
            ("model.unsuitable", "pose_regressor"),
        ),
        (
            {"networks": ("canonical", "fine_encoder")},
            ("model.unsuitable", "fine_encoder"),
        ),
    ],
)
def test_a_training_of_other_networks_does_not(whole, change, fault):
    made = trainer(**change)
    before = weights(made)
    with raises(InputError, *fault):
        made.start_from(Checkpoint.load(whole[1] / MODEL_FILE))
    assert all(torch.equal(value, before[name]) for name, value in weights(made).items())


def test_an_adaptation_is_of_the_models_networks_and_views(whole):
    model = Checkpoint.load(whole[1] / MODEL_FILE)
    config = adaptation(model, minutes=2.0, learning_rate=1e-4)
    assert config.minutes == 2.0 and config.networks == CONFIG.networks
    assert config.pose_regressor.optimizer.learning_rate == 1e-4
    for name, value in vars(POSES).items():
        if name != "perturbation_mm" and not isinstance(value, str):
            # Angles come back from a matrix, to rounding; 180 and -180 degrees are one angle.
            turns = 360.0 if name == "primary_angle_deg" else math.inf
            assert math.remainder(getattr(config.poses, name) - value, turns) == pytest.approx(0, abs=1e-6)
    Trainer(data(), config, CPU).start_from(model)


@pytest.mark.parametrize("subjects", [(), (0, 1)])
def test_nobody_or_several_are_not_one_patient(subjects):
    with raises(UsageError, "training.no-ct", "one patient"):
        TrainingData(subjects=tuple(map(subject, subjects)), camera=data().camera)


def test_every_network_has_a_pace_of_its_own(monkeypatch):
    """The second one is slow: that is known from the first batch of the first one on, and changes nothing."""
    made, told = trainer(), []
    slow = made.phases[1]
    original = type(slow._objective).forward

    def slowly(self, batch):
        time.sleep(0.2)
        return original(self, batch)

    monkeypatch.setattr(type(slow._objective), "forward", slowly)
    for progress in made._progress():
        told.append(progress.seconds_left)
        break
    # 16 X-rays of 4 each in a batch, 0.2 s a batch and what the network itself takes.
    assert told[0] > 4 * 0.2
    untouched = network_of(CANONICAL, seed=0).state_dict()
    assert all(torch.equal(weights(made)[f"canonical.{name}"], value) for name, value in untouched.items())


PART = TrainConfig.for_part()
TINY_PART = replace(
    PART,
    images=32,
    pixels=16,
    validations=1,
    validation_images=2,
    part=replace(PART.part, surroundings=replace(PART.part.surroundings, voxels=16, things=(0, 1))),
    canonical=replace(
        CANONICAL, optimizer=OptimizerConfig(), network=replace(CANONICAL.network, hint=True, saturation=2.0)
    ),
)


@pytest.mark.slow
def test_a_network_of_a_part(tmp_path):
    """Its camera is made from the part, whatever that of the data, and the model says how it sees it."""
    made = Trainer(data(), TINY_PART, CPU)
    assert made.run(tmp_path)
    record = Checkpoint.load(tmp_path / MODEL_FILE).record
    assert record.part == PartRecord(structures=None, depth_mm=TINY_PART.poses.source_isocentre_mm)
    shape = PartShape.of(data().subjects[0].volume)
    across = record.camera.fx * 2 * shape.radius_mm / record.part.depth_mm
    assert record.camera.width == 16
    assert across == pytest.approx(16 / TINY_PART.part.field_of_view)
    assert made.phases[0].course.curve["images"] == [4.0, 32.0]


def test_a_part_has_the_canonical_network_with_a_hint_alone():
    for changes in (
        {"part": None},
        {"networks": ("canonical", "pose_regressor")},
        {"cohort": CohortConfig()},
        {"canonical": CANONICAL},
    ):
        with raises(UsageError, "training.invalid-value", "preset"):
            replace(PART, **changes)
