"""`isoclinic convert` writes what the library converts, and says what it cannot do."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from skimage.io import imsave

from isoclinic import Camera
from isoclinic.exchange import FORMATS
from isoclinic.registration import PoseFile
from isoclinic.solver import Status

CAMERA = Camera.from_pixel_spacing(
    width=40, height=30, pixel_spacing_mm=(5, 6), sdd_mm=1000, principal_point_px=(18, 16)
)
WITHOUT_INTRINSICS = ("slicer", "itk", "xreg", "rtk")


@pytest.fixture
def pose_path(files, tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pose.json"
    PoseFile(camera_from_world=files.camera_from_world, camera=CAMERA, similarity=0.9).write(path)
    return path


def output(format) -> str:
    return f"out{FORMATS[format].suffixes[0]}"


def assert_same(path, pose_path):
    """Decimal digits of float64 and a few operations on 1000 mm."""
    back, pose = PoseFile.read(path), PoseFile.read(pose_path)
    np.testing.assert_allclose(back.camera_from_world, pose.camera_from_world, atol=1e-10)
    assert back.camera.width == CAMERA.width
    np.testing.assert_allclose([back.camera.fx, back.camera.cy], [CAMERA.fx, CAMERA.cy], rtol=1e-12)


@pytest.mark.parametrize("format", FORMATS)
def test_there_and_back(run, pose_path, format):
    ran = run("convert", pose_path, "--to", format, "--output", output(format))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{output(format)}: pose for {format}, from isoclinic\n"
    camera = ("--camera", pose_path) if format in WITHOUT_INTRINSICS else ()
    ran = run("convert", output(format), "--from", format, "--output", "back.json", *camera)
    assert (ran.code, ran.err) == (0, "")
    assert_same("back.json", pose_path)
    # What was known of the registration stays behind.
    assert PoseFile.read("back.json").similarity is None
    assert PoseFile.read("back.json").isoclinic_version is not None


def test_from_one_program_to_another(run, pose_path):
    assert run("convert", pose_path, "--to", "itk", "--output", "a.tfm").code == 0
    both = ("--from", "itk", "--to", "nanodrr", "--camera", pose_path)
    assert run("convert", "a.tfm", *both, "--output", "b.json").code == 0
    assert run("convert", "b.json", "--from", "nanodrr", "--output", "c.json").code == 0
    assert_same("c.json", pose_path)


def test_slicer_and_itk_move_points(run, pose_path, files):
    """From the patient (RAS) to the camera: ITK forwards in LPS, Slicer's file backwards, as it resamples."""
    point = np.array([10.0, -20.0, 30.0])
    rotation, shift = files.camera_from_world[:3, :3].numpy(), files.camera_from_world[:3, 3].numpy()
    in_camera, lps = rotation @ point + shift, np.array([-1, -1, 1])
    for format in ("itk", "slicer"):
        assert run("convert", pose_path, "--to", format, "--output", f"{format}.tfm").code == 0
    moved = sitk.ReadTransform("itk.tfm").TransformPoint(tuple(lps * point))
    np.testing.assert_allclose(moved, in_camera, atol=1e-10)
    back = sitk.ReadTransform("slicer.tfm").TransformPoint(tuple(lps * in_camera))
    np.testing.assert_allclose(back, lps * point, atol=1e-10)


def test_an_xray_supplies_the_intrinsics(run, pose_path):
    """Read with the options of X-rays: the image's middle as principal point, binned to half the size."""
    assert run("convert", pose_path, "--to", "itk", "--output", "pose.tfm").code == 0
    imsave("xray.png", np.arange(120, dtype=np.uint8).reshape(10, 12), check_contrast=False)
    options = ("--from", "itk", "--xray", "xray.png", "--output", "back.json", "--polarity", "bright_air")
    ran = run("convert", "pose.tfm", *options)
    ran.refused(1, "xray.geometry-missing", "xray.png", "--sdd-mm")
    ran = run("convert", "pose.tfm", *options, "--sdd-mm", 900, "--pixel-spacing-mm", 2, 3, "--bin", 2)
    assert ran.code == 0, ran.err
    assert PoseFile.read("back.json").camera == Camera.from_pixel_spacing(
        width=6, height=5, pixel_spacing_mm=(4, 6), sdd_mm=900
    )


def test_options_in_a_file(run, pose_path):
    assert run("convert", pose_path, "--to", "itk", "--output", "pose.tfm").code == 0
    Path("options.toml").write_text('from = "itk"\ncamera = "pose.json"\n')
    ran = run("convert", "pose.tfm", "--output", "back.json", "--config", "options.toml")
    assert ran.code == 0, ran.err
    assert_same("back.json", pose_path)


