"""`isoclinic register` on a phantom whose pose is known, and everything that can be wrong with its input."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import torch
from skimage.io import imread

from isoclinic.geometry import mean_target_registration_error_mm
from isoclinic.registration import PoseFile
from isoclinic.solver import Status

FILES = {"pose.json", "transform.tfm", "report.html", "overlay.png"}
# Points of the size of the phantom.
POINTS = torch.from_numpy(np.random.default_rng(0).uniform(-60, 60, (30, 3)))


@pytest.fixture
def register(run, files, tmp_path):
    def register_phantom(
        *arguments, xray=files.xray, volume=files.ct, output=tmp_path / "result", init=files.init
    ):
        start = [] if init is None else ["--init", init]
        options = ["--volume", volume, "--output", output, "--config", files.config, *start, *arguments]
        return run("register", xray, *options)

    return register_phantom


def error_mm(pose, files) -> float:
    pose = torch.as_tensor(pose, dtype=torch.float64)
    return mean_target_registration_error_mm(pose, files.camera_from_world, POINTS).item()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.slow
def test_from_two_files_to_a_pose(register, files, tmp_path):
    """Noise and voxels of 3 mm allow a few tenths of a millimetre; the start is 9 mm off."""
    assert error_mm(json.loads(files.init.read_text()), files) > 5
    ran = register("--labels", files.labels)
    assert (ran.code, ran.err) == (0, "")
    result = tmp_path / "result"
    assert {path.name for path in result.iterdir()} == FILES
    pose = PoseFile.read(result / "pose.json")
    assert error_mm(pose.camera_from_world, files) < 1
    assert pose.status is Status.CONVERGED and pose.similarity > 0.8
    assert pose.covariance is not None and (pose.covariance.diagonal() > 0).all()
    # The distance counts as good to one per cent, of 700 mm, and the phantom's perspective says little.
    assert pose.expected_error_mm is not None and 0.02 < pose.expected_error_mm < 9
    assert pose.isoclinic_version == version("isoclinic")
    assert (pose.volume.path, pose.volume.sha256) == (str(files.ct), sha256(files.ct))
    assert (pose.xray.path, pose.xray.sha256) == (str(files.xray), sha256(files.xray))
    assert (pose.camera.width, pose.camera.sdd_mm) == (64, 1000)
    assert imread(result / "overlay.png").std() > 10
    for said in ("DistanceSourceToDetector (0018,1110)", "ImagerPixelSpacing", "converged", "file ", "RAS"):
        assert said in ran.out


@pytest.mark.slow
def test_json_for_programs(register, files, tmp_path):
    ran = register("--json", init="ap")
    document = json.loads(ran.out)
    assert document["status"] == "converged"
    assert document["initial"]["source"] == "preset ap"
    assert error_mm(document["camera_from_world"], files) < 1
    assert document["xray"]["sdd_mm"] == {
        "value": 1000.0,
        "source": "DistanceSourceToDetector (0018,1110)",
    }
    pose = PoseFile.read(tmp_path / "result" / "pose.json")
    assert document["camera_from_world"] == pose.camera_from_world.tolist()


@pytest.mark.slow
def test_options_override_the_header_and_a_pose_file_is_a_start(register, files, tmp_path):
    assert register("--sdd-mm", "1010", "--bin", "2").code == 0
    first = PoseFile.read(tmp_path / "result" / "pose.json")
    assert (first.camera.sdd_mm, first.camera.width) == (1010, 32)
    ran = register("--json", init=tmp_path / "result" / "pose.json", output=tmp_path / "again")
    document = json.loads(ran.out)
    assert document["initial"]["camera_from_world"] == first.camera_from_world.tolist()
    assert error_mm(document["camera_from_world"], files) < 1


@pytest.mark.slow
def test_structures_are_registered_by_name(register, files):
    """The bones alone match the X-ray of everything less well."""
    everything, bones = (
        json.loads(register("--json", "--labels", files.labels, "--overwrite", *structures).out)
        for structures in ([], ["--structures", "bone"])
    )
    assert bones["similarity"] < everything["similarity"] - 0.01


NEVER_GOOD_ENOUGH = ("--confidence.edges-below", "1.1", "--any-view.no-enabled")


@pytest.mark.slow
def test_doubtful_has_its_own_exit_status_and_all_its_files(register, tmp_path):
    ran = register(*NEVER_GOOD_ENOUGH)
    assert ran.code == 3
    pose = PoseFile.read(tmp_path / "result" / "pose.json")
    assert pose.status is Status.DOUBTFUL and pose.expected_error_mm is None
    assert "isoclinic: warning: the result is doubtful: X-ray and CT hardly match" in ran.err
    assert "report.html before using the pose" in ran.err
    assert 'data-status="doubtful"' in (tmp_path / "result" / "report.html").read_text()


@pytest.mark.slow
def test_doubtful_can_be_accepted(register):
    ran = register(*NEVER_GOOD_ENOUGH, "--accept-doubtful")
    assert ran.code == 0
    assert ran.out.startswith("DOUBTFUL: "), "it is said all the same"


@pytest.mark.slow
def test_the_verdict_comes_first(register, tmp_path):
    report = tmp_path / "result" / "report.html"
    ran = register()
    assert ran.code == 0
    pose = PoseFile.read(tmp_path / "result" / "pose.json")
    line = ran.out.splitlines()[0]
    assert line.startswith(f"converged, expected error {pose.expected_error_mm:.2f} mm (")
    assert line.endswith(f" mm in depth) -> {report}")
    ran = register("--overwrite", "--json")
    assert ran.code == 0 and next(iter(json.loads(ran.out).items())) == ("verdict", line)
    ran = register("--overwrite", *NEVER_GOOD_ENOUGH)
    (doubt, *_) = PoseFile.read(tmp_path / "result" / "pose.json").doubts
    assert ran.out.splitlines()[0] == f"DOUBTFUL: {doubt} -> {report}"
    ran = register("--overwrite", "--json", *NEVER_GOOD_ENOUGH)
    assert ran.code == 3 and json.loads(ran.out)["verdict"] == f"DOUBTFUL: {doubt} -> {report}"


@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
@pytest.mark.slow
def test_a_ct_without_a_patient_diverges_and_writes_nothing(register, files, tmp_path):
    empty = tmp_path / "empty.nii.gz"
    nib.save(nib.Nifti1Image(np.full((8, 8, 8), -1000, np.int16), np.diag([20.0, 20, 20, 1])), empty)
    ran = register(volume=empty, init="ap")
    ran.refused(1, "registration.diverged", "singular")
    assert "warning:" in ran.err and "does not look like Hounsfield units" in ran.err
    assert not (tmp_path / "result").exists()


@pytest.mark.slow
def test_overwrite(register, tmp_path):
    (tmp_path / "result").mkdir()
    ran = register()
    ran.refused(2, "output.exists", tmp_path / "result", "--overwrite")
    assert register("--overwrite").code == 0
    before = sha256(tmp_path / "result" / "pose.json")
    ran = register("--overwrite", xray=tmp_path / "nowhere.dcm")
    ran.refused(1, "xray.missing", "nowhere.dcm")
    assert sha256(tmp_path / "result" / "pose.json") == before


def bad_pose(folder: Path) -> Path:
    path = folder / "truncated.json"
    path.write_text('{"format": "isoclinic.pose", "version": 1, "camera_from_world": [[1, 0')
    return path


@pytest.mark.parametrize(
    ("changes", "arguments", "status", "fault"),
    [
        ({"xray": "no.dcm"}, [], 1, ("xray.missing", "no.dcm")),
        ({"volume": "no.nii.gz"}, [], 1, ("ct.missing", "no.nii.gz")),
        ({"init": "front"}, [], 2, ("start.unknown-name", "'front'", "dicom")),
        ({"init": "dicom"}, [], 2, ("start.angles-missing", "--primary-angle-deg")),
        ({"init": "truncated.json"}, [], 1, ("pose-file.unreadable", "truncated.json")),
        ({}, ["--sdd-mm", "-5"], 2, ("xray.invalid-value", "--sdd-mm", "-5.0")),
        ({}, ["--structures", "bone"], 2, ("labels.missing", "--labels")),
        ({}, ["--labels", "ct.nii.gz"], 1, ("labels.not-labels", "ct.nii.gz")),
        ({}, ["--crop-px", "0", "0", "99", "99"], 2, ("xray.invalid-value", "crop", "64 x 64")),
        ({}, ["--config", "bad.toml"], 2, ("config-file.unknown-key", "bad.toml", "lenght_mm")),
        ({"output": "file/result"}, [], 1, ("output.unwritable", "file/result")),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    register, files, tmp_path, monkeypatch, changes, arguments, status, fault
):
    monkeypatch.chdir(tmp_path)
    bad_pose(tmp_path)
    (tmp_path / "ct.nii.gz").write_bytes(files.ct.read_bytes())
    (tmp_path / "bad.toml").write_text("lenght_mm = 50.0")
    (tmp_path / "file").write_text("")
    before = set(tmp_path.rglob("*"))
    ran = register(*arguments, **changes)
    ran.refused(status, *fault)
    assert ran.out == ""
    assert set(tmp_path.rglob("*")) == before


@pytest.mark.slow
def test_geometry_that_is_missing_is_asked_for_by_its_option(register, files, tmp_path):
    dataset = pydicom.dcmread(files.xray)
    del dataset.DistanceSourceToDetector
    dataset.save_as(tmp_path / "bare.dcm")
    ran = register(xray=tmp_path / "bare.dcm")
    ran.refused(1, "xray.geometry-missing", "bare.dcm", "--sdd-mm MM")
    assert register("--sdd-mm", "1000", xray=tmp_path / "bare.dcm").code == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("always::isoclinic.volumes.GeometryWarning")
def test_what_was_guessed_is_a_warning(register, files, tmp_path):
    dataset = pydicom.dcmread(files.xray)
    dataset.Modality = "OT"
    dataset.save_as(tmp_path / "other.dcm")
    ran = register(xray=tmp_path / "other.dcm")
    assert ran.code == 0
    assert "isoclinic: warning: " in ran.err and "--polarity overrides" in ran.err
    assert "image statistics" in ran.out
