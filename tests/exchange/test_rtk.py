"""RTK's documented matrix, and its parameters."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from isoclinic.errors import InputError, UsageError
from isoclinic.exchange import read_pose, write_pose
from raising import raises

from .views import CAMERAS, ROTATIONS, F, pixels, points_ras, posed, transformed

# https://docs.openrtk.org/en/latest/documentation/docs/Geometry.html, its example,
# the second projection and the detector's radius left out.
DOCUMENTED = """<?xml version="1.0"?>
<!DOCTYPE RTKGEOMETRY>
<RTKThreeDCircularGeometry version="3">
  <SourceToIsocenterDistance>1000</SourceToIsocenterDistance>
  <SourceToDetectorDistance>1536</SourceToDetectorDistance>
  <Projection>
    <GantryAngle>271.847274780273</GantryAngle>
    <ProjectionOffsetX>-117.056503295898</ProjectionOffsetX>
    <ProjectionOffsetY>-1.01195001602173</ProjectionOffsetY>
    <Matrix>
          -166.5093078829                   0   -1531.42837748039   -117056.503295898
        -1.01142410874151               -1536  0.0326206557691505   -1011.95001602173
       -0.999480303105996                   0  0.0322354417240802               -1000
    </Matrix>
  </Projection>
</RTKThreeDCircularGeometry>
"""


def parameters(path):
    root = ElementTree.fromstring(path.read_text())
    (projection,) = root.findall("Projection")
    return {element.tag: element.text for element in [*root, *projection] if isinstance(element.tag, str)}


def documented_matrix(path):
    """M_P of RTK's documentation, in its notation: four factors, the last of three rotations."""
    p = {name: float(text) for name, text in parameters(path).items() if name not in ("Matrix", "Projection")}

    def turn(angle_deg, first, second):
        angle, matrix = np.deg2rad(-angle_deg), np.eye(4)
        matrix[first, first] = matrix[second, second] = np.cos(angle)
        matrix[first, second], matrix[second, first] = -np.sin(angle), np.sin(angle)
        return matrix

    rotation = turn(p["InPlaneAngle"], 0, 1) @ turn(p["OutOfPlaneAngle"], 1, 2) @ turn(p["GantryAngle"], 2, 0)
    shift, source = np.eye(3), np.eye(4)
    shift[:2, 2] = (
        p["SourceOffsetX"] - p["ProjectionOffsetX"],
        p["SourceOffsetY"] - p["ProjectionOffsetY"],
    )
    source[:2, 3] = -p["SourceOffsetX"], -p["SourceOffsetY"]
    sdd = p["SourceToDetectorDistance"]
    magnify = np.array([[-sdd, 0, 0, 0], [0, -sdd, 0, 0], [0, 0, 1, -p["SourceToIsocenterDistance"]]])
    return shift @ magnify @ source @ rotation


def image_from_pixel(path):
    """[3, 3]: pixels to the image's millimetres, from what the file says about the image."""
    size, spacing, origin, direction = re.search(
        r"image: (.+) pixels, spacing (.+), origin (.+), direction diag\((.+)\)", path.read_text()
    ).groups()
    (u0, v0), (du, dv) = map(float, origin.split()), map(float, spacing.split())
    along_u, along_v, _ = map(int, direction.split(","))
    return size, np.array([[along_u * du, 0, u0], [0, along_v * dv, v0], [0, 0, 1]])


@pytest.mark.parametrize("camera", CAMERAS)
@pytest.mark.parametrize("rotation", ROTATIONS)
def test_points_meet_the_detector_at_the_same_millimetres(rotation, camera, tmp_path):
    """Detector coordinates of up to 300 mm, from float64 products of 1e6: 1e-16 of that is 1e-10."""
    view, path = posed(rotation, camera), tmp_path / "geometry.xml"
    write_pose(path, view, "rtk")
    lps = np.c_[transformed(F, points_ras()), np.ones(len(points_ras()))]
    homogeneous = lps @ documented_matrix(path).T
    size, to_mm = image_from_pixel(path)
    expected = np.c_[pixels(view, points_ras()), np.ones(len(lps))] @ to_mm.T
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], expected[:, :2], atol=1e-8)
    # RTK refuses files whose Matrix is more than 0.001 off.
    stated = np.array(parameters(path)["Matrix"].split(), dtype=float).reshape(3, 4)
    np.testing.assert_allclose(stated, documented_matrix(path), atol=1e-6)
    assert size == f"{view.camera.width} x {view.camera.height}"


