"""Tracking through runs of simulated X-rays: motion, jumps, frames that are bad, missing or repeated."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclinic.errors import UsageError
from isoclinic.geometry import se3
from isoclinic.registration import RegistrationConfig, SearchConfig, Session, TrackConfig, Tracker
from phantoms import CAMERA, error_mm, phantom, true_pose, xray_of
from raising import raises

VOLUME, OTHER = phantom(0), phantom(1)
TRUTH = true_pose(VOLUME)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)
SMALL = RegistrationConfig(searches=(SearchConfig(candidates=32, keep=6),))
SESSION = Session(VOLUME, SMALL)
EXACT_MM = 1.0


def moved(steps: float) -> Tensor:
    """Along a steady motion of 2.2 mm across the beam and 0.8 degrees a step."""
    tangent = steps * torch.tensor([0.006, -0.008, 0.01, 2.0, -1.0, 0.5], dtype=torch.float64)
    return se3.perturb(TRUTH, tangent, ISOCENTRE)


def xray_at(steps: float, seed: int = 0):
    return xray_of(VOLUME, moved(steps), seed)


def test_each_frame_starts_where_the_motion_leads():
    tracker = Tracker(SESSION, "ap")
    frames = [tracker.add(xray_at(step, step)) for step in range(5)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame.searched for frame in frames] == [True, False, False, False, False]
    assert not any(frame.jumped or frame.unchanged or frame.doubts for frame in frames)
    for step, frame in enumerate(frames):
        assert error_mm(VOLUME, frame.camera_from_world, moved(step)) < EXACT_MM
    starts = [
        error_mm(VOLUME, frame.result.initial.camera_from_world, moved(i)) for i, frame in enumerate(frames)
    ]
    assert starts[1] > 2, "there is no motion yet"
    assert max(starts[2:]) < EXACT_MM


def test_times_say_how_far_the_motion_leads():
    """A dropped frame, and one that took twice as long: the expected pose lies that much farther on."""
    tracker = Tracker(SESSION, "ap")
    for step in (0, 1):
        tracker.add(xray_at(step, step), time_s=10 + 0.1 * step)
    frame = tracker.add(xray_at(3, 3), time_s=10.3)
    assert error_mm(VOLUME, frame.result.initial.camera_from_world, moved(3)) < EXACT_MM
    skipped = tracker.skip("cut short", time_s=10.35)
    assert (skipped.index, skipped.doubts, skipped.camera_from_world) == (3, ("cut short",), None)
    frame = tracker.add(xray_at(4, 4), time_s=10.4)
    assert error_mm(VOLUME, frame.result.initial.camera_from_world, moved(4)) < EXACT_MM
    assert not (frame.searched or frame.jumped)
    for bad in (10.4, 10.0, float("nan")):
        with raises(UsageError, "registration.invalid-value", "time_s", "frame 5"):
            tracker.add(xray_at(5), time_s=bad)


def test_an_equal_frame_has_the_result_of_the_one_before():
    tracker = Tracker(SESSION, "ap")
    first, second = tracker.add(xray_at(0)), tracker.add(xray_at(1))
    same = tracker.add(replace(xray_at(1)))
    assert same.unchanged and same.result is second.result and same.index == 2
    assert not first.unchanged and not second.unchanged
    # The same pixels by another camera, or one of them different, are another frame.
    shifted = replace(xray_at(1), camera=replace(CAMERA, cx=CAMERA.cx + 1), stored_camera=None)
    assert not tracker.add(shifted).unchanged
    pixels = shifted.pixels.copy()
    pixels[5, 5] += 1
    assert not tracker.add(replace(shifted, pixels=pixels)).unchanged


def test_a_jump_is_found_and_marked_and_no_motion():
    tracker = Tracker(SESSION, "ap")
    for step in range(3):
        tracker.add(xray_at(step, step))
    far = tracker.add(xray_at(8, 8))
    assert far.jumped and error_mm(VOLUME, far.camera_from_world, moved(8)) < EXACT_MM
    after = tracker.add(xray_at(8, 9))
    assert not after.jumped and not after.searched
    assert torch.equal(after.result.initial.camera_from_world, far.camera_from_world)
    assert error_mm(VOLUME, after.camera_from_world, moved(8)) < EXACT_MM


def test_a_frame_that_cannot_be_used_ends_nothing():
    tracker = Tracker(SESSION, "ap")
    tracker.add(xray_at(0, 0))
    tracker.add(xray_at(1, 1))
    bad = tracker.add(xray_at(2, 2).crop(top=60, left=0, height=7, width=128))
    assert bad.result is None and bad.unusable and bad.doubts == (bad.unusable,)
    frame = tracker.add(xray_at(3, 3))
    assert not frame.searched and not frame.doubts
    assert error_mm(VOLUME, frame.camera_from_world, moved(3)) < EXACT_MM


def test_a_doubtful_frame_is_not_gone_on_from():
    tracker = Tracker(SESSION, "ap")
    tracker.add(xray_at(0, 0))
    tracker.add(xray_at(1, 1))
    # All but a line of pixels is hidden.
    hidden = tracker.add(replace(xray_at(2, 2), excluded=np.eye(128, dtype=bool) == 0))
    assert hidden.doubts and hidden.searched
    frame = tracker.add(xray_at(3, 3))
    assert not (frame.searched or frame.doubts or frame.jumped)
    assert error_mm(VOLUME, frame.result.initial.camera_from_world, moved(3)) < EXACT_MM
    assert error_mm(VOLUME, frame.camera_from_world, moved(3)) < EXACT_MM


def test_after_many_frames_without_a_pose_the_motion_says_nothing():
    tracker = Tracker(SESSION, "ap", TrackConfig(gap=1))
    for step in (0, 1):
        last = tracker.add(xray_at(step, step))
    tracker.skip("dark")
    tracker.skip("dark")
    frame = tracker.add(xray_at(1.5, 4))
    assert torch.equal(frame.result.initial.camera_from_world, last.camera_from_world)
    assert error_mm(VOLUME, frame.camera_from_world, moved(1.5)) < EXACT_MM


def test_a_first_frame_that_cannot_be_used_leaves_the_start_to_the_next():
    tracker = Tracker(SESSION, "ap")
    assert tracker.skip("dark").result is None
    frame = tracker.add(xray_at(0))
    assert frame.searched and frame.index == 1 and not frame.jumped
    assert frame.result.initial.source == "preset ap"


@pytest.mark.parametrize("settings", [{"jump_mm": 0}, {"jump_deg": float("nan")}, {"gap": -1}])
def test_settings_that_cannot_be(settings):
    with raises(UsageError, "registration.invalid-value", *settings):
        TrackConfig(**settings)
