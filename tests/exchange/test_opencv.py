"""OpenCV's projection of the numbers in the file."""

import json

import numpy as np
import pytest

from isoclinic.errors import InputError, UsageError
from isoclinic.exchange import read_pose, write_pose

from .views import CAMERAS, ROTATIONS, pixels, points_ras, posed


def written(tmp_path, view):
    write_pose(tmp_path / "view.json", view, "opencv")
    document = json.loads((tmp_path / "view.json").read_text())

    def array(key):
        entry = document[key]
        assert (entry["type_id"], entry["dt"]) == ("opencv-matrix", "d")
        return np.reshape(entry["data"], (entry["rows"], entry["cols"]))

    return document, array


def rodrigues(rvec):
    """Rotation by |rvec| about rvec, written out."""
    angle = np.linalg.norm(rvec)
    if angle == 0:
        return np.eye(3)
    x, y, z = rvec / angle
    skew = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_projection_in_closed_form(rotation, camera, tmp_path):
    """Pixels of the order of 100, points 1000 mm from the origin: rounding is 1e-12 of that."""
    view = posed(rotation, camera)
    document, array = written(tmp_path, view)
    in_camera = points_ras() @ rodrigues(array("rvec")[:, 0]).T + array("tvec")[:, 0]
    homogeneous = in_camera @ array("camera_matrix").T
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], pixels(view, points_ras()), atol=1e-9)
    assert not array("distortion_coefficients").any()
    assert (document["image_width"], document["image_height"]) == (view.camera.width, view.camera.height)


def test_opencv_itself(tmp_path):
    cv2 = pytest.importorskip("cv2")
    view = posed("random 0", "mirrored")
    written(tmp_path, view)
    file = cv2.FileStorage(str(tmp_path / "view.json"), cv2.FILE_STORAGE_READ)
    names = ("rvec", "tvec", "camera_matrix", "distortion_coefficients")
    projected, _ = cv2.projectPoints(points_ras(), *(file.getNode(name).mat() for name in names))
    np.testing.assert_allclose(projected[:, 0], pixels(view, points_ras()), atol=1e-9)


def changed(tmp_path, **entries):
    document, _ = written(tmp_path, posed("random 0", "off centre"))
    for key, value in entries.items():
        if value is None:
            del document[key]
        elif isinstance(document[key], dict) and isinstance(value, list):
            document[key]["data"] = value
        else:
            document[key] = value
    (tmp_path / "view.json").write_text(json.dumps(document))
    return tmp_path / "view.json"


def test_the_distance_may_come_from_elsewhere(tmp_path):
    path = changed(tmp_path, sdd_mm=None)
    assert read_pose(path, "opencv", CAMERAS["square"]).camera.sdd_mm == CAMERAS["square"].sdd_mm
    with pytest.raises(UsageError, match=r"does not hold sdd_mm, the source-detector distance; .*--camera"):
        read_pose(path, "opencv")


@pytest.mark.parametrize("coefficients", [None, {"rows": 1, "cols": 4, "data": [0, 0, 0, 0]}])
def test_no_distortion_is_what_a_file_may_say_in_several_ways(coefficients, tmp_path):
    view = posed("random 0", "off centre")
    back = read_pose(changed(tmp_path, distortion_coefficients=coefficients), "opencv")
    np.testing.assert_allclose(back.camera_from_world, view.camera_from_world, atol=1e-10)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"distortion_coefficients": [0.1, 0, 0, 0, 0]}, "distortion_coefficients are not zero"),
        ({"camera_matrix": [900, 1, 30, 0, 900, 30, 0, 0, 1]}, "without skew"),
        ({"camera_matrix": [900, 0, 30, 0, 900, 30, 0, 0, 2]}, "without skew"),
        ({"camera_matrix": [0, 0, 30, 0, 900, 30, 0, 0, 1]}, "fx and fy must not be zero"),
        ({"rvec": [1, 2]}, "rvec: data must be 3 finite numbers"),
        ({"rvec": [1, 2, "3"]}, "rvec: data must be 3 finite numbers"),
        ({"rvec": [1, 2, [3]]}, "rvec: data must be 3 finite numbers"),
        ({"tvec": 3}, "tvec must be a JSON object, not 3"),
        ({"tvec": [1, 2, float("nan")]}, "tvec: data must be 3 finite numbers"),
        ({"image_width": 7.5}, "image_width must be a whole number"),
        ({"sdd_mm": "1000"}, "sdd_mm must be a finite number"),
        ({"sdd_mm": True}, "sdd_mm must be a finite number"),
        (
            {"tvec": None},
            "not OpenCV's camera and pose in JSON, which has .*tvec; it looks like JSON with image_width",
        ),
    ],
)
def test_what_cannot_be_used_is_named(entries, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        read_pose(changed(tmp_path, **entries), "opencv")
    assert not isinstance(caught.value, UsageError)
