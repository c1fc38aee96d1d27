"""Sides of the patient at the borders of an image, against where points of the patient are projected."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from isoclinic.errors import InputError
from isoclinic.geometry import Camera, PatientSides, gantry_view, so3
from raising import raises

CAMERA = Camera.from_pixel_spacing(width=64, height=48, pixel_spacing_mm=(2.0, 2.0), sdd_mm=1000.0)
# Seen from the source, the head up: in AP the patient's right is at the image's left, in PA, seen from the
# back, at the right. At a primary angle of 90 degrees the detector is at the patient's left and the beam
# comes from the right, so that a viewer at the source sees the front at the right.
STANDARD = {
    "AP": (180.0, PatientSides(left="R", right="L", top="H", bottom="F")),
    "PA": (0.0, PatientSides(left="L", right="R", top="H", bottom="F")),
    "left lateral": (90.0, PatientSides(left="P", right="A", top="H", bottom="F")),
    "right lateral": (-90.0, PatientSides(left="A", right="P", top="H", bottom="F")),
}
# 100 mm to that side of the patient, in world RAS.
TOWARDS = {"R": (1, 0, 0), "L": (-1, 0, 0), "A": (0, 1, 0), "P": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
BORDERS = {"left": (-1, 0), "right": (1, 0), "top": (0, -1), "bottom": (0, 1)}


def turned(pose: torch.Tensor, degrees: float) -> torch.Tensor:
    """The pose with the image turned clockwise about the viewing axis."""
    turn = torch.eye(4, dtype=torch.float64)
    turn[:3, :3] = so3.exp(torch.tensor([0.0, 0.0, torch.pi / 180 * degrees], dtype=torch.float64))
    return turn @ pose


def check_by_projection(camera: Camera, pose: torch.Tensor, sides: PatientSides) -> None:
    """Points at a side of the patient are seen nearer to the border that has its letter."""
    centre = camera.project(torch.zeros(1, 3, dtype=torch.float64), pose)[0]
    for border, letters in sides._asdict().items():
        point = 100 * torch.tensor([TOWARDS[letters[0]]], dtype=torch.float64)
        moved = camera.project(point, pose)[0] - centre
        towards = torch.tensor(BORDERS[border], dtype=torch.float64)
        assert float(moved @ towards) > 0.7 * float(moved.norm()), border


@pytest.mark.parametrize("view", STANDARD)
def test_standard_views(view):
    angle_deg, expected = STANDARD[view]
    pose = gantry_view(angle_deg, 0.0, 700.0)
    assert PatientSides.of(CAMERA, pose) == expected
    check_by_projection(CAMERA, pose, expected)


@pytest.mark.parametrize("view", STANDARD)
@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_turned_about_the_viewing_axis(view, quarters):
    """A quarter turn clockwise takes what was at the left to the top, and so on."""
    angle_deg, upright = STANDARD[view]
    pose = turned(gantry_view(angle_deg, 0.0, 700.0), 90.0 * quarters)
    clockwise = [upright.left, upright.top, upright.right, upright.bottom]
    left, top, right, bottom = (clockwise[(index - quarters) % 4] for index in range(4))
    expected = PatientSides(left=left, right=right, top=top, bottom=bottom)
    assert PatientSides.of(CAMERA, pose) == expected
    check_by_projection(CAMERA, pose, expected)


@pytest.mark.parametrize("view", STANDARD)
def test_mirrored_images(view):
    """Negative focal lengths: the pixels are mirrored, the pose is not."""
    angle_deg, upright = STANDARD[view]
    pose = gantry_view(angle_deg, 0.0, 700.0)
    left_right = replace(CAMERA, fx=-CAMERA.fx)
    expected = upright._replace(left=upright.right, right=upright.left)
    assert PatientSides.of(left_right, pose) == expected
    check_by_projection(left_right, pose, expected)
    top_bottom = replace(CAMERA, fy=-CAMERA.fy)
    expected = upright._replace(top=upright.bottom, bottom=upright.top)
    assert PatientSides.of(top_bottom, pose) == expected
    check_by_projection(top_bottom, pose, expected)


@pytest.mark.parametrize(
    ("primary_deg", "secondary_deg", "expected"),
    [
        (160.0, 0.0, ("R", "L", "H", "F")),  # 20 degrees off AP: still one letter
        (150.0, 0.0, ("RP", "LA", "H", "F")),  # 30 degrees, and past 45
        (120.0, 0.0, ("PR", "AL", "H", "F")),
        (180.0, 30.0, ("R", "L", "HA", "FP")),
        (180.0, -30.0, ("R", "L", "HP", "FA")),
        (180.0, 90.0, ("R", "L", "A", "P")),  # along the patient
    ],
)
def test_oblique_views_have_two_letters(primary_deg, secondary_deg, expected):
    pose = gantry_view(primary_deg, secondary_deg, 700.0)
    assert PatientSides.of(CAMERA, pose) == expected
    check_by_projection(CAMERA, pose, PatientSides(*expected))


def test_what_is_no_pose():
    with raises(InputError, "pose.not-rigid", "camera_from_world"):
        PatientSides.of(CAMERA, 2 * torch.eye(4, dtype=torch.float64))
