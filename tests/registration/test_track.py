"""Tracking through runs of simulated X-rays: motion, jumps, frames that are bad, missing or repeated."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import gantry_view, se3
from isoclinic.registration import RegistrationConfig, SearchConfig, Session, TrackConfig, Tracker, View
from phantoms import CAMERA, DEPTH_MM, error_mm, phantom, true_pose, xray_of
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_frame_that_cannot_be_used_ends_nothing():
    tracker = Tracker(SESSION, "ap")
    tracker.add(xray_at(0, 0))
    tracker.add(xray_at(1, 1))
    bad = tracker.add(xray_at(2, 2).crop(top=60, left=0, height=7, width=128))
    assert bad.result is None and bad.unusable and bad.doubts == (bad.unusable,)
    frame = tracker.add(xray_at(3, 3))
    assert not frame.searched and not frame.doubts
    assert error_mm(VOLUME, frame.camera_from_world, moved(3)) < EXACT_MM


@pytest.mark.slow
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


@pytest.mark.slow
def test_after_many_frames_without_a_pose_the_motion_says_nothing():
    tracker = Tracker(SESSION, "ap", TrackConfig(gap=1))
    for step in (0, 1):
        last = tracker.add(xray_at(step, step))
    tracker.skip("dark")
    tracker.skip("dark")
    frame = tracker.add(xray_at(1.5, 4))
    assert torch.equal(frame.result.initial.camera_from_world, last.camera_from_world)
    assert error_mm(VOLUME, frame.camera_from_world, moved(1.5)) < EXACT_MM


@pytest.mark.slow
def test_a_first_frame_that_cannot_be_used_leaves_the_start_to_the_next():
    tracker = Tracker(SESSION, "ap")
    assert tracker.skip("dark").result is None
    frame = tracker.add(xray_at(0))
    assert frame.searched and frame.index == 1 and not frame.jumped
    assert frame.result.initial.source == "preset ap"


def gantry(degrees: float) -> Tensor:
    return gantry_view(degrees, 0.0, DEPTH_MM)


def turned_xray(degrees: float, seed: int):
    """What the C-arm takes at a primary angle of a patient at rest, and the pose."""
    pose = gantry(degrees) @ se3.inverse(gantry(0.0)) @ TRUTH
    xray = xray_of(VOLUME, pose, seed)
    return replace(xray, primary_angle_deg=degrees, secondary_angle_deg=0.0), pose


@pytest.mark.slow
def test_poses_turn_with_the_c_arm():
    tracker = Tracker(SESSION, "ap")
    tracker.add(turned_xray(0.0, 0)[0])
    for seed, degrees in enumerate((6.0, 12.0, 12.0, 3.0), start=1):
        xray, pose = turned_xray(degrees, seed)
        frame = tracker.add(xray)
        assert error_mm(VOLUME, frame.result.initial.camera_from_world, pose) < EXACT_MM
        assert error_mm(VOLUME, frame.camera_from_world, pose) < EXACT_MM
        assert not (frame.jumped or frame.doubts or frame.searched)


@pytest.mark.slow
def test_angles_that_are_wrong_do_not_lead_astray():
    """The header says that the C-arm turned, but it did not: the last pose matches better."""
    tracker = Tracker(SESSION, "ap")
    tracker.add(turned_xray(0.0, 0)[0])
    frame = tracker.add(replace(turned_xray(0.0, 1)[0], primary_angle_deg=8.0))
    assert not frame.searched and error_mm(VOLUME, frame.camera_from_world, TRUTH) < EXACT_MM
    assert error_mm(VOLUME, frame.result.initial.camera_from_world, TRUTH) < EXACT_MM
    assert frame.jumped, "it is far from where the header says"


@pytest.mark.slow
def test_where_the_motion_stops_the_last_pose_is_begun_at():
    tracker = Tracker(SESSION, "ap")
    for step in (0, 1, 2):
        tracker.add(xray_at(step, step))
    frame = tracker.add(xray_at(2, 9))
    assert error_mm(VOLUME, frame.result.initial.camera_from_world, moved(2)) < EXACT_MM
    assert error_mm(VOLUME, frame.camera_from_world, moved(2)) < EXACT_MM and not frame.jumped


@pytest.mark.slow
def test_errors_of_single_poses_average_out_of_the_motion():
    """A patient who trembles: the line through four places, by numpy, and not that through the last two."""
    steps = [0.0, 1.3, 1.7, 3.3]
    tracker = Tracker(SESSION, "ap")
    homogeneous = torch.cat([ISOCENTRE, ISOCENTRE.new_ones(1)])
    places = [
        (tracker.add(xray_at(step, seed)).camera_from_world @ homogeneous)[:2].numpy()
        for seed, step in enumerate(steps)
    ]
    start = tracker.add(xray_at(4, 9)).result.initial.camera_from_world
    found = (start @ homogeneous)[:2].numpy()
    line = [np.polyval(np.polyfit(range(4), [place[axis] for place in places], 1), 4) for axis in (0, 1)]
    np.testing.assert_allclose(found, line, atol=0.1)
    assert np.linalg.norm(found - (2 * places[3] - places[2])) > 1


SIDE = torch.tensor([[0.0, 0, -1, DEPTH_MM], [0, 1, 0, 0], [1, 0, 0, DEPTH_MM], [0, 0, 0, 1]]).double()


def pair_at(steps: float, seed: int) -> list[View]:
    """A frame of two planes at a right angle."""
    second = xray_of(VOLUME, SIDE @ moved(steps), seed + 50)
    return [View(xray=xray_at(steps, seed)), View(xray=second, view_from_first=SIDE)]


@pytest.mark.slow
def test_two_planes_are_followed_as_one():
    tracker = Tracker(SESSION, "ap")
    frames = [tracker.add(pair_at(step, step)) for step in range(4)]
    assert [frame.searched for frame in frames] == [True, False, False, False]
    for step, frame in enumerate(frames):
        # Depth, too: one plane sees what the other one does not.
        assert error_mm(VOLUME, frame.camera_from_world, moved(step)) < 0.5
        assert not frame.doubts and len(frame.result.cameras) == 2
    assert tracker.add(pair_at(3, 3)).unchanged
    one = pair_at(4, 4)[0]
    assert not tracker.add([one, View(xray=pair_at(3, 3)[1].xray, view_from_first=SIDE)]).unchanged


@pytest.mark.slow
def test_a_state_that_was_kept_leads_to_the_same_poses():
    whole = Tracker(Session(VOLUME, SMALL), "ap")
    for step in (0, 1, 2):
        whole.add(xray_at(step, step), time_s=step / 10)
    state = json.loads(json.dumps(whole.state()))
    tracker = Tracker(Session(VOLUME, SMALL), "ap")
    tracker.restore(state, xray_at(2, 2))
    repeated = tracker.add(xray_at(2, 2), time_s=0.25)
    assert repeated.unchanged and repeated.result is None and repeated.index == 3
    whole.add(xray_at(2, 2), time_s=0.25)
    for step in (3, 4):
        one, other = (each.add(xray_at(step, step), time_s=step / 10) for each in (whole, tracker))
        assert torch.equal(one.camera_from_world, other.camera_from_world)
        assert (one.index, one.searched, one.jumped) == (other.index, other.searched, other.jumped)
    with pytest.raises(UsageError, match="not after"):
        tracker.add(xray_at(5), time_s=0.1)


@pytest.mark.slow
def test_a_state_before_any_frame_and_after_a_doubtful_one():
    fresh = Tracker(Session(VOLUME, SMALL), "ap")
    tracker = Tracker(Session(VOLUME, SMALL), "ap")
    tracker.restore(json.loads(json.dumps(fresh.state())))
    assert tracker.add(xray_at(0)).searched
    hidden = replace(xray_at(0), excluded=np.eye(128, dtype=bool) == 0)
    fresh.add(hidden)
    tracker.restore(json.loads(json.dumps(fresh.state())))
    frame = tracker.add(xray_at(1))
    assert frame.searched and frame.index == 1 and not frame.doubts


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"index": 1, "time_s": None, "seen": [{}], "session": {}},
        {"index": 1, "time_s": None, "seen": [], "session": {"begun": True, "trusted": {"edges": 1}}},
        {"index": "x", "time_s": None, "seen": [], "session": {}},
    ],
)
def test_what_is_no_state(state):
    with pytest.raises(InputError, match="damaged"):
        Tracker(Session(VOLUME, SMALL), "ap").restore(state)


@pytest.mark.parametrize(
    "settings", [{"jump_mm": 0}, {"jump_deg": float("nan")}, {"gap": -1}, {"history": 1}]
)
def test_settings_that_cannot_be(settings):
    with raises(UsageError, "registration.invalid-value", *settings):
        TrackConfig(**settings)
