"""What people see of a run: charts, pictures, tables, verdict and page."""

import csv
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial.transform import Rotation

from isoclinic import UsageError
from isoclinic.geometry import se3
from isoclinic.registration import RegistrationConfig
from isoclinic.sequences import (
    FrameRecord,
    Frames,
    SequenceConfig,
    StructureRecord,
    TrackedSequence,
    joints_of,
    sequence_verdict,
    write_sequence,
)
from isoclinic.sequences.charts import Point, chart
from isoclinic.sequences.motion import parameters
from isoclinic.sequences.pictures import chosen, frame_picture, planes_picture
from isoclinic.sequences.report import _spans
from isoclinic.sequences.tables import write_poses, write_relative
from phantoms import CAMERA, line_integrals, phantom, true_pose
from run_files import write_run

pytestmark = pytest.mark.filterwarnings("ignore::isoclinic.volumes.GeometryWarning")
VOLUME = phantom(0)
TRUTH = true_pose(VOLUME)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)


def record(index: int, pose=TRUTH, **changes) -> FrameRecord:
    return replace(
        FrameRecord(
            index=index,
            file="run.dcm",
            number=index,
            time_s=index / 10,
            status="converged",
            camera_from_world=pose,
            cameras=(CAMERA,),
            expected_error_mm=0.5,
            expected_error_by_axis_mm=(0.1, 0.2, 0.4),
            expected_rotation_deg=0.1,
            edges=0.9,
        ),
        **changes,
    )


DOUBTFUL = {"status": "doubtful", "doubts": ("it hardly matches",), "expected_error_by_axis_mm": None}
NONE = {"status": "unusable", "camera_from_world": None, "cameras": (), "doubts": ("it is blank",)}


@pytest.fixture
def sequence(tmp_path) -> TrackedSequence:
    """Four frames: right, a jump, doubtful, unusable."""
    intensity = 60000 * np.exp(-line_integrals(VOLUME, TRUTH))
    frames = np.stack([intensity.astype(np.uint16)] * 3 + [np.zeros((128, 128), np.uint16)])
    path = write_run(tmp_path / "run.dcm", frames, CAMERA)
    records = [record(0), record(1, jumped=True), record(2, **DOUBTFUL), record(3, **NONE)]
    return TrackedSequence(
        volume=VOLUME,
        frames=Frames([path]),
        records=records,
        registration=RegistrationConfig(),
        config=SequenceConfig(),
    )


def test_the_verdict_counts_every_frame(sequence):
    assert sequence_verdict(sequence, Path("x/report.html")) == (
        "DOUBTFUL: 2 of 4 frames passed all checks, 1 doubtful, 1 without a pose, 1 jump; frame 2: it"
        " hardly matches"
        " -> x/report.html"
    )
    assert sequence.doubtful
    one = write_run(Path(sequence.frames.files[0]), np.ones((2, 8, 8), np.uint16), CAMERA.bin(16))
    fine = replace(sequence, frames=Frames([one]), records=[record(0), record(1, status="max_steps")])
    assert sequence_verdict(fine) == "2 of 2 frames passed all checks" and not fine.doubtful
    assert fine.counts["unsettled"] == 1
    # A run that ended early is not right, whatever its frames are.
    assert replace(fine, records=[record(0)]).doubtful


def test_doubts_of_a_structure_make_its_frame_doubtful():
    bone = StructureRecord(
        status="doubtful",
        camera_from_world=TRUTH,
        centroid_world=(0.0, 0.0, 0.0),
        expected_error_mm=None,
        doubts=("out of view",),
    )
    found = record(0, structures={"hip": bone})
    assert not found.right and found.all_doubts == ("hip: out of view",)