def test_overwrite(run, pose_path):
    Path("out.tfm").write_text("an older transform")
    ran = run("convert", pose_path, "--to", "itk", "--output", "out.tfm", "--overwrite")
    assert ran.code == 0, ran.err
    assert sitk.ReadTransform("out.tfm").GetDimension() == 3


def test_programs_that_there_are_not(run, pose_path):
    ran = run("convert", "pose.json", "--output", "x.tfm", "--to", "matlab")
    assert ran.code == 2 and "matlab" in ran.err and not Path("x.tfm").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "fault"),
    [
        (["pose.json", "--output", "x.tfm"], 2, ("options.incomplete", "pose.json", "--to PROGRAM")),
        (["pose.json", "--output", "x.tfm", "--to", "rtk"], 2, ("exchange.invalid-value", "x.tfm", ".xml")),
        (["pose.json", "--output", "old.tfm", "--to", "itk"], 2, ("output.exists", "old.tfm")),
        (["pose.json", "--output", "no/x.tfm", "--to", "itk"], 1, ("output.unwritable", "no/x.tfm")),
        (["missing.json", "--output", "x.tfm", "--to", "itk"], 1, ("pose-file.unreadable", "missing.json")),
        (
            ["good.tfm", "--output", "x.tfm", "--to", "itk"],
            1,
            ("pose-file.unreadable", "good.tfm", "--from PROGRAM"),
        ),
        (["missing.tfm", "--output", "x.json", "--from", "itk"], 1, ("exchange.unreadable", "missing.tfm")),
        (
            ["pose.json", "--output", "x.json", "--from", "itk"],
            1,
            ("exchange.wrong-kind", "pose.json", "--from"),
        ),
        (
            ["good.tfm", "--output", "x.json", "--from", "rtk"],
            1,
            ("exchange.wrong-kind", "good.tfm", "<RTKThreeDCircularGeometry>"),
        ),
        (
            ["good.tfm", "--output", "x.json", "--from", "itk"],
            2,
            ("exchange.camera-missing", "good.tfm", "--camera", "--xray"),
        ),
        (
            ["sheared.tfm", "--output", "x.json", "--from", "itk", "--camera", "pose.json"],
            1,
            ("pose.not-rigid", "sheared.tfm"),
        ),
        (
            ["pose.json", "--output", "x.tfm", "--to", "itk", "--camera", "pose.json"],
            2,
            ("options.conflict", "--camera", "--xray", "--from"),
        ),
        (
            ["good.tfm", "--output", "x.json", "--from", "itk", "--camera", "good.tfm"],
            1,
            ("pose-file.unreadable", "good.tfm"),
        ),
        (
            ["good.tfm", "--output", "x.json", "--from", "itk", "--camera", "pose.json", "--xray", "a.dcm"],
            2,
            ("options.conflict", "--camera", "--xray"),
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(run, pose_path, arguments, status, fault):
    folder = pose_path.parent
    assert run("convert", pose_path, "--to", "itk", "--output", "good.tfm").code == 0
    sitk.WriteTransform(sitk.ScaleTransform(3, (1.0, 1.0, 2.0)), "sheared.tfm")
    (folder / "old.tfm").write_text("an older transform")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    ran = run("convert", *arguments)
    ran.refused(status, *fault)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_the_detector_of_a_json_file_is_not_asked_for(run, pose_path):
    """A camera that is given fills gaps only; where the file says it all, the file counts."""
    assert run("convert", pose_path, "--to", "opencv", "--output", "view.json").code == 0
    document = json.loads(pose_path.read_text())
    document["intrinsics"] |= {"sdd_mm": 500, "pixel_spacing_mm": None}
    Path("other.json").write_text(json.dumps(document))
    back = ("--from", "opencv", "--output", "back.json", "--camera", "other.json")
    assert run("convert", "view.json", *back).code == 0
    assert_same("back.json", pose_path)
    assert PoseFile.read("back.json").camera.sdd_mm == 1000


def test_a_doubtful_pose_is_said_to_be_doubtful(run, pose_path, tmp_path):
    """The other program's file cannot say it."""
    pose = PoseFile.read(pose_path)
    doubtful = tmp_path / "doubtful.json"
    replace(pose, status=Status.DOUBTFUL, doubts=("the CT covers little",)).write(doubtful)
    ran = run("convert", doubtful, "--to", "opencv", "--output", tmp_path / "camera.json")
    assert ran.code == 0
    assert f"isoclinic: warning: the pose in {doubtful} is doubtful: the CT covers little." in ran.err
