"""What SimpleITK, 3D Slicer and xReg make of their files."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from isoclinic.errors import InputError, UsageError
from isoclinic.exchange import read_pose, write_pose, write_slicer_transform
from isoclinic.geometry import se3
from raising import raises

from .views import CAMERAS, ROTATIONS, F, pixels, points_ras, posed, transformed

# Coordinates of up to 1000 mm in float64, a few operations.
ROUNDING_MM = 1e-9


def moved(path, points):
    transform = sitk.ReadTransform(str(path))
    return np.array([transform.TransformPoint(tuple(point)) for point in points])


def matrix(path):
    """[4, 4] of the transform, from the file's own parameters."""
    transform = sitk.AffineTransform(sitk.ReadTransform(str(path)))
    assert transform.GetCenter() == (0, 0, 0)
    result = np.eye(4)
    result[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    result[:3, 3] = transform.GetTranslation()
    return result


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_itk_moves_points_of_the_ct_into_the_camera_frame(rotation, tmp_path):
    view = posed(rotation, "off centre")
    write_pose(tmp_path / "pose.tfm", view, "itk")
    expected = transformed(view.camera_from_world.numpy(), points_ras())
    lps = transformed(F, points_ras())
    np.testing.assert_allclose(moved(tmp_path / "pose.tfm", lps), expected, atol=ROUNDING_MM)


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_slicer_carries_the_ct_into_the_camera_frame(rotation, tmp_path):
    """Slicer's reading, from its sources: FromParent = F T F (RAS), points move by its inverse, ToParent."""
    view = posed(rotation, "off centre")
    write_slicer_transform(tmp_path / "transform.tfm", view.camera_from_world)
    from_parent = F @ matrix(tmp_path / "transform.tfm") @ F
    in_scene = transformed(np.linalg.inv(from_parent), points_ras())
    expected = transformed(view.camera_from_world.numpy(), points_ras())
    np.testing.assert_allclose(in_scene, expected, atol=ROUNDING_MM)
    # SimpleITK moves the point back: from the camera frame, as LPS, to the CT.
    back = moved(tmp_path / "transform.tfm", transformed(F, expected))
    np.testing.assert_allclose(back, transformed(F, points_ras()), atol=ROUNDING_MM)


def test_slicer_and_itk_files_differ(tmp_path):
    for name in ("slicer", "itk"):
        write_pose(tmp_path / f"{name}.tfm", posed("random 2", "square"), name)
    assert np.abs(matrix(tmp_path / "slicer.tfm") - matrix(tmp_path / "itk.tfm")).max() > 1


@pytest.mark.parametrize("camera", CAMERAS)
def test_xreg_projects_to_the_same_pixels(camera, tmp_path):
    """CameraModel of xReg, after its sources: intrinsics, then `phys_pt_to_ind_pt` of the volume's points."""
    view = posed("random 3", camera)
    write_pose(tmp_path / "pose.h5", view, "xreg")
    in_camera = transformed(np.linalg.inv(matrix(tmp_path / "pose.h5")), transformed(F, points_ras()))
    seen_from_source = view.camera.fx * view.camera.fy > 0
    sign = (
        1 if seen_from_source else -1
    )  # kORIGIN_AT_FOCAL_PT_DET_POS_Z, or _NEG_Z, where MakeNaiveIntrins negates
    assert (sign * in_camera[:, 2] > 0).all()
    row_mm, column_mm = view.camera.pixel_spacing_mm
    focal = sign * view.camera.sdd_mm / np.array([column_mm, row_mm])
    homogeneous = (
        in_camera @ np.array([[focal[0], 0, view.camera.cx], [0, focal[1], view.camera.cy], [0, 0, 1]]).T
    )
    # Pixels of the order of 100.
    np.testing.assert_allclose(homogeneous[:, :2] / homogeneous[:, 2:], pixels(view, points_ras()), atol=1e-9)


def test_xreg_frontal_view_is_its_own(tmp_path):
    """`CreateAPViewOfLPSVol`, source in front, patient up: camera z = +P, y = -S, x = y x z."""
    write_pose(tmp_path / "pose.h5", posed("frontal", "square"), "xreg")
    z, y = np.array([0.0, 1, 0]), np.array([0.0, 0, -1])
    expected = np.stack([np.cross(y, z), y, z], axis=1)
    np.testing.assert_allclose(matrix(tmp_path / "pose.h5")[:3, :3], expected, atol=1e-15)


def euler():
    return sitk.Euler3DTransform((10.0, 20.0, -30.0), 0.3, -0.2, 2.9, (5.0, -6.0, 700.0))


def versor():
    return sitk.VersorRigid3DTransform((0.1, 0.2, 0.3), 2.0, (1.0, 2.0, 3.0), (40.0, 50.0, 60.0))


def composite():
    return sitk.CompositeTransform([euler(), sitk.TranslationTransform(3, (1.0, 2.0, 3.0))])


@pytest.mark.parametrize("make", [euler, versor, composite])
def test_rigid_transforms_of_any_class_are_read(make, tmp_path):
    transform = make()
    sitk.WriteTransform(transform, str(tmp_path / "other.tfm"))
    pose = read_pose(tmp_path / "other.tfm", "itk", CAMERAS["square"]).camera_from_world
    expected = [transform.TransformPoint(tuple(point)) for point in transformed(F, points_ras())]
    np.testing.assert_allclose(transformed(pose.numpy(), points_ras()), expected, atol=ROUNDING_MM)


def test_rounding_to_float32_is_undone(tmp_path):
    """As left by xReg, which computes in float32: its transpose is its inverse to 1e-7 only."""
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.float64(np.float32(ROTATIONS["random 0"])).flatten().tolist())
    sitk.WriteTransform(transform, str(tmp_path / "pose.h5"))
    rotation = read_pose(tmp_path / "pose.h5", "xreg", CAMERAS["square"]).camera_from_world[:3, :3]
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-15)
    assert (
        np.abs(
            np.reshape(transform.GetMatrix(), (3, 3)) @ np.reshape(transform.GetMatrix(), (3, 3)).T
            - np.eye(3)
        ).max()
        > 1e-9
    )


