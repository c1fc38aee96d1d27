"""`isoclinic render` writes what the library renders, with the geometry to read it back."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from skimage.io import imread

from isoclinic import Camera, RenderConfig, Volume, XRay, render
from isoclinic.registration import PoseFile

DETECTOR = ("--width", "40", "--height", "30", "--pixel-spacing-mm", "5", "6", "--sdd-mm", "1000")
CAMERA = Camera.from_pixel_spacing(width=40, height=30, pixel_spacing_mm=(5, 6), sdd_mm=1000)


@pytest.fixture
def pose_path(files, tmp_path) -> Path:
    path = tmp_path / "pose.json"
    PoseFile(camera_from_world=files.camera_from_world, camera=CAMERA).write(path)
    return path


def expected(files, **options) -> np.ndarray:
    volume = Volume.read(files.ct, labels=files.labels)
    return render(volume, CAMERA, files.camera_from_world, RenderConfig(**options))[0].numpy()


@pytest.mark.parametrize("name", ["drr.nii", "drr.nii.gz"])
@pytest.mark.parametrize("detector", [(), DETECTOR])
def test_nifti_holds_the_line_integrals(run, files, pose_path, tmp_path, name, detector):
    ran = run("render", files.ct, "--output", tmp_path / name, "--pose", pose_path, *detector)
    assert (ran.code, ran.err) == (0, "")
    image = nib.load(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(image.dataobj).squeeze().T, expected(files))
    np.testing.assert_allclose(image.header.get_zooms()[:2], (6, 5))


def test_png_is_scaled_to_sixteen_bits(run, files, pose_path, tmp_path):
    assert run("render", files.ct, "--output", tmp_path / "drr.png", "--pose", pose_path).code == 0
    picture, image = imread(tmp_path / "drr.png"), expected(files)
    assert picture.dtype == np.uint16
    np.testing.assert_allclose(picture, image / image.max() * 65535, atol=0.51)


def test_options_reach_the_renderer(run, files, pose_path, tmp_path):
    options = ("--method", "siddon", "--voxel-mm", "full", "--structures", "bone", "--material", "bone")
    place = ("--output", tmp_path / "drr.nii", "--pose", pose_path, "--labels", files.labels)
    assert run("render", files.ct, *place, *options).code == 0
    image = np.asarray(nib.load(tmp_path / "drr.nii").dataobj).squeeze().T
    like = expected(files, method="siddon", voxel_mm="full", structures=("bone",), material="bone")
    np.testing.assert_array_equal(image, like)
    assert not np.array_equal(image, expected(files))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["drr.png", "drr.nii.gz"])
def test_the_image_can_be_registered_again(run, files, tmp_path, name):
    """The view's pose is found again: 0.01 rad move the phantom's rim by a tenth of the 5 mm pixels."""
    assert run("render", files.ct, "--output", tmp_path / name, "--pose", "pa", *DETECTOR).code == 0
    xray = XRay.read(tmp_path / name)
    assert xray.camera == CAMERA
    assert (xray.polarity, xray.pixel_scale) == ("dark_air", "log")
    options = ("--init", "pa", "--config", files.config, "--json")
    ran = run("register", tmp_path / name, "--volume", files.ct, "--output", tmp_path / "result", *options)
    document = json.loads(ran.out)
    start, end = (np.array(pose["camera_from_world"]) for pose in (document["initial"], document))
    np.testing.assert_allclose(end[:3, :3], start[:3, :3], atol=1e-2)
    assert document["similarity"] > 0.95


def test_source_isocentre_sets_the_magnification(run, files, tmp_path):
    """170 mm, magnified 2 and 1.25 times and seen a little wider still, on pixels of 12 mm."""
    widths = []
    detector = ("--width", "60", "--height", "31", "--pixel-spacing-mm", "12", "12", "--sdd-mm", "1000")
    for distance in ("500", "800"):
        place = ("--output", tmp_path / f"{distance}.nii", "--pose", "ap", *detector)
        assert run("render", files.ct, *place, "--source-isocentre-mm", distance).code == 0
        image = np.asarray(nib.load(tmp_path / f"{distance}.nii").dataobj).squeeze().T
        widths.append(int((image[15] > 0).sum()))
    assert widths == pytest.approx([170 * 2 / 12, 170 * 1.25 / 12], abs=2)


@pytest.mark.parametrize(
    ("arguments", "status", "fault"),
    [
        (["--output", "drr.jpg", "--pose", "ap", *DETECTOR], 2, ("options.invalid-value", "drr.jpg", ".png")),
        (["--output", "drr.png", "--pose", "ap"], 2, ("options.incomplete", "--pose", "--width")),
        (
            ["--output", "drr.png", "--pose", "ap", "--width", "9"],
            2,
            ("options.incomplete", "--height", "--sdd-mm"),
        ),
        (
            ["--output", "drr.png", "--pose", "front", *DETECTOR],
            2,
            ("options.unknown-name", "--pose", "'front'"),
        ),
        (["--output", "drr.png", "--pose", "bare.json"], 1, ("pose-file.wrong-kind", "bare.json", "list")),
        (["--output", "no/drr.png", "--pose", "ap", *DETECTOR], 1, ("output.unwritable", "drr.png")),
        (["--output", "old.png", "--pose", "ap", *DETECTOR], 2, ("output.exists", "old.png")),
        (
            ["--output", "drr.png", "--pose", "ap", *DETECTOR, "--structures", "1"],
            2,
            ("labels.missing", "--labels"),
        ),
        (
            ["--output", "drr.png", "--pose", "ap", *DETECTOR, "--voxel-mm", "-1"],
            2,
            ("rendering.invalid-value", "voxel_mm"),
        ),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    run, files, tmp_path, monkeypatch, arguments, status, fault
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.png").write_text("an old picture")
    (tmp_path / "bare.json").write_text(json.dumps(files.camera_from_world.tolist()))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    ran = run("render", files.ct, *arguments)
    ran.refused(status, *fault)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_overwrite(run, files, tmp_path):
    (tmp_path / "drr.png").write_text("an old picture")
    place = ("--output", tmp_path / "drr.png", "--pose", "ap", *DETECTOR)
    assert run("render", files.ct, *place, "--overwrite").code == 0
    assert imread(tmp_path / "drr.png").shape == (30, 40)
