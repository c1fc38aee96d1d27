"""First poses: camera axes against frames derived by hand, and a clear refusal of what cannot be used."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import se3
from isoclinic.registration import PRESETS
from isoclinic.registration.initialize import initial_pose, view
from isoclinic.registration.pose_file import PoseFile
from isoclinic.volumes import Volume, XRay
from phantoms import CAMERA, SPACING_MM, displaced, true_pose
from raising import raises

# The world's axes: x to the patient's right, y to the front, z to the head.
RIGHT, LEFT = (1, 0, 0), (-1, 0, 0)
FRONT, BACK = (0, 1, 0), (0, -1, 0)
HEAD, FEET = (0, 0, 1), (0, 0, -1)

_AFFINE = np.diag([-SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
_AFFINE[:3, 3] = (35.0, -120.0, 900.0)
VOLUME = Volume(hu=np.zeros((60, 50, 40), dtype=np.float32), world_from_voxel=_AFFINE)
ISOCENTRE = torch.from_numpy(VOLUME.isocentre_world)


def _xray(camera=CAMERA, **fields) -> XRay:
    pixels = np.zeros((camera.height, camera.width), dtype=np.float32)
    pixels[0, 0] = 1
    return XRay(pixels=pixels, camera=camera, **fields)


def _rows(pose: Tensor) -> np.ndarray:
    """The camera's axes in the world: image right, image down, along the beam."""
    return pose[:3, :3].numpy()


@pytest.mark.parametrize(
    ("name", "right", "beam"),
    [
        # From front to back; the observer at the source faces the patient.
        ("ap", LEFT, BACK),
        # From back to front; the observer stands behind the patient.
        ("pa", RIGHT, FRONT),
        # The detector is at the patient's left, the observer at the right, where the front is to the right.
        ("left", FRONT, LEFT),
        ("right", BACK, RIGHT),
    ],
)
def test_axes_of_presets(name, right, beam):
    start = initial_pose(VOLUME, _xray(), name)
    np.testing.assert_allclose(_rows(start.camera_from_world), [right, FEET, beam], atol=1e-12)
    assert start.rough and name in start.source
    assert start.camera_from_world.dtype == torch.float64


def test_presets_are_the_four_named_ones():
    assert set(PRESETS) == {"ap", "pa", "left", "right"}


_S30, _C30, _S25, _C25 = 0.5, np.sqrt(3) / 2, np.sin(np.deg2rad(25)), np.cos(np.deg2rad(25))
_S45 = np.sqrt(0.5)


@pytest.mark.parametrize(
    ("primary", "secondary", "right", "down", "beam"),
    [
        (0, 0, RIGHT, FEET, FRONT),
        (90, 0, FRONT, FEET, LEFT),
        (-90, 0, BACK, FEET, RIGHT),
        (180, 0, LEFT, FEET, BACK),
        # Left anterior oblique: the detector between the patient's front and left.
        (45, 0, (_S45, _S45, 0), FEET, (-_S45, _S45, 0)),
        # Right anterior oblique.
        (-45, 0, (_S45, -_S45, 0), FEET, (_S45, _S45, 0)),
        # Cranial: the detector rises from the front towards the head, and the image's bottom, which was at
        # the feet, turns to the front.
        (0, 25, RIGHT, (0, _S25, -_C25), (0, _C25, _S25)),
        # Caudal.
        (0, -25, RIGHT, (0, -_S25, -_C25), (0, _C25, -_S25)),
        # Both: sideways in the transaxial plane first, then towards the head.
        (30, 25, (_C30, _S30, 0), (-_S30 * _S25, _C30 * _S25, -_C25), (-_S30 * _C25, _C30 * _C25, _S25)),
        (-30, -25, (_C30, -_S30, 0), (-_S30 * _S25, -_C30 * _S25, -_C25), (_S30 * _C25, _C30 * _C25, -_S25)),
        # Along the body, as the C-arm gets there: from the front the image's bottom ends at the front ...
        (0, 90, RIGHT, FRONT, HEAD),
        (0, -90, RIGHT, BACK, FEET),
        # ... and from an antero-posterior view at the back.
        (180, 90, LEFT, BACK, HEAD),
        (90, 90, FRONT, LEFT, HEAD),
    ],
)
def test_axes_of_c_arm_angles(primary, secondary, right, down, beam):
    expected = [right, down, beam]
    np.testing.assert_allclose(_rows(view(VOLUME, _xray(), primary, secondary)), expected, atol=1e-12)
    xray = _xray(primary_angle_deg=float(primary), secondary_angle_deg=float(secondary))
    for init in ("dicom", None):
        start = initial_pose(VOLUME, xray, init)
        np.testing.assert_allclose(_rows(start.camera_from_world), expected, atol=1e-12)
        assert start.rough