def test_six_parameters_are_those_of_the_motion():
    """A turn and a shift in the camera's axes, about the CT's centre; written out."""
    centre = (TRUTH[:3, :3] @ ISOCENTRE + TRUTH[:3, 3]).numpy()
    turn_deg, shift = np.array([3.0, -20.0, 5.0]), np.array([4.0, -2.0, 10.0])
    rotation = Rotation.from_rotvec(turn_deg, degrees=True).as_matrix()
    motion = np.eye(4)
    motion[:3, :3] = rotation
    motion[:3, 3] = centre - rotation @ centre + shift
    moved = torch.from_numpy(motion) @ TRUTH
    none, first, second = parameters([record(0, **NONE), record(1), record(2, moved)], ISOCENTRE)
    assert none is None
    np.testing.assert_allclose(first, [*centre, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(second, [*(centre + shift), *turn_deg], atol=1e-9)
    # What is doubtful is not what others are told relative to.
    far = se3.perturb(TRUTH, torch.tensor([1.0, 0, 0, 0, 0, 0]).double(), ISOCENTRE)
    doubtful, right = parameters([record(0, far, **DOUBTFUL), record(1)], ISOCENTRE)
    assert right is not None and doubtful is not None
    np.testing.assert_allclose(right[3:], 0, atol=1e-9)
    assert abs(doubtful[3]) > 50
    assert parameters([record(0, **NONE)], ISOCENTRE) == [None]


def test_tables_can_be_read_back(tmp_path, sequence):
    write_poses(tmp_path / "poses.csv", sequence.records, ISOCENTRE)
    with (tmp_path / "poses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["converged", "converged", "doubtful", "unusable"]
    assert [row["jumped"] for row in rows] == ["0", "1", "0", "0"]
    assert rows[2]["expected_right_mm"] == "" and rows[2]["right_mm"] != ""
    assert rows[3]["right_mm"] == "" and rows[3]["doubts"] == "it is blank"
    assert float(rows[1]["time_s"]) == 0.1
    write_relative(tmp_path / "relative.csv", sequence.records, joints_of(["hip_left", "hip_right"]))
    with (tmp_path / "relative.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 and {row["doubtful"] for row in rows} == {"1"}


def paths(figure: str, kind: str) -> list[str]:
    return re.findall(rf'<\w+ class="{kind}"[^>]*>', figure)


def test_a_chart_shows_every_frame_once():
    values = [(0.0, 1.0, True), (1.0, 1.5, True), (2.0, 90.0, False), (3.0, 2.0, True), (4.0, None, False)]
    points = [Point(time=time, value=value, right=right) for time, value, right in values]
    points.append(Point(time=5.0, value=1.8, jumped=True))
    figure = str(chart("Right <i>", "mm", points, "s"))
    assert "Right &lt;i&gt;" in figure and "from 1.00 to 2.00 mm, 2 of 6 doubtful" in figure
    # Lines are broken where a frame is doubtful or has no value.
    assert len(paths(figure, "course")) == 3
    assert len(paths(figure, "doubtful")) == len(paths(figure, "missing")) == len(paths(figure, "jump")) == 1
    # The far-away doubtful value does not squeeze the others: they take most of the height.
    line = next(each for each in paths(figure, "course") if each.count(",") == 2)
    first, second = (float(each.split(",")[1]) for each in re.search(r'points="(.*)"', line)[1].split())
    assert first - second > 15


@pytest.mark.parametrize("value", [0.0, 1e-9, -7.25, 12345.678])
def test_a_course_that_stands_still_is_a_line_within_the_picture(value):
    points = [Point(time=float(index), value=value) for index in range(3)]
    figure = str(chart("x", "mm", points, "frame", from_zero=value >= 0))
    (line,) = paths(figure, "course")
    places = [float(each.split(",")[1]) for each in re.search(r'points="(.*)"', line)[1].split()]
    assert len(set(places)) == 1 and 0 < places[0] < 150
    assert len(re.findall('class="grid"', figure)) >= 2


def test_one_frame_and_no_value_at_all():
    assert "0 of 1 doubtful" in chart("x", "mm", [Point(time=0.0, value=2.0)], "s")
    figure = chart("x", "mm", [Point(time=0.0, value=None, right=False)], "s")
    assert "not known in any frame" in figure and not paths(figure, "course")


def test_numbers_of_frames_for_people():
    assert _spans([4]) == "frame 4"
    assert _spans([0, 1, 2, 7]) == "frames 0 to 2, 7"
    assert _spans(list(range(0, 40, 2))).endswith("14, ...")


def test_few_frames_of_many_are_evenly_spread():
    records = [record(index) for index in range(100)]
    assert [each.index for each in chosen(records, 4)] == [0, 33, 66, 99]
    assert chosen(records[:3], 4) == records[:3]


def test_a_picture_has_edges_where_the_ct_is(sequence):
    right, jump, doubtful, unusable = (
        np.asarray(
            frame_picture(VOLUME, sequence.frames, each, sequence.registration, 256).convert("RGB")
        ).astype(int)
        for each in sequence.records
    )
    assert right.shape == (256 + 20, 256, 3)
    orange = (right == (255, 140, 0)).all(axis=-1)
    # Edges lie where the CT is: the picture's outermost parts are air.
    assert 100 < orange.sum() < 15000 and not orange[:16].any()
    assert (jump[0, 100] == (240, 228, 66)).all() and (doubtful[0, 100] == (230, 40, 40)).all()
    assert not (unusable == (255, 140, 0)).all(axis=-1).any()
    # The X-ray is bright where dense.
    assert right[128, 128].mean() > right[2, 2].mean() + 50


@pytest.mark.slow
def test_both_planes_are_shown_side_by_side_each_with_its_edges(sequence, tmp_path):
    """In the second plane the CT is seen from the side; the picture of each is the one it has alone."""
    turn, centre = torch.eye(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
    centre[:3, 3] = (TRUTH @ torch.cat([ISOCENTRE, ISOCENTRE.new_ones(1)]))[:3]
    side = centre @ turn @ se3.inverse(centre) @ TRUTH
    intensity = (60000 * np.exp(-line_integrals(VOLUME, side))).astype(np.uint16)
    second = Frames([write_run(tmp_path / "side.dcm", np.stack([intensity] * 4), CAMERA)])
    both = record(0, further_from_world=(side,), cameras=(CAMERA, CAMERA))
    planes, registration = [sequence.frames, second], sequence.registration
    whole = planes_picture(VOLUME, planes, both, registration, 256)
    assert whole.size == (512, 276)
    first = frame_picture(VOLUME, sequence.frames, record(0), registration, 256)
    alone = frame_picture(VOLUME, second, record(0, pose=side), registration, 256)
    halves = [np.asarray(whole.convert("RGB"))[:, part] for part in (np.s_[:256], np.s_[256:])]
    for half, expected in zip(halves, (first, alone), strict=True):
        assert (half == np.asarray(expected.convert("RGB"))).all()
        assert (half == (255, 140, 0)).all(axis=-1).sum() > 100
    # A frame without a pose has no edges in either plane.
    none = planes_picture(VOLUME, planes, record(3, **NONE), registration, 256)
    assert not (np.asarray(none.convert("RGB")) == (255, 140, 0)).all(axis=-1).any()
    run = replace(sequence, second_plane=second, records=[replace(both, index=n) for n in range(4)])
    write_sequence(tmp_path, run)
    with Image.open(tmp_path / "animation.gif") as film:
        assert film.size == (512, 276)


@pytest.mark.slow
def test_the_animation_shows_every_frame_as_long_as_it_took(sequence, tmp_path):
    write_sequence(tmp_path, sequence)
    with Image.open(tmp_path / "animation.gif") as film:
        durations = []
        for index in range(film.n_frames):
            film.seek(index)
            durations.append(film.info["duration"])
        assert sum(durations) == 400 and film.size == (256, 276)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "frame 2: it hardly matches" in page and "Frames that need a look" in page
    assert 'data-status="doubtful"' in page and "data:image/gif;base64," in page
    assert not re.search(r'(src|href)="(?!data:)', page), "the page loads nothing"


def test_a_run_of_changing_size_is_shown_in_one(tmp_path, sequence):
    small = write_run(tmp_path / "small.dcm", np.eye(64, dtype=np.uint16)[None] * 9 + 1, CAMERA.bin(2))
    run = replace(
        sequence,
        frames=Frames([sequence.frames.files[0], small]),
        records=[*sequence.records, record(4, cameras=(CAMERA.bin(2),))],
        config=SequenceConfig(animation_pixels=100),
    )
    write_sequence(tmp_path, run)
    with Image.open(tmp_path / "animation.gif") as film:
        assert film.size[0] == 64 and film.n_frames >= 4


@pytest.mark.parametrize(
    "settings", [{"animation_pixels": 8}, {"animation_frames": 0}, {"stills": -1}, {"frame_time_s": 0}]
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(UsageError):
        SequenceConfig(**settings)