def scaling():
    return sitk.ScaleTransform(3, (1.0, 1.0, 1.1))


def mirror():
    return sitk.ScaleTransform(3, (-1.0, 1.0, 1.0))


def spline():
    return sitk.BSplineTransform(3, 3)


def flat():
    return sitk.Euler2DTransform((0.0, 0.0), 0.1, (1.0, 2.0))


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (scaling, ("pose.not-rigid", "pose.tfm", "3x3")),
        (mirror, ("pose.not-rigid", "-1")),
        (spline, ("exchange.not-rigid", "BSplineTransform")),
        (flat, ("exchange.wrong-shape", "2 dimensions")),
    ],
)
@pytest.mark.parametrize("format", ["slicer", "itk", "xreg"])
def test_what_is_not_rigid_is_refused(make, fault, format, tmp_path):
    sitk.WriteTransform(make(), str(tmp_path / "pose.tfm"))
    with raises(InputError, *fault):
        read_pose(tmp_path / "pose.tfm", format, CAMERAS["square"])


@pytest.mark.parametrize("format", ["slicer", "itk", "xreg"])
def test_intrinsics_are_asked_for(format, tmp_path):
    write_pose(tmp_path / "pose.tfm", posed("random 0", "square"), format)
    with raises(UsageError, "exchange.camera-missing", "pose.tfm", "`camera`", "`xray`"):
        read_pose(tmp_path / "pose.tfm", format)


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    pose = posed("random 0", "square").camera_from_world
    with raises(InputError, "output.unwritable", "transform.tfm"):
        write_slicer_transform(tmp_path / "missing" / "transform.tfm", pose)
    with raises(InputError, "pose.not-rigid", "camera_from_world"):
        write_slicer_transform(tmp_path / "transform.tfm", 2 * torch.eye(4))
    assert not list(tmp_path.iterdir())


def test_lps_is_not_applied_twice(tmp_path):
    """The inverse of what is read is what was written, for the pose that stands for nothing: the identity."""
    identity = torch.eye(4, dtype=torch.float64)
    write_slicer_transform(tmp_path / "transform.tfm", identity)
    np.testing.assert_array_equal(matrix(tmp_path / "transform.tfm"), np.eye(4))
    assert torch.equal(se3.inverse(identity), identity)


# What other programs leave ------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"], ids=["unix", "windows", "old mac"])
def test_text_of_any_encoding_and_line_ends(encoding, ends, tmp_path):
    view = posed("random 0", "square")
    write_pose(tmp_path / "pose.tfm", view, "itk")
    text = (tmp_path / "pose.tfm").read_text()
    (tmp_path / "Pose.TXT").write_bytes(text.replace("\n", ends).encode(encoding))
    read = read_pose(tmp_path / "Pose.TXT", "itk", view.camera)
    np.testing.assert_allclose(read.camera_from_world, view.camera_from_world, atol=ROUNDING_MM)


def test_three_decimals(tmp_path):
    """Typed by hand: read as the nearest rotation."""
    view = posed("random 0", "square")
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(np.round(view.camera_from_world[:3, :3].numpy(), 3).ravel().tolist())
    sitk.WriteTransform(transform, str(tmp_path / "pose.tfm"))
    read = read_pose(tmp_path / "pose.tfm", "itk", view.camera).camera_from_world
    se3.as_poses(read, "read")
    np.testing.assert_allclose(read[:3, :3] @ F[:3, :3], view.camera_from_world[:3, :3], atol=1e-3)


def test_grids_of_any_size_are_refused_before_they_are_made(tmp_path):
    """ITK allocates what FixedParameters say: here 8 PB."""
    sitk.WriteTransform(spline(), str(tmp_path / "pose.tfm"))
    lines = (tmp_path / "pose.tfm").read_text().splitlines()
    fixed = next(line for line in lines if line.startswith("FixedParameters"))
    huge = fixed.split()
    huge[1:4] = ["100000"] * 3
    (tmp_path / "pose.tfm").write_text("\n".join(lines).replace(fixed, " ".join(huge)))
    with raises(InputError, "exchange.not-rigid", "pose.tfm", "BSplineTransform"):
        read_pose(tmp_path / "pose.tfm", "itk", CAMERAS["square"])


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_binary_files_that_end_the_process_that_reads_them(suffix, tmp_path, monkeypatch):
    """Damaged HDF5 crashes SimpleITK on some versions only, so that the crash is made here."""
    write_pose(tmp_path / f"pose{suffix}", posed("random 0", "square"), "itk")
    dies = tmp_path / "dies.py"
    dies.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr("isoclinic.exchange._itk_apply.__file__", str(dies))
    with raises(InputError, "exchange.wrong-kind", f"pose{suffix}"):
        read_pose(tmp_path / f"pose{suffix}", "itk", CAMERAS["square"])
