"""Registrations of received X-rays: right, followed where that leads to a match, and whole on disk."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import pydicom
import pytest
import torch

from isoclinic import RegistrationConfig, Volume, XRayOptions
from isoclinic.errors import InputError
from isoclinic.geometry import gantry_view, se3
from isoclinic.provenance import InputFile
from isoclinic.reception import Registrar
from isoclinic.reception.registrar import LINE, Found, ReceptionPlan, finished_line
from isoclinic.reception.spool import ReceivedImage
from isoclinic.registration import FollowConfig, PoseFile, SearchConfig, Stage
from raising import raises

from ..cli.conftest import off, phantom, true_pose, write_xray

CONFIG = RegistrationConfig(
    searches=(SearchConfig(candidates=0),), stages=(Stage(pixels=32), Stage(pixels=64))
)
FOLLOW = FollowConfig(stages=(1, 2))


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> Path:
    path, volume = tmp_path_factory.mktemp("ct") / "ct.nii.gz", phantom()
    nib.save(nib.Nifti1Image(volume.hu, volume.world_from_voxel), path)
    return path


@pytest.fixture
def plan(ct) -> ReceptionPlan:
    return ReceptionPlan(
        volume=Volume.read(ct),
        volume_file=InputFile.of(ct),
        init=off(true_pose(), 5.0),
        files={},
        xray_options=XRayOptions(),
        registration=CONFIG,
        follow=FOLLOW,
        command="isoclinic listen",
    )


@pytest.fixture
def received(tmp_path):
    """An X-ray at a pose, as received."""
    count = 0

    def make(pose: torch.Tensor, **attributes: object) -> ReceivedImage:
        nonlocal count
        count += 1
        path = tmp_path / f"{count}.dcm"
        write_xray(path, phantom(), pose)
        if attributes:
            dataset = pydicom.dcmread(path)
            for keyword, value in attributes.items():
                setattr(dataset, keyword, value)
            dataset.save_as(path)
        return ReceivedImage(
            number=count,
            digest=f"{count:064}",
            path=path,
            source="dicom:ARM",
            received_at="2026-01-02T03:04:05.000+00:00",
            attempts=1,
        )

    return make


def written(registrar: Registrar, found: Found) -> None:
    for _ in registrar.write(found):
        assert not found.folder.exists()


def line_after(registrar: Registrar, image: ReceivedImage, folder: Path) -> dict:
    """The line of an image that is registered and written."""
    found = registrar.find(image, folder)
    written(registrar, found)
    assert found.state == registrar.state()
    return found.line


def distance_mm(line: dict, truth: torch.Tensor) -> float:
    """Of the CT's centre, across the beam."""
    found = torch.tensor(line["camera_from_world"], dtype=torch.float64)
    return float((found - truth)[:2, 3].norm())


@pytest.mark.slow
def test_a_result_is_right_whole_and_what_its_line_says(plan, received, tmp_path):
    image, folder = received(true_pose()), tmp_path / "results" / "0001"
    line = line_after(Registrar(plan), image, folder)
    assert line["status"] == "converged" and line["doubts"] == [] and line["followed"] is False
    assert distance_mm(line, true_pose()) < 1
    assert (line["number"], line["sha256"], line["source"], line["state"]) == (
        *(1, image.digest, "dicom:ARM"),
        "done",
    )
    assert line["seconds"] > 0 and line["camera"]["sdd_mm"] == 1000 and line["output"] == str(folder)
    assert {each.name for each in folder.iterdir()} == {
        *("pose.json", "transform.tfm", "overlay.png", "report.html", LINE)
    }
    assert json.loads((folder / LINE).read_text()) == json.loads(json.dumps(line))
    pose = PoseFile.read(folder / "pose.json")
    assert pose.camera_from_world.tolist() == line["camera_from_world"]
    assert pose.expected_error_mm == line["expected_error_mm"] > 0
    assert pose.xray.sha256 == InputFile.of(image.path).sha256
    assert finished_line(folder, image) == json.loads(json.dumps(line))
    assert finished_line(tmp_path / "none", image) is None


@pytest.mark.slow
def test_later_xrays_are_followed_also_after_a_new_start(plan, received, tmp_path):
    first = Registrar(plan)
    line_after(first, received(true_pose()), tmp_path / "1")
    moved = off(true_pose(), 2.0)
    line = line_after(first, received(moved), tmp_path / "2")
    assert line["followed"] is True and distance_mm(line, moved) < 1
    # Its start is of no use to the other one: what is found comes from the pose that was kept.
    second = Registrar(plan)
    assert second.restore(json.loads(json.dumps(first.state())))
    again = line_after(second, received(moved), tmp_path / "3")
    assert again["followed"] is True and distance_mm(again, moved) < 1


