"""What headers say, on the command line: used, told, doubted, and settled by the options that are named.

The phantom's X-ray is cut, turned, mirrored or rescaled by numpy as its header then says; the pose must be
the true one all the same.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
import torch

from isoclinic.geometry import mean_target_registration_error_mm, roll
from isoclinic.registration import PoseFile
from isoclinic.solver import Status

POINTS = torch.from_numpy(np.random.default_rng(0).uniform(-60, 60, (30, 3)))
# 64 x 64 pixels of 3 mm, 1000 mm from the source, which is 650 mm from the patient.
DETECTOR = {
    "DetectorActiveDimensions": ["192", "192"],
    "DetectorElementSpacing": ["3", "3"],
    "FieldOfViewShape": "RECTANGLE",
}


@pytest.fixture
def register(run, files, tmp_path):
    """Register what `edit` makes of the phantom's X-ray; what was run, and the pose file."""

    def edited(edit=lambda pixels: pixels, arguments=(), init=files.init, **attributes):
        path, result = tmp_path / "xray.dcm", tmp_path / "result"
        write(files.xray, path, edit, **attributes)
        options = ["--volume", files.ct, "--output", result, "--config", files.config, "--init", init]
        ran = run("register", path, *options, "--overwrite", *arguments)
        pose = PoseFile.read(result / "pose.json") if (result / "pose.json").exists() else None
        return ran, pose

    return edited


def write(source: Path, path: Path, edit=lambda pixels: pixels, **attributes) -> None:
    dataset = pydicom.dcmread(source)
    pixels = np.ascontiguousarray(edit(dataset.pixel_array))
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.PixelData = pixels.tobytes()
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)


def error_mm(pose: PoseFile, files, degrees: int = 0) -> float:
    truth = roll(degrees) @ files.camera_from_world
    return float(mean_target_registration_error_mm(pose.camera_from_world, truth, POINTS))


@pytest.mark.parametrize(
    ("edit", "attributes"),
    [
        (
            lambda pixels: pixels[4:, :44],
            {**DETECTOR, "FieldOfViewOrigin": ["4", "0"], "FieldOfViewDimensions": [180, 132]},
        ),
        (
            lambda pixels: np.rot90(pixels[:, 12:], -1)[:, ::-1],
            {
                **DETECTOR,
                "FieldOfViewOrigin": ["0", "12"],
                "FieldOfViewDimensions": [192, 156],
                "FieldOfViewRotation": "90",
                "FieldOfViewHorizontalFlip": "YES",
            },
        ),
        (
            lambda pixels: pixels,
            {
                "ImagerPixelSpacing": None,
                "PixelSpacing": ["1.95", "1.95"],
                "PixelSpacingCalibrationType": "GEOMETRY",
            },
        ),
    ],
    ids=["cut off the middle", "cut, turned and mirrored", "spacing at the patient"],
)
def test_the_header_is_used(register, files, edit, attributes):
    ran, pose = register(edit, **attributes)
    assert (ran.code, ran.err) == (0, "")
    assert pose.status is Status.CONVERGED and error_mm(pose, files) < 1


