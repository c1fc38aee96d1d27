"""Whole runs of a phantom: tracked, interrupted and gone on with, with every kind of bad frame."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import affine_transform
from scipy.spatial.transform import Rotation
from torch import Tensor

from isoclinic import Camera, InputError, UsageError, Volume, XRayOptions
from isoclinic.geometry import gantry_view, se3
from isoclinic.registration import RegistrationConfig, SearchConfig, Stage, StructuresConfig
from isoclinic.sequences import (
    FrameRecord,
    Frames,
    Ledger,
    SequencePlan,
    joints_of,
    relative_motion,
    track_sequence,
)
from phantoms import DEPTH_MM, error_mm, line_integrals, phantom, true_pose
from run_files import write_run

pytestmark = pytest.mark.filterwarnings("ignore::isoclinic.volumes.GeometryWarning")

VOLUME = phantom(0)
CAMERA = Camera.from_pixel_spacing(width=64, height=64, pixel_spacing_mm=(5.0, 5.0), sdd_mm=1000.0)
TRUTH = true_pose(VOLUME)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)
QUICK = RegistrationConfig(
    searches=(SearchConfig(candidates=16, keep=4),), stages=(Stage(pixels=32), Stage(pixels=64))
)
EXACT_MM = 1.5


def moved(steps: float) -> Tensor:
    tangent = steps * torch.tensor([0.004, -0.006, 0.008, 1.5, -1.0, 0.5], dtype=torch.float64)
    return se3.perturb(TRUTH, tangent, ISOCENTRE)


def picture(pose: Tensor, seed: int, camera: Camera = CAMERA) -> np.ndarray:
    rng = np.random.default_rng(seed)
    arrived = rng.poisson(2e4 * (np.exp(-line_integrals(VOLUME, pose, camera)) + 0.01))
    return (3 * arrived).clip(0, 65535).astype(np.uint16)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.stack([picture(moved(step), step) for step in range(7)])


@pytest.fixture
def run(tmp_path, pictures) -> Path:
    """Frame 2 repeats frame 1, frame 4 is blank."""
    frames = pictures[[0, 1, 1, 2, 3, 4, 5]].copy()
    frames[4] = 7
    return write_run(tmp_path / "run.dcm", frames, CAMERA, FrameTimeVector=[0, 40, 40, 40, 40, 40, 40])


def plan_of(*paths: Path, **settings) -> SequencePlan:
    settings = {"registration": QUICK, "init": "ap", **settings}
    return SequencePlan(volume=VOLUME, frames=Frames(paths), **settings)


def key_of(plan: SequencePlan) -> dict[str, str]:
    return plan.key({}, XRayOptions())


def track(plan: SequencePlan, folder: Path, **options) -> list[FrameRecord]:
    return track_sequence(plan, Ledger(folder / "poses.jsonl", key_of(plan)), **options)


@pytest.mark.slow
def test_a_run_with_a_repeated_and_a_blank_frame(run, tmp_path):
    told: list[int] = []
    records = track(plan_of(run), tmp_path, on_frame=lambda record, _: told.append(record.index))
    assert told == list(range(7))
    for record, step in zip(records, (0, 1, 1, 2, None, 4, 5), strict=True):
        if step is None:
            assert not record.usable and "shows nothing" in record.doubts[0]
        else:
            assert record.right and error_mm(VOLUME, record.camera_from_world, moved(step)) < EXACT_MM
    assert [record.unchanged for record in records] == [False, False, True, False, False, False, False]
    assert [record.searched for record in records] == [True] + 6 * [False]
    assert torch.equal(records[1].camera_from_world, records[2].camera_from_world)
    assert records[5].time_s == pytest.approx(0.2)
    lines = (tmp_path / "poses.jsonl").read_text().splitlines()
    assert len(lines) == 8 and json.loads(lines[5])["status"] == "unusable"


class Stop(Exception):
    """Stands for anything that ends the process."""


@pytest.mark.slow
@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_an_interrupted_run_goes_on_to_the_same_file(run, tmp_path, after):
    """After the search, before and after the repeated frame, after the blank one."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    track(plan_of(run), tmp_path / "whole")

    def stop(record: FrameRecord, _: bool) -> None:
        if record.index == after - 1:
            raise Stop

    with pytest.raises(Stop):
        track(plan_of(run), tmp_path / "parts", on_frame=stop)
    with (tmp_path / "parts" / "poses.jsonl").open("ab") as file:
        file.write(b'{"frame": 9, "fi')
    told: list[tuple[int, bool]] = []
    with pytest.warns(UserWarning, match="written by half"):
        track(
            plan_of(run),
            tmp_path / "parts",
            resume=True,
            on_frame=lambda each, new: told.append((each.index, new)),
        )
    assert told == [(index, index >= after) for index in range(7)]
    whole, parts = (
        [json.loads(line) for line in (tmp_path / name / "poses.jsonl").read_text().splitlines()]
        for name in ("whole", "parts")
    )
    assert_alike(whole, parts)
    # Nothing is left to do.
    before = (tmp_path / "parts" / "poses.jsonl").read_bytes()
    track(plan_of(run), tmp_path / "parts", resume=True)
    assert (tmp_path / "parts" / "poses.jsonl").read_bytes() == before