@pytest.mark.parametrize("primary", [0.0, 37.0, 180.0, -120.0])
@pytest.mark.parametrize("secondary", [-90.0, -30.0, 0.0, 89.0, 90.0])
def test_views_follow_the_c_arm_without_jumps(primary, secondary):
    """Turning by a thousandth of a degree turns the view by no more than two of these, poles included."""
    pose = view(VOLUME, _xray(), primary, secondary)
    near = view(VOLUME, _xray(), primary + 1e-3, secondary - 1e-3)
    turned = Rotation.from_matrix(_rows(near) @ _rows(pose).T).magnitude()
    assert np.rad2deg(turned) < 2e-3
    np.testing.assert_allclose(_rows(pose) @ _rows(pose).T, np.eye(3), atol=1e-12)
    assert np.linalg.det(_rows(pose)) > 0


def test_secondary_angle_is_zero_where_only_the_primary_is_known():
    start = initial_pose(VOLUME, _xray(primary_angle_deg=45.0))
    assert torch.equal(start.camera_from_world, view(VOLUME, _xray(), 45.0, 0.0))


@pytest.mark.parametrize("init", ["ap", "pa", "left", "right", "dicom"])
@pytest.mark.parametrize("camera", [CAMERA, CAMERA.crop(top=20, left=9, height=60, width=90)])
def test_centre_of_the_ct_is_seen_at_the_principal_point(camera, init):
    xray = _xray(camera, source_isocentre_mm=612.5, primary_angle_deg=20.0, secondary_angle_deg=-70.0)
    pose = initial_pose(VOLUME, xray, init).camera_from_world
    pixel = camera.project(ISOCENTRE[None], pose)[0]
    np.testing.assert_allclose(pixel, (camera.cx, camera.cy), atol=1e-9)
    assert (pose[:3, :3] @ ISOCENTRE + pose[:3, 3])[2].item() == pytest.approx(612.5)


def test_what_is_seen_where_from_the_front():
    """Antero-posterior: the patient's left on the image's right, the head up, the back far."""
    pose = initial_pose(VOLUME, _xray(), "ap").camera_from_world
    centre, left, head, back = (
        CAMERA.project((ISOCENTRE + 50 * torch.tensor(step).double())[None], pose)[0]
        for step in ((0, 0, 0), LEFT, HEAD, BACK)
    )
    assert left[0] > centre[0] + 10 and left[1] == pytest.approx(centre[1].item())
    assert head[1] < centre[1] - 10 and head[0] == pytest.approx(centre[0].item())
    assert torch.allclose(back, centre)


def test_distance_is_a_plausible_one_where_unknown():
    """C-arms have their isocentre at 60 to 80 % of the way from the source to the detector."""
    pose = initial_pose(VOLUME, _xray(), "ap").camera_from_world
    depth = (pose[:3, :3] @ ISOCENTRE + pose[:3, 3])[2].item()
    assert 0.6 * CAMERA.sdd_mm < depth < 0.8 * CAMERA.sdd_mm


def test_without_angles_the_beam_goes_from_front_to_back():
    start = initial_pose(VOLUME, _xray())
    assert torch.equal(start.camera_from_world, initial_pose(VOLUME, _xray(), "ap").camera_from_world)
    assert start.rough


@pytest.mark.parametrize("form", [lambda pose: pose, np.asarray, Tensor.tolist, lambda pose: pose[None]])
def test_matrix_is_taken_as_it_is(form):
    pose = displaced(VOLUME, true_pose(VOLUME), 20, seed=0)
    start = initial_pose(VOLUME, _xray(), form(pose))
    assert start.camera_from_world.shape == (4, 4) and not start.rough
    assert torch.equal(start.camera_from_world, pose)