@pytest.mark.parametrize("camera", CAMERAS)
def test_the_image_has_its_origin_in_the_middle(camera, tmp_path):
    view, path = posed("frontal", camera), tmp_path / "geometry.xml"
    write_pose(path, view, "rtk")
    _, to_mm = image_from_pixel(path)
    middle = np.array([(view.camera.width - 1) / 2, (view.camera.height - 1) / 2, 1])
    np.testing.assert_allclose(to_mm @ middle, [0, 0, 1], atol=1e-12)


def test_the_documented_example(tmp_path):
    """Its Matrix, which reading checks, is RTK's own answer; the pose projects by it."""
    path = tmp_path / "geometry.xml"
    path.write_text(DOCUMENTED)
    view = read_pose(path, "rtk", CAMERAS["square"])
    camera = view.camera
    assert camera.sdd_mm == 1536
    stated = np.array(parameters(path)["Matrix"].split(), dtype=float).reshape(3, 4)
    lps = np.random.default_rng(2).uniform(-80, 80, (9, 3))
    homogeneous = np.c_[lps, np.ones(9)] @ stated.T
    u, v = (homogeneous[:, :2] / homogeneous[:, 2:]).T
    # Pixels of 4 mm about the middle of 64 x 64, rows against v.
    expected = np.stack([31.5 + u / 4, 31.5 - v / 4], axis=1)
    # The Matrix has 15 digits, the largest entry 1e5, over depths of 1e3.
    np.testing.assert_allclose(pixels(view, transformed(F, lps)), expected, atol=1e-8)
    # In IEC 61217 the source is at (-sin, cos) of the gantry angle in the x, z plane, SID from the isocentre.
    gantry = np.deg2rad(271.847274780273)
    source = transformed(F, view.world_from_camera.numpy()[None, :3, 3])[0]
    np.testing.assert_allclose(source, [1000 * np.sin(gantry), 0, 1000 * np.cos(gantry)], atol=1e-9)


def test_pixels_are_asked_for(tmp_path):
    (tmp_path / "geometry.xml").write_text(DOCUMENTED)
    with raises(UsageError, "exchange.camera-missing", "geometry.xml", "`camera`"):
        read_pose(tmp_path / "geometry.xml", "rtk")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("RTKThreeDCircularGeometry", "RTKGeometry", ("exchange.wrong-kind", "XML", "<RTKGeometry>")),
        ('version="3"', 'version="1"', ("exchange.unsupported", "version 1")),
        ("<GantryAngle>271.847274780273</GantryAngle>", "", ("exchange.incomplete", "GantryAngle")),
        ("271.847274780273", "left", ("exchange.invalid-value", "GantryAngle", "left")),
        ("271.847274780273", "271.8", ("exchange.inconsistent", "Matrix")),
        ("-1536 ", "", ("exchange.invalid-value", "Matrix", "3", "4")),
        (
            "<SourceToDetectorDistance>1536",
            "<SourceToDetectorDistance>0",
            ("exchange.unsupported", "SourceToDetectorDistance"),
        ),
        (
            "<Projection>",
            "<RadiusCylindricalDetector>9</RadiusCylindricalDetector><Projection>",
            ("exchange.unsupported", "cylindrical"),
        ),
        ("<Projection>", "<Projection></Projection><Projection>", ("exchange.unsupported", "2 projections")),
        ("</Projection>", "", ("exchange.wrong-kind", "XML", "<RTKThreeDCircularGeometry>")),
    ],
)
def test_what_cannot_be_used_is_named(old, new, fault, tmp_path):
    assert old in DOCUMENTED
    (tmp_path / "geometry.xml").write_text(DOCUMENTED.replace(old, new))
    with raises(InputError, *fault):
        read_pose(tmp_path / "geometry.xml", "rtk", CAMERAS["square"])
