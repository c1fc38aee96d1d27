"""Landmarks, masks, bones and options of reading, as a page sets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from isoclinic.errors import UsageError
from isoclinic.geometry import se3
from isoclinic.live.actions import reading_options
from isoclinic.live.scene import drawn
from isoclinic.live.state import Shape
from raising import raises

from ..cli.conftest import CAMERA, true_pose
from .conftest import Served

POINTS = np.random.default_rng(4).uniform(-45, 45, (6, 3))


def marked(**options) -> list[dict]:
    """Landmarks where the true pose shows them, in pixels of the X-ray as stored."""
    pixels = CAMERA.project(torch.from_numpy(POINTS), true_pose()).numpy()
    return [
        {"name": name, "point_world": point.tolist(), "stored_px": pixel.tolist()}
        for name, point, pixel in zip("abcdef", POINTS, pixels, strict=True)
    ]


@pytest.mark.slow
def test_a_start_from_landmarks(served: Served):
    served.change("landmarks", landmarks=marked())
    answer = served.change("landmark-start")
    assert any("0.0 mm root mean square" in each for each in answer.document["said"])
    pose = torch.tensor(served.state["pose"], dtype=torch.float64)
    # Exact marks: as near as the solver's tolerances.
    assert float((pose - true_pose()).abs().max()) < 1e-3
    assert served.state["steps"][-1] == "start: 6 landmarks"


def test_landmarks_of_an_xray_that_is_turned_are_those_of_the_stored_one(serve, files):
    served = serve(files.ct, files.xray, "--turn", 90)
    served.change("landmarks", landmarks=marked())
    served.change("landmark-start")
    pose = torch.tensor(served.state["pose"], dtype=torch.float64)
    # A turn by 90 degrees takes what lay to the right down: x' = -y, y' = x.
    turn = torch.tensor([[0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=torch.float64)
    assert float((pose - turn @ true_pose()).abs().max()) < 1e-3
    view = served.state["views"][0]
    # A click on the picture's top right is the stored picture's top left.
    to_stored = np.array(view["stored_from_picture"])
    np.testing.assert_allclose(to_stored @ [63, 0, 1], [0, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("landmarks", "code"),
    [
        ([{"name": "a"}, {"name": "a"}], "landmarks.ambiguous"),
        ([{"name": " "}], "view.invalid-request"),
        ([{"name": "a", "stored_px": [1, None]}], "view.invalid-request"),
        ([{"name": "a", "point_world": [1, 2]}], "view.invalid-request"),
        ([{"name": f"{number}"} for number in range(201)], "view.invalid-request"),
        ("a", "view.invalid-request"),
    ],
)
def test_landmarks_that_are_none_are_refused(served: Served, landmarks, code):
    assert served.change("landmarks", landmarks=landmarks).document["code"] == code
    assert served.state["landmarks"] == []


def test_too_few_landmarks_are_told(served: Served):
    served.change("landmarks", landmarks=marked()[:3])
    answer = served.change("landmark-start")
    assert answer.document["code"] == "landmarks.invalid-value" and len(served.state["steps"]) == 1


def test_what_is_drawn_is_left_out(served: Served):
    before = np.frombuffer(served.ask("counts/0").content, np.uint8).reshape(64, 64)
    assert before[30:40, 30:40].all()
    area = {"kind": "polygon", "points": [[20, 25], [45, 25], [45, 45], [20, 45]]}
    brush = {"kind": "stroke", "points": [[5, 55], [15, 55]], "radius": 3}
    state = served.change("shapes", xray=0, shapes=[area, brush]).document["state"]
    assert len(state["shapes"][0]) == 2 and state["inputs"][1]["problem"] is None
    after = np.frombuffer(served.ask("counts/0").content, np.uint8).reshape(64, 64)
    assert not after[26:44, 21:44].any() and not after[54:57, 5:15].any() and after[10, 10:50].any()
    served.change("shapes", xray=0, shapes=[])
    np.testing.assert_array_equal(
        np.frombuffer(served.ask("counts/0").content, np.uint8).reshape(64, 64), before
    )


def test_a_mask_that_leaves_nothing_is_refused(served: Served):
    everything = {"kind": "polygon", "points": [[-9, -9], [99, -9], [99, 99], [-9, 99]]}
    answer = served.change("shapes", xray=0, shapes=[everything])
    assert answer.status == 422 and answer.document["code"].startswith("xray.")
    assert served.state["shapes"] == [] or served.state["shapes"][0] == []


@pytest.mark.parametrize(
    "shape",
    [
        {"kind": "file", "path": "/etc/passwd", "name": "x"},
        {"kind": "polygon", "points": [[1, 1], [2, 2]]},
        {"kind": "stroke", "points": [[1, 1]], "radius": 0},
        {"kind": "stroke", "points": [[1, 1]], "radius": -3},
        {"kind": "circle"},
        7,
    ],
)
def test_a_shape_that_is_none_is_refused(served: Served, shape):
    answer = served.change("shapes", xray=0, shapes=[shape])
    assert answer.document["code"] == "view.invalid-request"


def test_a_polygon_covers_the_pixels_whose_centres_it_contains():
    square = Shape(kind="polygon", points=((2.0, 3.0), (6.0, 3.0), (6.0, 5.0), (2.0, 5.0)))
    expected = np.zeros((8, 10), bool)
    expected[3:6, 2:7] = True
    np.testing.assert_array_equal(drawn(square, (8, 10)), expected)


def test_a_stroke_covers_what_is_within_its_radius():
    """All pixels well within the radius of the line, and none well beyond it."""
    points = np.array([[10.0, 10.0], [40.0, 25.0]])
    stroke = Shape(kind="stroke", points=tuple(map(tuple, points.tolist())), radius=5.0)
    rows, columns = np.indices((50, 60))
    along = points[1] - points[0]
    off = np.stack([columns, rows], axis=-1) - points[0]
    share = np.clip(off @ along / (along @ along), 0, 1)
    distance = np.linalg.norm(off - share[..., None] * along, axis=-1)
    covered = drawn(stroke, (50, 60))
    assert covered[distance < 4].all() and not covered[distance > 6].any()


def test_bones_that_are_none_are_refused(serve, files):
    served = serve(files.ct, files.xray)
    assert served.change("bones", mode="each", bones=["bone"]).document["code"] == "labels.missing"
    served.change(
        "open", kind="labels", batch=served.upload(files.labels, files.labels.with_name("labels.json"))
    )
    assert served.state["structures"] == ["bone"]
    for mode, bones, code in (
        ("each", ["femur"], "labels.structure-missing"),
        ("as-one", [], "structures.invalid-value"),
        ("all", ["bone"], "view.invalid-request"),
    ):
        assert served.change("bones", mode=mode, bones=bones).document["code"] == code
    assert served.change("bones", mode="as-one", bones=["bone"]).status == 200
    # Without the label map there is nothing to choose.
    state = served.change("close", kind="labels").document["state"]
    assert (state["bones_mode"], state["bones"], state["structures"]) == ("whole", [], [])


def test_options_of_reading():
    given = {
        **{"sdd_mm": 1000, "pixel_spacing_mm": [0.5, 0.4], "polarity": "dark_air", "turn": 90},
        **{"flip_left_right": True, "primary_angle_deg": None, "frame": 3},
    }
    assert reading_options(given) == {
        **{"sdd_mm": 1000.0, "pixel_spacing_mm": (0.5, 0.4), "polarity": "dark_air", "turn": 90},
        **{"flip_left_right": True, "frame": 3},
    }
    for name, value in (
        ("exclude", "/etc/passwd"),
        ("frame", -1),
        ("frame", 0.5),
        ("turn", 45),
        ("polarity", "up"),
        ("sdd_mm", [1, 2]),
    ):
        with raises(UsageError, "view.invalid-request"):
            reading_options({name: value})
    with raises(UsageError, "xray.invalid-value", "`sdd_mm`"):
        reading_options({"sdd_mm": -1})


@pytest.mark.slow
def test_a_start_that_follows_from_what_was_read_follows_anew(served: Served, files, serve, tmp_path):
    other = serve(files.ct, files.xray, "--output", tmp_path / "other")
    depth = other.state["pose"][2][3]
    other.change("reading", reading={"source_isocentre_mm": 700.0})
    assert other.state["pose"][2][3] == pytest.approx(depth + 50.0)  # the file says 650 mm
    # One that was set by hand stays what it is.
    served.change("pose", pose=(true_pose()).tolist())
    served.change("reading", reading={"source_isocentre_mm": 700.0})
    assert served.state["pose"] == true_pose().tolist()


def test_the_pose_in_use_can_be_saved_alone(served: Served):
    path = Path(served.ask("save-pose", {}).document["path"])
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["camera_from_world"] == served.state["pose"] and document.get("status") is None


def test_two_views_move_together(serve, files, tmp_path):
    """The pose of the second X-ray is its place relative to the first one's times the first one's pose."""
    matrix = [[0, 0, -1, 650], [0, 1, 0, 0], [1, 0, 0, 650], [0, 0, 0, 1]]
    (tmp_path / "views.json").write_text(json.dumps({"view_from_first": [matrix]}))
    served = serve(files.ct, files.xray, files.xray, "--views", "views.json", "--init", files.init)
    state = served.state
    assert state["ready"] and len(state["views"]) == 2
    pose = torch.tensor(state["pose"], dtype=torch.float64)
    own = torch.tensor(matrix, dtype=torch.float64) @ pose
    frame = served.page.workspace.frames
    assert frame is not None
    shown = served.ask("frame", {"view": 1, "pose": state["pose"], "pixels": 64, "browser": "a", "number": 1})
    expected = frame.render(1, own, 64).image
    np.testing.assert_array_equal(np.frombuffer(shown.content, np.uint8)[: 64 * 64].reshape(64, 64), expected)
    assert torch.allclose(se3.inverse(torch.tensor(matrix, dtype=torch.float64)) @ own, pose)
