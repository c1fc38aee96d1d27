"""What an X-ray sees of a CT: numbers by hand for a view from the front, and views that see nothing."""

import re

import numpy as np
import pytest
import torch

from isoclinic.geometry import se3
from isoclinic.inspection import inspect_view
from isoclinic.registration import InitialPose
from isoclinic.registration.initialize import initial_pose
from isoclinic.volumes import Identity

from .scenes import CAMERA, ct, said, value, xray


def test_from_the_front():
    """Magnification 1000/700; the image's right is the patient's left."""
    volume = ct()
    found = inspect_view(volume, xray(), initial_pose(volume, xray(), "ap"))
    assert value(found, "start") == "preset ap"
    assert value(found, "depth") == 700 and value(found, "magnification") == pytest.approx(1.429, abs=1e-3)
    assert value(found, "field of view") == pytest.approx((256 * 0.7, 192 * 0.7))
    assert (value(found, "image right"), value(found, "image down")) == ("left", "feet")
    # Of 240 x 192 mm the image shows 179 x 134 mm in the middle plane.
    assert value(found, "CT in the image") == pytest.approx(100 * 179 / 240 * 134 / 192, abs=12)
    assert found.findings == ()


def test_oblique_directions_are_said_with_their_angle():
    volume, image = ct(), xray(primary_angle_deg=150.0)
    found = inspect_view(volume, image, initial_pose(volume, image, "dicom"))
    assert value(found, "image right") == "left, 30 deg off"


def moved(volume, shift_mm) -> InitialPose:
    """The view from the front with the patient moved in camera axes."""
    pose = initial_pose(volume, xray(), "ap").camera_from_world
    tangent = torch.tensor([0, 0, 0, *shift_mm], dtype=torch.float64)
    pose = se3.perturb(pose, tangent, torch.from_numpy(volume.isocentre_world))
    return InitialPose(camera_from_world=pose, source="a file", rough=False)


@pytest.mark.parametrize(
    ("shift_mm", "level", "expected"),
    [
        ((900.0, 0, 0), "error", r"does not see the CT.*\| `init`"),
        ((195.0, 0, 0), "warning", r"only [\d.]+ % of the CT lies in the image.*\| `init`"),
        ((150.0, 0, 0), "warning", "middle of the image misses the CT"),
        ((0, 0, -640.0), "warning", r"reaches 40 mm behind the X-ray source.*`source_isocentre_mm`"),
        ((0, 0, 250.0), "warning", r"reaches 50 mm beyond the detector.*`source_isocentre_mm`"),
    ],
)
def test_starts_that_see_little(shift_mm, level, expected):
    """The CT is 200 mm deep, so that from 700 mm it reaches from 600 to 800 mm."""
    volume = ct()
    assert re.search(expected, said(inspect_view(volume, xray(), moved(volume, shift_mm)), level))


@pytest.mark.parametrize("factor", [0.1, 20.0])
def test_ct_in_another_unit(factor):
    volume = ct(spacing_mm=tuple(factor * np.array([4.0, 4.0, 3.0])))
    found = inspect_view(volume, xray(), initial_pose(volume, xray(), "ap"))
    assert re.search(r"times the size of the CT.*\| `pixel_spacing_mm`", said(found))


@pytest.mark.parametrize(
    ("letters", "expected"),
    [
        (("L", "F"), None),
        (("LA", "FP"), None),
        (None, None),
        (("R", "F"), r"left to right towards right, but from the start towards left \| `flip_left_right`"),
        (("L", "H"), r"top to bottom towards head, but from the start towards feet \| `flip_top_bottom`"),
        (("A", "F"), None),
        # Feet are to the right: a clockwise turn takes them down, where an AP view has them.
        (("F", "R"), r"turned by 90 deg \| `turn` 90,"),
        (("H", "L"), r"turned by 90 deg \| `turn` 270,"),
        (("R", "H"), r"left to right towards right.* `turn` 180 if the image is turned upside down"),
        (("?", ""), None),
    ],
)
def test_orientation_that_the_file_states(letters, expected):
    volume = ct()
    found = inspect_view(volume, xray(), initial_pose(volume, xray(), "ap"), letters)
    assert (found.findings == ()) if expected is None else re.search(expected, said(found))


def test_a_turn_is_counted_from_the_stored_image():
    volume = ct()
    image = xray().turn(90)
    found = inspect_view(volume, image, initial_pose(volume, image, "ap"), ("F", "R"))
    assert "`turn` 180," in said(found)


def test_headers_that_do_not_agree_on_whom_they_show():
    volume = ct(identity=Identity(patient_ids=("17",)))
    image = xray(identity=Identity(patient_ids=("18",)))
    found = inspect_view(volume, image, initial_pose(volume, image, "ap"))
    assert re.search("PatientID .*differs.*`same_patient`", said(found, "warning"))


def test_camera_whose_principal_point_is_far_away():
    """A preset centres the CT on the principal ray, which this image does not contain."""
    volume = ct()
    image = xray(camera=CAMERA.crop(top=0, left=-2000, height=48, width=64))
    assert "does not see the CT" in said(
        inspect_view(volume, image, initial_pose(volume, image, "ap")), "error"
    )