def test_matrix_that_is_part_of_a_computation_is_a_plain_start():
    pose = true_pose(VOLUME).requires_grad_()
    assert not initial_pose(VOLUME, _xray(), pose).camera_from_world.requires_grad


@pytest.mark.parametrize("bare", [True, False])
def test_pose_file(tmp_path, bare):
    pose, path = true_pose(VOLUME), tmp_path / "pose.json"
    if bare:
        path.write_text(json.dumps(pose.tolist()))
    else:
        PoseFile(camera_from_world=pose, camera=CAMERA).write(path)
    for init in (path, str(path)):
        start = initial_pose(VOLUME, _xray(primary_angle_deg=45.0), init)
        assert torch.equal(start.camera_from_world, pose)
        assert not start.rough and str(path) in start.source


def test_broken_pose_file(tmp_path):
    path = tmp_path / "pose.json"
    path.write_text("{}")
    with raises(InputError, "pose-file.incomplete", "pose.json"):
        initial_pose(VOLUME, _xray(), path)


@pytest.mark.parametrize("init", ["lateral", "ap.json", "no/such/pose.json", 300 * "x", "a\0b"])
def test_names_that_mean_nothing(init):
    with raises(UsageError, "start.unknown-name", "ap", "dicom", "any"):
        initial_pose(VOLUME, _xray(), init)


def test_angles_that_are_not_there():
    with raises(UsageError, "start.angles-missing", "`primary_angle_deg`"):
        initial_pose(VOLUME, _xray(), "dicom")


def _mirrored(pose: Tensor) -> Tensor:
    return torch.diag(torch.tensor([-1.0, 1, 1, 1], dtype=torch.float64)) @ pose


@pytest.mark.parametrize(
    ("init", "code"),
    [
        (np.eye(3), "geometry.wrong-shape"),
        (true_pose(VOLUME)[None].expand(2, 4, 4), "start.invalid-value"),
        (_mirrored(true_pose(VOLUME)), "pose.not-rigid"),
        (torch.full((4, 4), torch.nan), "pose.not-rigid"),
        (["words", "in", "a", "matrix"], "geometry.invalid-value"),
    ],
    ids=["3x3", "two", "mirrored", "nan", "words"],
)
def test_matrices_that_are_no_pose(init, code):
    with raises(InputError, code, "init"):
        initial_pose(VOLUME, _xray(), init)


def _moved(right_mm: float, down_mm: float, depth_mm: float) -> Tensor:
    """The centre of the CT there in the camera frame, seen from the front."""
    rotation = torch.tensor([LEFT, FEET, BACK], dtype=torch.float64)
    centre = torch.tensor([right_mm, down_mm, depth_mm], dtype=torch.float64)
    return se3.rigid(rotation, centre - rotation @ ISOCENTRE)


# The CT has 150 x 125 x 100 mm, left-right x front-back x feet-head; its nearest face is 62.5 mm before its
# centre. The detector has 320 mm, so that at that face of a CT 600 mm deep its half is 160 * 537.5 / 1000 mm
# = 86 mm, at the far face 106 mm.
_HALF_FAR_MM = 160 * 662.5 / 1000


@pytest.mark.parametrize(
    ("centre_mm", "sees"),
    [
        ((0, 0, 600), True),
        ((75 + _HALF_FAR_MM - 1, 0, 600), True),
        ((75 + _HALF_FAR_MM + 1, 0, 600), False),
        ((-75 - _HALF_FAR_MM + 1, 0, 600), True),
        ((-75 - _HALF_FAR_MM - 1, 0, 600), False),
        ((0, 50 + _HALF_FAR_MM - 1, 600), True),
        ((0, 50 + _HALF_FAR_MM + 1, 600), False),
        ((0, -50 - _HALF_FAR_MM + 1, 600), True),
        ((0, -50 - _HALF_FAR_MM - 1, 600), False),
        # Behind the source, and beyond the detector.
        ((0, 0, -600), False),
        ((0, 0, -61), True),
        ((0, 0, -64), False),
        ((0, 0, 1061), True),
        ((0, 0, 1064), False),
    ],
)
def test_pose_must_see_some_of_the_ct(centre_mm, sees):
    pose = _moved(*centre_mm)
    if sees:
        assert torch.equal(initial_pose(VOLUME, _xray(), pose).camera_from_world, pose)
    else:
        with raises(InputError, "start.ct-not-seen"):
            initial_pose(VOLUME, _xray(), pose)


