"""Folders of cases: what is found, and what is wrong with those that cannot be used."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch

from isoclinic.datasets import CaseFolder, Sample, dataset_kind
from isoclinic.datasets import cases as module
from isoclinic.errors import InputError, UsageError
from isoclinic.geometry import se3
from isoclinic.volumes import XRayOptions
from raising import raises

POSE = torch.tensor([[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 700], [0, 0, 0, 1]], dtype=torch.float64)
LANDMARKS = [[10.0, 0, 5], [-20, 30, 1], [0, 0, 40]]
SHIFT = torch.tensor([0.0, 0, 0, 3, 4, 0], dtype=torch.float64)
START = se3.perturb(POSE, SHIFT, torch.zeros(3, dtype=torch.float64))
OPTIONS = XRayOptions(sdd_mm=1000.0, pixel_spacing_mm=(2.0, 2.0))


def write_case(folder: Path, **changes) -> Path:
    folder.mkdir(parents=True)
    (folder / "xray.dcm").write_bytes(b"never read here")
    truth = {"extrinsic": POSE.tolist(), "landmarks": LANDMARKS, "inits": {"5": START.tolist()}} | changes
    content = {key: value for key, value in truth.items() if value is not None}
    (folder / "truth.json").write_text(json.dumps(content))
    return folder


def write_ct(path: Path, value: int) -> Path:
    affine = np.diag([-2.0, 2.0, 2.0, 1.0])
    hu = np.full((4, 4, 4), -1000, dtype=np.int16)
    hu[0] = value
    nib.save(nib.Nifti1Image(hu, affine), path)
    return path


def test_cases_are_found_at_any_depth_subject_by_subject(tmp_path: Path):
    for name in ("pelvis/01", "chest/10", "chest/02", "more/chest/03"):
        write_case(tmp_path / name)
    (tmp_path / "notes").mkdir()
    found = CaseFolder(tmp_path, {})
    assert found.names == ("chest/02", "chest/10", "more/chest/03", "pelvis/01")
    assert found.subjects == ("chest", "pelvis") and len(found) == 4
    assert found.names_of("chest") == ("chest/02", "chest/10", "more/chest/03")
    assert CaseFolder(tmp_path / "chest", {}).subjects == ("chest",)
    assert found.starts["chest/02"] == ("5",)
    assert dataset_kind(tmp_path) == "cases"


@pytest.mark.filterwarnings("ignore::isoclinic.volumes.GeometryWarning")
def test_a_sample_is_what_its_files_say(tmp_path: Path, shared_data: Path):
    volumes = {"pelvis": shared_data / "abdomen_pelvis_3mm.nii.gz"}
    cases = CaseFolder(shared_data / "xrays", volumes)
    name = cases.names_of("pelvis")[0]
    sample = cases[name]
    truth = json.loads((shared_data / "xrays" / name / "truth.json").read_text())
    assert isinstance(sample, Sample) and (sample.name, sample.subject) == (name, "pelvis")
    assert sample.camera_from_world.tolist() == truth["extrinsic"]
    assert sample.landmarks_world.tolist() == truth["landmarks"]
    assert len(sample.landmark_names) == len(truth["landmarks"])
    assert sample.starts["30"].tolist() == truth["inits"]["30"]
    assert sample.volume.path == volumes["pelvis"]
    assert sample.xray.path == shared_data / "xrays" / name / "xray.dcm"
    assert cases.files(name) == (sample.volume.path, sample.xray.path, sample.xray.path.parent / "truth.json")
    assert len(cases) == 16 and set(cases.subjects) == {"chest", "pelvis"}


def test_the_ct_of_a_subject_is_kept_and_not_sent_to_workers(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module.XRay, "read", lambda path, options: path)
    write_case(tmp_path / "a" / "00")
    write_case(tmp_path / "b" / "00")
    files = {"a": write_ct(tmp_path / "a.nii.gz", 20), "b": write_ct(tmp_path / "b.nii.gz", -500)}
    cases = CaseFolder(tmp_path, files, OPTIONS)
    volume = cases.volume("a")
    assert cases.volume("a") is volume
    assert [sample.volume is volume for sample in cases.samples("a")] == [True]
    assert cases.volume("b").hu[0, 0, 0] == -500
    sent = pickle.loads(pickle.dumps(cases))
    assert sent._latest is None and sent["a/00"].volume.hu[0, 0, 0] == 20


def test_starts_may_be_missing(tmp_path: Path):
    write_case(tmp_path / "a", inits=None)
    assert CaseFolder(tmp_path, {}).starts == {"a": ()}


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"extrinsic": None}, ("dataset.incomplete", "'extrinsic'")),
        ({"landmarks": None}, ("dataset.incomplete", "'landmarks'")),
        ({"extrinsic": [[1, 0], [0, 1]]}, ("geometry.wrong-shape", "truth.json", "extrinsic", "[2, 2]")),
        ({"extrinsic": [POSE.tolist(), POSE.tolist()]}, ("dataset.wrong-shape", "extrinsic", "4x4")),
        ({"landmarks": [[1, 2]]}, ("dataset.wrong-shape", "landmarks", "[1, 2]")),
        ({"landmarks": []}, ("dataset.wrong-shape", "landmarks", "[0]")),
        ({"landmarks": [["a", 0, 0]]}, ("dataset.invalid-value", "landmarks", "'a'")),
        ({"landmarks": [[float("nan"), 0, 0]]}, ("dataset.wrong-shape", "landmarks")),
        ({"inits": {"5": [[0] * 4] * 4}}, ("pose.not-rigid", "inits['5']")),
        ({"inits": [1]}, ("dataset.invalid-value", "inits")),
        ({"inits": {"../5": POSE.tolist()}}, ("dataset.invalid-value", "inits", "names")),
    ],
)
def test_a_truth_that_says_something_else(tmp_path: Path, changes, fault):
    write_case(tmp_path / "a", **changes)
    with raises(InputError, *fault):
        CaseFolder(tmp_path, {})


def test_files_that_are_missing_or_broken(tmp_path: Path):
    with raises(InputError, "dataset.wrong-kind", "nowhere"):
        CaseFolder(tmp_path / "nowhere", {})
    with raises(InputError, "dataset.empty", "xray.dcm", "truth.json"):
        CaseFolder(tmp_path, {})
    case = write_case(tmp_path / "a")
    (case / "truth.json").write_text('{"extrinsic": [')
    with raises(InputError, "dataset.unreadable", "truth.json"):
        CaseFolder(tmp_path, {})
    (case / "truth.json").write_text("{}")
    (case / "xray.dcm").unlink()
    with raises(InputError, "dataset.incomplete", "truth.json", "xray.dcm"):
        CaseFolder(tmp_path, {})


def test_names_that_there_are_not(tmp_path: Path):
    write_case(tmp_path / "a" / "00")
    with raises(UsageError, "dataset.unknown-name", "'b'"):
        CaseFolder(tmp_path, {"b": "ct.nii.gz"})
    cases = CaseFolder(tmp_path, {})
    with raises(UsageError, "dataset.unknown-name", "a/01", "a/00"):
        cases["a/01"]
    with raises(UsageError, "dataset.unknown-name", "'b'"):
        cases.names_of("b")
    for read in (lambda: cases["a/00"], lambda: cases.files("a/00"), lambda: cases.volume("a")):
        with raises(UsageError, "dataset.ct-missing", "'a'"):
            read()


def test_a_case_names_its_own_files(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(module.XRay, "read", lambda path, options: path)
    for site, value in (("wrist", 20), ("knee", -500)):
        (tmp_path / site / "xrays").mkdir(parents=True)
        write_ct(tmp_path / site / "bone.nii.gz", value)
        (tmp_path / site / "xrays" / "7.png").write_bytes(b"never read here")
        case = write_case(tmp_path / site / "7_bone", ct="../bone.nii.gz", xray="../xrays/7.png")
        (case / "xray.dcm").unlink()
    write_ct(tmp_path / "knee" / "tibia.v2.nii", 30)
    write_case(tmp_path / "knee" / "8_tibia", ct="../tibia.v2.nii")
    write_case(tmp_path / "chest" / "00", ct="chest")  # a word for people, and no file
    cases = CaseFolder(tmp_path, {})
    assert set(cases.subjects) == {"wrist-bone", "knee-bone", "tibia.v2", "chest"}
    assert set(cases.volumes) == {"wrist-bone", "knee-bone", "tibia.v2"}
    sample = cases["knee/7_bone"]
    assert sample.xray == tmp_path / "knee" / "xrays" / "7.png" and sample.subject == "knee-bone"
    assert sample.volume.path == tmp_path / "knee" / "bone.nii.gz"
    assert cases["knee/8_tibia"].xray == tmp_path / "knee" / "8_tibia" / "xray.dcm"
    with raises(UsageError, "dataset.ct-missing", "chest"):
        cases["chest/00"]
    other = write_ct(tmp_path / "other.nii", 5)
    assert CaseFolder(tmp_path, {"tibia.v2": other}).volumes["tibia.v2"] == other


@pytest.mark.parametrize(
    ("changes", "fault"),
    [({"xray": "7.png"}, ("dataset.incomplete", "7.png")), ({"xray": 3}, ("dataset.invalid-value", "xray"))],
)
def test_an_xray_that_is_named_must_exist(tmp_path: Path, changes, fault):
    write_case(tmp_path / "00", **changes)
    with raises(InputError, *fault):
        CaseFolder(tmp_path, {})