def assert_alike(one, other) -> None:
    """Equal, but for what torch leaves the order of sums open in: see the tests of sessions."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            if name in ("covariance", "check") or name.startswith("expected_"):
                assert_close(one[name], other[name])
            else:
                assert_alike(one[name], other[name])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for each, same in zip(one, other, strict=True):
            assert_alike(each, same)
    else:
        assert one == other


def assert_close(one, other) -> None:
    if isinstance(one, dict):
        for name in one:
            assert_close(one[name], other[name])
    elif isinstance(one, list):
        for each, same in zip(one, other, strict=True):
            assert_close(each, same)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-3, abs=1e-3)
    else:
        assert one == other


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"init": "pa"}, "another start"),
        ({"registration": replace(QUICK, length_mm=70.0)}, "other settings of the registration"),
        ({"moving": StructuresConfig(candidates=8)}, "other structures"),
    ],
)
def test_a_run_is_not_gone_on_with_otherwise(run, tmp_path, change, words):
    Ledger(tmp_path / "poses.jsonl", key_of(plan_of(run))).begin(7)
    with pytest.raises(UsageError, match=words):
        track(plan_of(run, **change), tmp_path, resume=True)


def test_a_run_of_other_frames_is_not_gone_on_with(run, tmp_path, pictures):
    Ledger(tmp_path / "poses.jsonl", key_of(plan_of(run))).begin(7)
    other = write_run(tmp_path / "other.dcm", pictures, CAMERA)
    with pytest.raises(UsageError, match="other X-rays"):
        track(plan_of(other), tmp_path, resume=True)


def test_a_cut_off_run_has_the_frames_that_are_there(tmp_path, pictures):
    path = write_run(tmp_path / "run.dcm", pictures[:4], CAMERA)
    path.write_bytes(path.read_bytes()[: -64 * 64 * 2 - 10])
    records = track(plan_of(path), tmp_path)
    assert [record.usable for record in records] == [True, True, False, False]
    assert "ends before frame 3" in records[3].doubts[0]
    assert records[0].time_s is None


@pytest.mark.slow
def test_geometry_that_changes_within_a_folder(tmp_path):
    """The detector moves away, then a larger part of it is read out: each frame has its own camera."""
    folder = tmp_path / "frames"
    folder.mkdir()
    cameras = [
        CAMERA,
        CAMERA,
        Camera.from_pixel_spacing(width=64, height=64, pixel_spacing_mm=(5.0, 5.0), sdd_mm=1100.0),
        Camera.from_pixel_spacing(width=72, height=60, pixel_spacing_mm=(5.0, 5.0), sdd_mm=1100.0),
        CAMERA,
    ]
    for step, camera in enumerate(cameras):
        frame = picture(moved(step), step, camera)[None]
        write_run(folder / f"{step}.dcm", frame, camera, NumberOfFrames=None)
    records = track(plan_of(folder), tmp_path)
    for step, record in enumerate(records):
        assert record.right and error_mm(VOLUME, record.camera_from_world, moved(step)) < EXACT_MM
        assert (record.cameras[0].sdd_mm, record.cameras[0].width) == (
            cameras[step].sdd_mm,
            cameras[step].width,
        )
    assert sum(record.searched for record in records) == 1


@pytest.mark.slow
def test_a_c_arm_that_turns_is_followed_by_its_angles(tmp_path):
    """It turns by four degrees from frame to frame and stops: poses turn with it before the X-ray is seen."""
    angles = [0.0, 4.0, 8.0, 8.0, 12.0]
    poses = [turned(degrees) @ TRUTH for degrees in angles]
    frames = np.stack([picture(pose, index) for index, pose in enumerate(poses)])
    path = write_run(
        tmp_path / "run.dcm",
        frames,
        CAMERA,
        PositionerPrimaryAngle="0",
        PositionerSecondaryAngle="0",
        PositionerPrimaryAngleIncrement=angles,
        DistanceSourceToPatient=f"{DEPTH_MM:g}",
    )
    records = track(plan_of(path), tmp_path)
    for record, pose in zip(records, poses, strict=True):
        assert record.right and not record.jumped
        assert error_mm(VOLUME, record.camera_from_world, pose) < EXACT_MM
    assert sum(record.searched for record in records) == 1


def turned(degrees: float) -> Tensor:
    """From the camera's frame at the angle 0 to that at a primary angle, the patient at rest."""
    return gantry_view(degrees, 0.0, DEPTH_MM) @ se3.inverse(gantry_view(0.0, 0.0, DEPTH_MM))


