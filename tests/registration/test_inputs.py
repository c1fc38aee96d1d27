"""What the files themselves leave open makes a result doubtful, however well the images match."""

from dataclasses import replace
from pathlib import Path

import pytest

from isoclinic.registration import RegistrationConfig, SearchConfig, Stage, View, register, register_views
from isoclinic.registration._inputs import input_doubts
from isoclinic.solver import Status
from isoclinic.volumes import Finding, Identity
from isoclinic.volumes._warnings import GeometryWarning
from phantoms import displaced, phantom, true_pose, xray_of

VOLUME = replace(phantom(0), path=Path("ward/ct"), identity=Identity(patient_ids=("4711",)))
TRUTH = true_pose(VOLUME)
XRAY = replace(xray_of(VOLUME, TRUTH, seed=0), path=Path("ward/ap.dcm"), identity=VOLUME.identity)
START = displaced(VOLUME, TRUTH, 5, 0)
FAST = RegistrationConfig(searches=(SearchConfig(candidates=0),), stages=(Stage(pixels=64),))
OTHER = Identity(patient_ids=("4712",))

OPEN = Finding(
    level="warning",
    subject="X-ray",
    message="unsure",
    unsettled=True,
    settled_by=("sdd_mm",),
    remedy="`sdd_mm`",
)
SETTLED = Finding(level="warning", subject="X-ray", message="odd, but decided")


def test_reasons_name_the_file_and_the_way_out() -> None:
    xray = replace(XRAY, findings=(OPEN, SETTLED), identity=OTHER)
    volume = replace(VOLUME, findings=(replace(OPEN, message="of the CT"), SETTLED))
    of_ct, of_xray, of_both = input_doubts(volume, [xray], same_patient=False)
    assert of_ct == "ct: of the CT (`sdd_mm` overrides)"
    assert of_xray == "ap.dcm: unsure (`sdd_mm` overrides)"
    assert "ap.dcm and ct" in of_both and "PatientID" in of_both and "`same_patient`" in of_both
    assert input_doubts(volume, [xray], same_patient=True) == (of_ct, of_xray)


def test_nothing_is_open_where_nothing_is_said() -> None:
    assert input_doubts(VOLUME, [XRAY, XRAY], same_patient=False) == ()
    assert input_doubts(VOLUME, [replace(XRAY, identity=Identity())], same_patient=False) == ()


def test_a_result_is_doubtful_then_and_its_pose_the_same() -> None:
    sure = register(VOLUME, XRAY, START, FAST)
    unsure = register(VOLUME, replace(XRAY, findings=(OPEN,)), START, FAST)
    assert sure.status is Status.CONVERGED and sure.confidence.doubts == ()
    assert unsure.status is Status.DOUBTFUL
    assert unsure.confidence.doubts == ("ap.dcm: unsure (`sdd_mm` overrides)",)
    assert (unsure.camera_from_world == sure.camera_from_world).all()


def test_another_patient_is_told_and_doubted_until_confirmed() -> None:
    xray = replace(XRAY, identity=OTHER)
    with pytest.warns(GeometryWarning, match=r"ap.dcm and ct do not agree.*PatientID.*`same_patient`"):
        result = register(VOLUME, xray, START, FAST)
    assert result.status is Status.DOUBTFUL
    assert any("PatientID" in doubt for doubt in result.confidence.doubts)
    confirmed = register(VOLUME, xray, START, replace(FAST, same_patient=True))
    assert confirmed.status is Status.CONVERGED


def test_x_rays_are_compared_with_each_other() -> None:
    views = [
        View(xray=replace(XRAY, identity=replace(XRAY.identity, laterality="R"))),
        View(
            xray=replace(XRAY, path=Path("lat.dcm"), identity=replace(XRAY.identity, laterality="L")),
            view_from_first=[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
        ),
    ]
    with pytest.warns(GeometryWarning, match=r"lat.dcm and ap.dcm.*laterality"):
        result = register_views(VOLUME, views, START, FAST)
    assert any("left and right" in doubt for doubt in result.confidence.doubts)