@pytest.mark.slow
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_by_the_option(register, files, degrees):
    """An image that was turned without a word: the option turns it back."""
    ran, pose = register(lambda pixels: np.rot90(pixels, degrees // 90), ("--turn", degrees))
    assert (ran.code, ran.err) == (0, "")
    assert error_mm(pose, files) < 1


@pytest.mark.slow
def test_the_option_overrides_the_header(register, files, tmp_path):
    """The header says that it was turned, but it was not: 0 leaves it, 90 turns it, and so the pose."""
    ran, pose = register(arguments=("--turn", 0), FieldOfViewRotation="90")
    assert ran.code == 0 and error_mm(pose, files) < 1
    start = roll(90) @ torch.tensor(json.loads(files.init.read_text()), dtype=torch.float64)
    (tmp_path / "turned.json").write_text(json.dumps(start.tolist()))
    ran, pose = register(arguments=("--turn", 90), init=tmp_path / "turned.json", FieldOfViewRotation="90")
    assert ran.code == 0 and error_mm(pose, files, 90) < 1


OPEN = {"ImagerPixelSpacing": None, "PixelSpacing": ["3", "3"]}


@pytest.mark.slow
@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
def test_what_is_open_is_told_and_doubted_until_an_option_settles_it(register, files):
    """The spacing happens to be right here, so that nothing but the header is a reason to doubt."""
    ran, pose = register(**OPEN)
    assert ran.code == 3 and "ImagerPixelSpacing is missing" in ran.err
    assert pose.status is Status.DOUBTFUL and pose.expected_error_mm is None
    (doubt,) = pose.doubts
    assert doubt.startswith("xray.dcm: ImagerPixelSpacing is missing") and "--pixel-spacing-mm" in doubt
    assert "settle what CT and X-ray leave open" in ran.err
    ran, pose = register(arguments=("--pixel-spacing-mm", 3, 3), **OPEN)
    assert (ran.code, ran.err) == (0, "") and pose.doubts == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
def test_structures_carry_the_same_doubt(register, files, tmp_path):
    ran, pose = register(arguments=("--labels", files.labels, "--each-structure", "bone"), **OPEN)
    assert ran.code == 3
    bone = PoseFile.read(tmp_path / "result/structures/bone/pose.json")
    assert bone.status is Status.DOUBTFUL and pose.doubts[0] in bone.doubts


@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
@pytest.mark.slow
def test_evaluate_carries_it_too(run, cases, files, tmp_path):
    case = tmp_path / "cases/phantom/00"
    case.mkdir(parents=True)
    write(cases / "phantom/00/xray.dcm", case / "xray.dcm", **OPEN)
    (case / "truth.json").write_text((cases / "phantom/00/truth.json").read_text())
    ran = run(
        *("evaluate", tmp_path / "cases", "--volume", files.ct, "--output", tmp_path / "evaluated"),
        *("--config", files.config, "--starts", "4", "--model", "none"),
    )
    assert ran.code == 0
    (pose,) = (PoseFile.read(path) for path in (tmp_path / "evaluated").rglob("pose.json"))
    assert pose.status is Status.DOUBTFUL and any("ImagerPixelSpacing" in doubt for doubt in pose.doubts)


@pytest.mark.slow
@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
def test_x_rays_of_different_patients(run, files, tmp_path):
    for name, patient in (("a.dcm", "4711"), ("b.dcm", "4712")):
        write(files.xray, tmp_path / name, PatientID=patient)
    (tmp_path / "views.json").write_text(json.dumps({"view_from_first": [np.eye(4).tolist()]}))
    line = [
        *("register", tmp_path / "a.dcm", tmp_path / "b.dcm", "--views", tmp_path / "views.json"),
        *("--volume", files.ct, "--init", files.init, "--config", files.config, "--overwrite"),
        *("--output", tmp_path / "result"),
    ]
    ran = run(*line)
    assert ran.code == 3 and "b.dcm and a.dcm do not agree on whom they show: PatientID" in ran.err
    assert "4712" not in ran.err + ran.out + (tmp_path / "result/pose.json").read_text()
    ran = run(*line, "--same-patient")
    assert (ran.code, ran.err) == (0, "")


def test_an_intensifiers_field_is_proposed(register):
    ran, pose = register(ImagerPixelSpacing=None, IntensifierSize="192")
    assert pose is None
    ran.refused(1, "xray.geometry-missing", "IntensifierSize", "0018,1162", "192", "--pixel-spacing-mm 3 3")


def test_inspect_shows_the_same_findings(run, files, tmp_path):
    write(files.xray, tmp_path / "xray.dcm", **OPEN)
    ran = run("inspect", files.ct, tmp_path / "xray.dcm", "--json")
    found = [each for each in json.loads(ran.out)["X-ray"]["findings"] if each["unsettled"]]
    assert [each["message"].startswith("ImagerPixelSpacing is missing") for each in found] == [True]
    assert ran.err == ""