@pytest.mark.slow
def test_two_planes_see_depth(tmp_path, pictures):
    side = torch.tensor([[0.0, 0, -1, DEPTH_MM], [0, 1, 0, 0], [1, 0, 0, DEPTH_MM], [0, 0, 0, 1]]).double()
    first = write_run(tmp_path / "a.dcm", pictures[:3], CAMERA)
    frames = np.stack([picture(side @ moved(step), 50 + step) for step in range(3)])
    second = write_run(tmp_path / "b.dcm", frames, CAMERA)
    views = tmp_path / "views.json"
    views.write_text(json.dumps({"view_from_first": [side.tolist()]}))
    plan = plan_of(first, second_plane=Frames([second]), views=(views,))
    records = track(plan, tmp_path)
    for step, record in enumerate(records):
        assert record.right and len(record.cameras) == 2
        depth = (record.camera_from_world - moved(step))[2, :3] @ ISOCENTRE
        depth += record.camera_from_world[2, 3] - moved(step)[2, 3]
        assert abs(float(depth)) < 0.5
        assert record.expected_error_by_axis_mm[2] < 1.5
    assert [record.searched for record in records] == [True, False, False]
    short = Frames([write_run(tmp_path / "c.dcm", frames[:2], CAMERA)])
    with pytest.raises(InputError, match="3 and 2 frames"):
        plan_of(first, second_plane=short, views=(views,))
    # Nothing says how the planes lie: every frame says so.
    records = track(plan_of(first, second_plane=Frames([second])), tmp_path)
    assert not any(record.usable for record in records) and "primary_angle_deg" in records[0].doubts[0]


@pytest.mark.slow
def test_a_bending_knee(tmp_path):
    """The lower bones of the phantom flex by 0.8 degrees a frame, by warping the CT that is X-rayed."""
    voxels = np.moveaxis(np.indices(VOLUME.shape), 0, -1)
    z_mm = (voxels @ VOLUME.world_from_voxel[:3, :3].T + VOLUME.world_from_voxel[:3, 3])[..., 2]
    labels = np.where(VOLUME.hu > 250, np.where(z_mm > VOLUME.isocentre_world[2], 1, 2), 0)
    ct = VOLUME.with_labels(labels.astype(np.uint8), {1: "femur_right", 2: "tibia_right"})
    bent_deg = [0.8 * index for index in range(6)]
    frames = np.stack([_picture_of(_bent(labels, each), 20 + i) for i, each in enumerate(bent_deg)])
    path = write_run(tmp_path / "run.dcm", frames, WIDE)
    plan = SequencePlan(
        volume=ct,
        frames=Frames([path]),
        init="ap",
        structures=(("femur_right",), ("tibia_right",)),
        registration=RegistrationConfig(searches=QUICK.searches),
    )
    (joint,) = joints_of(["femur_right", "tibia_right"])
    motions = [relative_motion(record, joint) for record in track(plan, tmp_path)]
    found = np.array([motion.angles_deg for motion in motions if motion is not None])
    assert all(motion is not None and motion.right for motion in motions)
    # One view sees this turn about an axis across the beam least of all.
    np.testing.assert_allclose(found[:, 0], bent_deg, atol=1.0)
    assert np.abs(found[:, 1:]).max() < 1.0


WIDE = Camera.from_pixel_spacing(width=128, height=128, pixel_spacing_mm=(2.5, 2.5), sdd_mm=1000.0)


def _bent(labels: np.ndarray, degrees: float) -> Volume:
    """The CT whose structure 2 has turned backwards about the patient's right axis through the middle."""
    centre = VOLUME.isocentre_world
    rotation = Rotation.from_euler("x", -degrees, degrees=True).as_matrix()
    back = np.eye(4)
    back[:3, :3] = rotation.T
    back[:3, 3] = centre - rotation.T @ centre
    from_moved = np.linalg.inv(VOLUME.world_from_voxel) @ back @ VOLUME.world_from_voxel
    bone = np.where(labels == 2, VOLUME.hu - 40, 0.0)
    moved = affine_transform(bone, from_moved[:3, :3], from_moved[:3, 3], order=1)
    return Volume(
        hu=(np.where(labels == 2, 40, VOLUME.hu) + moved).astype(np.float32),
        world_from_voxel=VOLUME.world_from_voxel,
    )


def _picture_of(volume: Volume, seed: int) -> np.ndarray:
    arrived = np.random.default_rng(seed).poisson(2e4 * (np.exp(-line_integrals(volume, TRUTH, WIDE)) + 0.01))
    return (3 * arrived).clip(0, 65535).astype(np.uint16)


PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from isoclinic import XRayOptions
from isoclinic.sequences import Frames
frames = Frames([Path(sys.argv[1])])
for index in range(0, 40):
    frames.read(index)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for index in range(40, len(frames)):
    frames.read(index)
print(len(frames), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_a_thousand_frames_take_no_more_memory_than_forty(tmp_path):
    """The file has 125 MiB, of which none but the frame at hand is in memory."""
    frames = np.random.default_rng(0).integers(0, 60000, (8, 256, 256)).astype(np.uint16)
    camera = Camera.from_pixel_spacing(width=256, height=256, pixel_spacing_mm=(1.0, 1.0), sdd_mm=1000.0)
    path = write_run(tmp_path / "run.dcm", np.tile(frames, (125, 1, 1)), camera)
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True
    )
    count, grown_kib = map(int, ran.stdout.split())
    assert count == 1000 and grown_kib < 16 * 1024