@pytest.mark.slow
def test_before_it_is_written_nothing_is_there_and_its_state_is_its_own(plan, received, tmp_path):
    """The transform for 3D Slicer must not wait for pictures."""
    registrar = Registrar(plan)
    first = registrar.find(received(true_pose()), tmp_path / "1")
    second = registrar.find(received(off(true_pose(), 2.0)), tmp_path / "2")
    assert not (tmp_path / "1").exists() and second.line["followed"] is True
    assert first.state != second.state == registrar.state()
    written(registrar, first)
    assert json.loads((tmp_path / "1" / LINE).read_text()) == json.loads(json.dumps(first.line))
    read = PoseFile.read(tmp_path / "1" / "pose.json")
    assert read.camera_from_world.tolist() == first.line["camera_from_world"]


@pytest.mark.slow
def test_a_state_of_other_settings_is_not_gone_on_with(plan, received, tmp_path):
    first = Registrar(plan)
    line_after(first, received(true_pose()), tmp_path / "1")
    other = replace(plan, xray_options=XRayOptions(sdd_mm=990.0))
    assert not Registrar(other).restore(first.state()) and not Registrar(plan).restore(None)


@pytest.mark.slow
def test_where_the_last_pose_leads_to_no_match_it_begins_like_the_first(plan, received, tmp_path):
    """The C-arm was far from where it was, and comes back."""
    registrar = Registrar(plan)
    away = se3.perturb(
        true_pose(), torch.tensor([0.0, 0.0, 0.9, 0, 0, 0], dtype=torch.float64), torch.zeros(3).double()
    )
    registrar._plan = replace(plan, init=off(away, 3.0))
    assert line_after(registrar, received(away), tmp_path / "1")["status"] == "converged"
    registrar._plan = plan
    line = line_after(registrar, received(true_pose()), tmp_path / "2")
    assert line["status"] == "converged" and line["followed"] is False
    assert distance_mm(line, true_pose()) < 1


@pytest.mark.slow
def test_the_last_pose_turns_with_the_c_arm(plan, received, tmp_path):
    registrar = Registrar(plan)
    angles = {"PositionerPrimaryAngle": "180", "PositionerSecondaryAngle": "0"}
    line_after(registrar, received(true_pose(), **angles), tmp_path / "1")
    turned = gantry_view(160.0, 0.0, 650.0) @ se3.inverse(gantry_view(180.0, 0.0, 650.0)) @ true_pose()
    angles = {"PositionerPrimaryAngle": "160", "PositionerSecondaryAngle": "0"}
    line = line_after(registrar, received(turned, **angles), tmp_path / "2")
    assert line["status"] == "converged" and distance_mm(line, turned) < 1


@pytest.mark.slow
def test_a_file_that_cannot_be_read_fails_and_the_next_is_followed(plan, received, tmp_path):
    registrar = Registrar(plan)
    line_after(registrar, received(true_pose()), tmp_path / "1")
    broken = received(true_pose())
    broken.path.write_bytes(broken.path.read_bytes()[:500])
    with pytest.raises(InputError):
        line_after(registrar, broken, tmp_path / "2")
    assert not (tmp_path / "2").exists()
    assert line_after(registrar, received(true_pose()), tmp_path / "3")["followed"] is True


@pytest.mark.slow
def test_what_is_said_of_an_xray_is_said_each_time_in_the_readers_words(plan, received, tmp_path):
    registrar = Registrar(replace(plan, wording=lambda text: text.replace("`", "'")))
    image = received(true_pose(), DistanceSourceToPatient="1200")
    lines = [line_after(registrar, image, tmp_path / name) for name in ("1", "2")]
    said = [line["warnings"] for line in lines]
    assert said[0] and said[0] == said[1] and "`" not in json.dumps(lines)


def test_a_damaged_line_is_not_taken(plan, received, tmp_path):
    image = received(true_pose())
    (tmp_path / "r").mkdir()
    for text in ("{", "[]", '{"sha256": "other"}'):
        (tmp_path / "r" / LINE).write_text(text)
        with raises(InputError, "reception.damaged"):
            finished_line(tmp_path / "r", image)