@pytest.mark.parametrize(("top", "left"), [(63, 63), (40, 30), (85, 100)])
def test_few_pixels_within_the_shadow_of_a_ct_see_it(top, left):
    """However small the part of the CT is that the image shows."""
    camera = CAMERA.crop(top=top, left=left, height=2, width=3)
    assert not initial_pose(VOLUME, _xray(camera), _moved(0, 0, 600)).rough


def test_pose_file_that_does_not_see_the_ct_is_named(tmp_path):
    path = tmp_path / "pose.json"
    path.write_text(json.dumps(_moved(0, 0, -600).tolist()))
    with raises(InputError, "start.ct-not-seen", "pose.json"):
        initial_pose(VOLUME, _xray(), path)


@pytest.mark.parametrize("decimals", [3, 4])
def test_a_start_with_few_decimals(tmp_path, decimals):
    """As people copy it: taken as the nearest rotation, within half a unit of every entry's rounding."""
    turned = Rotation.from_rotvec([0.2, -0.1, 0.4]).as_matrix()
    pose = se3.rigid(torch.from_numpy(turned), torch.zeros(3, dtype=torch.float64)) @ _moved(4, 5, 600)
    pose[:3, 3] += torch.tensor([0.0, 0.0, 600.0]) - (pose @ torch.cat([ISOCENTRE, torch.ones(1)]))[:3]
    rounded = np.round(pose.numpy(), decimals).tolist()
    path = tmp_path / "start.json"
    path.write_text(json.dumps(rounded))
    for start in (rounded, path):
        found = initial_pose(VOLUME, _xray(), start).camera_from_world
        assert se3.rotation_angle_deg(found, pose) < np.degrees(1.5 * 10**-decimals)
        np.testing.assert_allclose(se3.as_poses(found, "found")[0, :3, 3], np.array(rounded)[:3, 3])


MEANT = {
    "metres: multiply it by 1000": lambda pose: _with(pose, pose[:3, 3] / 1000),
    "centimetres: multiply it by 10": lambda pose: _with(pose, pose[:3, 3] / 10),
    "world_from_camera: invert it": se3.inverse,
}


def _with(pose: Tensor, translation: Tensor) -> Tensor:
    return se3.rigid(pose[:3, :3], translation)


@pytest.mark.parametrize("meant", MEANT)
def test_what_a_start_was_meant_as_is_said(meant):
    """The CT is 900 mm from the origin, where confusions show; in the right pose it is 600 mm deep."""
    start = MEANT[meant](_moved(0, 0, 600))
    with raises(InputError, "start.ct-not-seen", "matrix", *meant.split(": multiply it by ")):
        initial_pose(VOLUME, _xray(), start)


def test_a_start_in_lps_for_a_ct_off_the_middle_of_the_world():
    affine = _AFFINE.copy()
    affine[1, 3] -= 400
    ct = Volume(hu=VOLUME.hu, world_from_voxel=affine)
    start = _moved(0, 0, 600)
    start[:3, 3] -= start[:3, :3] @ torch.tensor([0.0, -400.0, 0.0], dtype=torch.float64)
    assert not initial_pose(ct, _xray(), start).rough
    lps = start @ torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    with raises(InputError, "start.ct-not-seen", '"world": "LPS"'):
        initial_pose(ct, _xray(), lps)


def test_metres_with_the_ct_at_the_origin_put_the_source_into_it():
    """Part of the CT is then before the source and in the image."""
    affine = _AFFINE.copy()
    affine[:3, 3] -= VOLUME.isocentre_world
    ct = Volume(hu=VOLUME.hu, world_from_voxel=affine)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = _moved(0, 0, 0)[:3, :3]
    pose[2, 3] = 600
    assert not initial_pose(ct, _xray(), pose).rough
    pose[2, 3] = 0.6
    with raises(InputError, "start.wrong-unit", "0.6 mm", "metres", "1000"):
        initial_pose(ct, _xray(), pose)
    pose[2, 3] = 60
    with raises(InputError, "start.wrong-unit", "60 mm", "centimetres", "10"):
        initial_pose(ct, _xray(), pose)
