"""OpenCV's projection of the numbers in the file."""

import json

import numpy as np
import pytest

from isoclinic.errors import InputError, UsageError
from isoclinic.exchange import read_pose, write_pose
from raising import raises

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
    with raises(UsageError, "exchange.camera-missing", "sdd_mm", "`camera`"):
        read_pose(path, "opencv")


@pytest.mark.parametrize("coefficients", [None, {"rows": 1, "cols": 4, "data": [0, 0, 0, 0]}])
def test_no_distortion_is_what_a_file_may_say_in_several_ways(coefficients, tmp_path):
    view = posed("random 0", "off centre")
    back = read_pose(changed(tmp_path, distortion_coefficients=coefficients), "opencv")
    np.testing.assert_allclose(back.camera_from_world, view.camera_from_world, atol=1e-10)


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ({"distortion_coefficients": [0.1, 0, 0, 0, 0]}, ("exchange.unsupported", "distortion_coefficients")),
        ({"camera_matrix": [900, 1, 30, 0, 900, 30, 0, 0, 1]}, ("exchange.invalid-value", "camera_matrix")),
        ({"camera_matrix": [900, 0, 30, 0, 900, 30, 0, 0, 2]}, ("exchange.invalid-value", "camera_matrix")),
        ({"camera_matrix": [0, 0, 30, 0, 900, 30, 0, 0, 1]}, ("geometry.invalid-value", "fx", "fy")),
        ({"rvec": [1, 2]}, ("exchange.invalid-value", "rvec", "data", "3")),
        ({"rvec": [1, 2, "3"]}, ("exchange.invalid-value", "rvec", "data", "3")),
        ({"rvec": [1, 2, [3]]}, ("exchange.invalid-value", "rvec", "data", "3")),
        ({"tvec": 3}, ("exchange.invalid-value", "tvec", "object", "3")),
        ({"tvec": [1, 2, float("nan")]}, ("exchange.invalid-value", "tvec", "data", "3")),
        ({"image_width": 7.5}, ("exchange.invalid-value", "image_width")),
        ({"sdd_mm": "1000"}, ("exchange.invalid-value", "sdd_mm")),
        ({"sdd_mm": True}, ("exchange.invalid-value", "sdd_mm")),
        (
            {"tvec": None},
            ("exchange.wrong-kind", "tvec", "JSON with image_width"),
        ),
    ],
)
def test_what_cannot_be_used_is_named(entries, fault, tmp_path):
    with raises(InputError, *fault) as caught:
        read_pose(changed(tmp_path, **entries), "opencv")
    assert not isinstance(caught.value, UsageError)


# YAML and XML -------------------------------------------------------------------------------------------

VIEW = posed("random 0", "off centre")


@pytest.mark.parametrize("name", ["view.yml", "view.yaml", "view.xml", "view.json"])
def test_files_that_opencv_writes_itself(name, tmp_path):
    """The same pose whatever the name makes of the file."""
    cv2 = pytest.importorskip("cv2")
    _, array = written(tmp_path, VIEW)
    file = cv2.FileStorage(str(tmp_path / name), cv2.FILE_STORAGE_WRITE)
    if name != "view.json":  # comments are no JSON
        file.writeComment("after a calibration: [1, 2]")
    for key in ("camera_matrix", "distortion_coefficients", "rvec", "tvec"):
        file.write(key, array(key))
    for key, value in (("image_width", VIEW.camera.width), ("image_height", VIEW.camera.height)):
        file.write(key, value)
    file.write("sdd_mm", VIEW.camera.sdd_mm)
    file.write("calibration_time", "Tue: 09 [1, 2]")
    file.release()
    back = read_pose(tmp_path / name, "opencv")
    assert back.camera == VIEW.camera
    np.testing.assert_allclose(back.camera_from_world, VIEW.camera_from_world, atol=1e-10)


# As FileStorage breaks lines, and as ROS's camera_calibration writes matrices.
YAML = """\
%YAML:1.0
---
image_width: 256
image_height: 256
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 8.5000000000000000e+02, 0., 1.2750000000000000e+02, 0.,
       850., 127.5, 0., 0., 1. ]
rvec: !!opencv-matrix
   rows: 3
   cols: 1
   dt: d
   data: [ 0., 2.2, 2.2 ]
tvec:
  rows: 3
  cols: 1
  data: [0.0, 0.0, 700.0]
sdd_mm: 1020.
"""
XML = """\
<?xml version="1.0"?>
<opencv_storage>
<image_width>256</image_width>
<image_height>256</image_height>
<camera_matrix type_id="opencv-matrix">
  <rows>3</rows> <cols>3</cols> <dt>d</dt>
  <data>
    850. 0. 127.5 0. 850. 127.5 0. 0. 1.</data></camera_matrix>
<rvec type_id="opencv-matrix"><rows>3</rows><cols>1</cols><dt>d</dt><data>0. 2.2 2.2</data></rvec>
<tvec type_id="opencv-matrix"><rows>3</rows><cols>1</cols><dt>d</dt><data>0. 0. 700.</data></tvec>
<sdd_mm>1020.</sdd_mm>
</opencv_storage>
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
@pytest.mark.parametrize("text", [YAML, XML], ids=["YAML", "XML"])
def test_yaml_and_xml_by_hand(text, ends, encoding, tmp_path):
    (tmp_path / "pose").write_bytes(text.replace("\n", ends).encode(encoding))
    read = read_pose(tmp_path / "pose", "opencv")
    assert (read.camera.fx, read.camera.cx, read.camera.width, read.camera.sdd_mm) == (850, 127.5, 256, 1020)
    np.testing.assert_allclose(read.camera_from_world[:3, :3], rodrigues(np.array([0, 2.2, 2.2])), atol=1e-12)
    assert read.camera_from_world[:3, 3].tolist() == [0, 0, 700]


@pytest.mark.parametrize(
    ("text", "old", "new", "fault"),
    [
        (YAML, "2.2, 2.2", "2.2, .Nan", ("exchange.invalid-value", "rvec", "data", "3")),
        (YAML, "2.2, 2.2", "2.2, x", ("exchange.invalid-value", "rvec", "data", "3")),
        (YAML, "0., 2.2, 2.2", "2.2", ("exchange.invalid-value", "rvec", "data", "3")),
        (YAML, "tvec:", "t:", ("exchange.wrong-kind", "tvec")),
        (YAML, "   data: [ 0., 2.2, 2.2 ]\n", "", ("exchange.incomplete", "rvec", "data")),
        (XML, "0. 2.2 2.2", "0. 2.2 -.Inf", ("exchange.invalid-value", "rvec", "data", "3")),
        (XML, "</opencv_storage>", "", ("exchange.wrong-kind", "XML", "<opencv_storage>")),
        (
            XML,
            '<?xml version="1.0"?>',
            '<!DOCTYPE a [<!ENTITY b "c">]>',
            ("exchange.wrong-kind", "<!DOCTYPE"),
        ),
    ],
)
def test_what_cannot_be_used_of_them_is_named(text, old, new, fault, tmp_path):
    (tmp_path / "pose.yml").write_text(text.replace(old, new))
    with raises(InputError, *fault, "pose.yml"):
        read_pose(tmp_path / "pose.yml", "opencv")
