"""A result's files from Python, without the command line."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from skimage.io import imread

import isoclinic as iso
from isoclinic.provenance import InputFile, Provenance
from isoclinic.registration import PoseFile, RegistrationResult, register
from isoclinic.results import document_of, write_document, write_result_files
from isoclinic.results.report import names_apart
from isoclinic.solver import Status
from raising import raises

from ..registration.test_learned import FAST, NEAR, VOLUME, XRAY

FILES = {"pose.json", "transform.tfm", "overlay.png", "report.html"}


@pytest.fixture(scope="module")
def result() -> RegistrationResult:
    return register(VOLUME, XRAY, NEAR, FAST)


@pytest.mark.slow
def test_five_lines_write_a_result(result, tmp_path: Path):
    iso.write_result(tmp_path / "deep" / "result", iso.Registered(volume=VOLUME, result=result))
    written = tmp_path / "deep" / "result"
    assert {path.name for path in written.iterdir()} == FILES
    pose = PoseFile.read(written / "pose.json")
    np.testing.assert_array_equal(pose.camera_from_world, result.camera_from_world)
    assert pose.status is result.status and pose.expected_error_mm == result.confidence.expected_error_mm
    assert pose.command is None, "nobody typed one"
    # Read by an independent program: world_from_camera in LPS.
    transform = sitk.ReadTransform(str(written / "transform.tfm"))
    flip = np.diag([-1.0, -1.0, 1.0])
    inverse = np.linalg.inv(result.camera_from_world.numpy())
    point = np.array([3.0, -5.0, 700.0])
    expected = flip @ (inverse[:3, :3] @ (flip @ point) + inverse[:3, 3])
    np.testing.assert_allclose(transform.TransformPoint(point.tolist()), expected, atol=1e-9)
    assert imread(written / "overlay.png").std() > 10
    assert "Research software" in (written / "report.html").read_text()


def test_an_older_result_stays_unless_it_may_be_replaced(result, tmp_path: Path):
    registered = iso.Registered(volume=VOLUME, result=result)
    place = tmp_path / "result"
    iso.write_result(place, registered)
    before = (place / "pose.json").read_bytes()
    with raises(iso.UsageError, "output.exists", "`overwrite`"):
        iso.write_result(place, registered)
    assert (place / "pose.json").read_bytes() == before
    iso.write_result(place, registered, overwrite=True)
    (place / "notes.txt").write_text("mine")
    with raises(iso.UsageError, "output.foreign-files", "notes.txt"):
        iso.write_result(place, registered, overwrite=True)
    assert (place / "notes.txt").read_text() == "mine"


def test_a_diverged_result_is_not_written(result, tmp_path: Path):
    diverged = iso.Registered(volume=VOLUME, result=replace(result, status=Status.DIVERGED))
    with raises(iso.IsoclinicError, "registration.diverged"):
        iso.write_result(tmp_path / "result", diverged)
    assert list(tmp_path.iterdir()) == []


def test_inputs_are_described_by_their_digests(result, tmp_path: Path):
    """Of the files that CT and X-ray were read from, unless something else is said."""
    ct, xray = tmp_path / "ct.nii.gz", tmp_path / "xray.png"
    ct.write_bytes(b"a CT")
    xray.write_bytes(b"an X-ray")
    registered = iso.Registered(
        volume=replace(VOLUME, path=ct), result=result, xrays=[replace(XRAY, path=xray)]
    )
    iso.write_pose(tmp_path / "pose.json", registered)
    pose = PoseFile.read(tmp_path / "pose.json")
    assert pose.volume == InputFile(path=str(ct), sha256=hashlib.sha256(b"a CT").hexdigest())
    assert pose.xray == InputFile(path=str(xray), sha256=hashlib.sha256(b"an X-ray").hexdigest())
    said = Provenance(volume=pose.volume, xrays=[None], command="mine")
    iso.write_pose(tmp_path / "other.json", replace(registered, provenance=said))
    other = PoseFile.read(tmp_path / "other.json")
    assert other.xray is None and other.command == "mine"
    xray.unlink()
    with raises(iso.InputError, "input.unreadable", "xray.png"):
        iso.write_pose(tmp_path / "late.json", replace(registered))


def test_warnings_and_reasons_are_said_once(result, tmp_path: Path):
    doubted = result.doubted("the CT covers little")
    registered = iso.Registered(volume=VOLUME, result=doubted)
    write_result_files(tmp_path, registered, warnings=["the CT covers little", "a filter", "a filter"])
    page = (tmp_path / "report.html").read_text()
    assert page.count("the CT covers little") == 1 and page.count("a filter") == 1


def test_the_document_is_that_of_a_program(result, tmp_path: Path):
    registered = iso.Registered(volume=VOLUME, result=result)
    write_document(tmp_path / "result.json", registered)
    document = json.loads((tmp_path / "result.json").read_text())
    assert document["camera_from_world"] == result.camera_from_world.tolist()
    assert document["output"] is None and "->" not in document["verdict"]
    assert document_of(registered, Path("there"))["verdict"].endswith("-> there/report.html")


def test_bones_are_outlined_and_not_the_skin(result):
    """A ball of bone in a larger one of water: the edges' picture ends at the bone."""
    (pictures,) = iso.Registered(volume=VOLUME, result=result).pictures
    assert pictures.result_bone.shape == pictures.result.shape == pictures.image.shape
    bone, tissue = (image > 0.01 * image.max() for image in (pictures.result_bone, pictures.result))
    assert 0 < bone.sum() < tissue.sum() and not (bone & ~tissue).any()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["xray.dcm"], ["xray.dcm"]),
        (["a/xray.dcm", "b/xray.dcm"], ["a/xray.dcm", "b/xray.dcm"]),
        (["ap/1/xray.dcm", "lateral/1/xray.dcm"], ["ap/1/xray.dcm", "lateral/1/xray.dcm"]),
        (["a/x.dcm", "a/x.dcm"], ["x.dcm (1)", "x.dcm (2)"]),
        ([None, None], ["X-ray (1)", "X-ray (2)"]),
        (["x/ap.dcm", "x/lat.dcm"], ["ap.dcm", "lat.dcm"]),
    ],
)
def test_xrays_of_one_name_are_told_apart(paths, names):
    assert names_apart([None if path is None else Path(path) for path in paths]) == names
