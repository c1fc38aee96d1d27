"""How X-rays lie relative to each other: from angles, files and poses, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import se3
from isoclinic.registration import (
    PoseFile,
    View,
    register_views,
    views_from_angles,
    views_from_file,
    views_from_poses,
)
from isoclinic.registration.initialize import view
from isoclinic.volumes import GeometryWarning
from phantoms import CAMERA, phantom, true_pose, xray_of
from raising import raises

VOLUME = phantom(3, (16, 16, 16))
TRUTH = true_pose(VOLUME)
XRAY = xray_of(VOLUME, TRUTH, seed=0)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)
SIDE = se3.perturb(TRUTH, torch.tensor([0.1, 1.2, 0, 4, 5, 6], dtype=torch.float64), ISOCENTRE)
FROM_FIRST = SIDE @ se3.inverse(TRUTH)
IDENTITY = torch.eye(4, dtype=torch.float64)


def _xray(primary: float | None, secondary: float | None, distance: float | None = 700.0):
    return replace(
        XRAY,
        primary_angle_deg=primary,
        secondary_angle_deg=secondary,
        source_isocentre_mm=distance,
        path=Path(f"{primary}.dcm"),
    )


def test_angles_ap_and_lateral_by_hand():
    """PA at 0/0, detector in front; at 90 it is at the patient's left, with the source at the right.

    Seen from the front (x to the patient's right, z to the front... of the beam: the detector), the other
    source is to the right, as far as the isocentre; both images have the head up.
    """
    first, second = views_from_angles([_xray(0.0, 0.0, 700.0), _xray(90.0, 0.0, 650.0)])
    assert first.view_from_first is None
    first_from_second = torch.linalg.inv(second.view_from_first)
    np.testing.assert_allclose(first_from_second[:3, 3], [650, 0, 700], atol=1e-9)
    # Its beam runs to the patient's left, which is the image's left; up stays up.
    np.testing.assert_allclose(first_from_second[:3, 2], [-1, 0, 0], atol=1e-12)
    np.testing.assert_allclose(first_from_second[:3, 1], [0, 1, 0], atol=1e-12)


def test_angles_agree_with_views_of_a_patient_at_the_isocentre():
    xrays = [_xray(170.0, 10.0, 720.0), _xray(-80.0, -15.0, 690.0), _xray(200.0, 25.0)]
    poses = [view(VOLUME, xray, xray.primary_angle_deg, xray.secondary_angle_deg) for xray in xrays]
    for each, pose in zip(views_from_angles(xrays)[1:], poses[1:], strict=True):
        torch.testing.assert_close(each.view_from_first @ poses[0], pose)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ((None, 0.0), ("views.geometry-missing", "primary_angle_deg", "`views`")),
        ((90.0, None), ("views.geometry-missing", "secondary_angle_deg", "`views`")),
        ((90.0, 0.0, None), ("views.geometry-missing", "`source_isocentre_mm`")),
        ((None, None), ("views.geometry-missing", "primary_angle_deg", "secondary_angle_deg", "`views`")),
    ],
)
def test_missing_angles_name_file_and_options(values, fault):
    with raises(InputError, *fault, f"{values[0]}.dcm"):
        views_from_angles([_xray(0.0, 0.0), _xray(*values)])


@pytest.mark.parametrize("form", ["others", "all", "object"])
def test_file(tmp_path, form):
    matrices = [FROM_FIRST.tolist()] if form == "others" else [IDENTITY.tolist(), FROM_FIRST.tolist()]
    path = tmp_path / "views.json"
    path.write_text(json.dumps({"view_from_first": matrices} if form == "object" else matrices))
    first, second = views_from_file([XRAY, XRAY], path)
    assert first.view_from_first is None
    torch.testing.assert_close(second.view_from_first, FROM_FIRST, rtol=0, atol=0)


def test_a_file_with_few_decimals(tmp_path):
    """Six of them are as good as any; three are half a millimetre at the detector, which is said."""
    path = tmp_path / "views.json"
    first = np.round((TRUTH @ se3.inverse(TRUTH)).numpy() + 3e-5 * (1 - np.eye(4)[3:].T), 4).tolist()
    path.write_text(json.dumps([first, np.round(FROM_FIRST.numpy(), 6).tolist()]))
    _, second = views_from_file([XRAY, XRAY], path)
    torch.testing.assert_close(second.view_from_first, FROM_FIRST, rtol=0, atol=2e-6)
    path.write_text(json.dumps([np.round(FROM_FIRST.numpy(), 3).tolist()]))
    with pytest.warns(
        GeometryWarning, match=r"views\.json: view_from_first\[0\]: its matrix differs from a rotation"
    ):
        views_from_file([XRAY, XRAY], path)


BAD_FILES = {
    "not JSON": ("{", InputError, ("views.wrong-kind", "JSON")),
    "another object": ('{"camera_from_world": 1}', InputError, ("views.wrong-kind", "view_from_first")),
    "a number": ("3", InputError, ("views.invalid-value", "view_from_first", "4x4", "0")),
    "none": ("[]", InputError, ("views.invalid-value", "view_from_first", "4x4", "0")),
    "too many": (
        json.dumps([IDENTITY.tolist()] * 3),
        InputError,
        ("views.invalid-value", "view_from_first", "3"),
    ),
    "not matrices": ("[[1, 2]]", InputError, ("geometry.wrong-shape", "view_from_first[0]")),
    "not rigid": (
        json.dumps([(2 * IDENTITY).tolist()]),
        InputError,
        ("pose.not-rigid", "view_from_first[0]"),
    ),
    "moved first": (
        json.dumps([FROM_FIRST.tolist()] * 2),
        UsageError,
        ("views.invalid-value", "view_from_first[0]", "identity"),
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(tmp_path, name):
    text, kind, fault = BAD_FILES[name]
    path = tmp_path / "views.json"
    path.write_text(text)
    with raises(kind, *fault, "views.json"):
        views_from_file([XRAY, XRAY], path)


def test_file_that_is_not_there(tmp_path):
    with raises(InputError, "views.unreadable", "none.json"):
        views_from_file([XRAY, XRAY], tmp_path / "none.json")


def test_poses_of_something_else(tmp_path):
    """Any common world will do, such as that of a calibration phantom."""
    world = se3.exp(torch.tensor([0.3, 0.2, 1.0, 50, 60, -70], dtype=torch.float64))
    for name, pose in (("a", TRUTH), ("b", SIDE)):
        PoseFile(camera_from_world=pose @ world, camera=CAMERA).write(tmp_path / name)
    _, second = views_from_poses([XRAY, XRAY], [tmp_path / "a", tmp_path / "b"])
    torch.testing.assert_close(second.view_from_first, FROM_FIRST)
    with raises(InputError, "views.wrong-count", "2", "1"):
        views_from_poses([XRAY, XRAY], [tmp_path / "a"])
    with raises(InputError, "pose-file.unreadable", "c"):
        views_from_poses([XRAY, XRAY], [tmp_path / "a", tmp_path / "c"])


def test_views_without_meaning():
    with raises(InputError, "pose.not-rigid", "view_from_first"):
        View(xray=XRAY, view_from_first=np.diag([1, 1, -1, 1]))
    with raises(InputError, "views.wrong-shape", "view_from_first", "2"):
        View(xray=XRAY, view_from_first=torch.stack([IDENTITY, IDENTITY]))
    with raises(UsageError, "views.wrong-count", "one X-ray"):
        register_views(VOLUME, [])
    with raises(UsageError, "views.invalid-value", "view_from_first", "identity"):
        register_views(VOLUME, [View(xray=XRAY, view_from_first=FROM_FIRST)])
    lateral = replace(XRAY, path=Path("lateral.dcm"))
    with raises(UsageError, "views.geometry-missing", "lateral.dcm", "view_from_first"):
        register_views(VOLUME, [View(xray=XRAY), View(xray=lateral)])
