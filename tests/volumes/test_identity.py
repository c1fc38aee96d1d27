"""Whom CT and X-rays show: what counts as the same, what does not, and what says nothing."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from isoclinic.volumes import Identity, Volume, XRay, compare_identities
from isoclinic.volumes._body_parts import apart
from isoclinic.volumes._dicom_header import DicomHeader

from .test_xray import write, xray_dataset

ID, NAME, BORN, SEX = "PatientID", "PatientName", "PatientBirthDate", "PatientSex"


def identity(**attributes: object) -> Identity:
    dataset = Dataset()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return Identity.of(DicomHeader(dataset))


def said(ct: dict[str, object], xray: dict[str, object], volumes: int = 1) -> str:
    findings = compare_identities([("ct", identity(**ct)), ("xray.dcm", identity(**xray))], volumes)
    assert all(each.unsettled and each.level == "warning" for each in findings)
    assert all("`same_patient`" in each.remedy for each in findings)
    return "\n".join(each.message for each in findings)


@pytest.mark.parametrize(
    ("ct", "xray"),
    [
        ({ID: "123"}, {ID: "123"}),
        ({ID: " ab 12 "}, {ID: "AB12"}),
        ({ID: "0004711"}, {ID: "4711"}),
        ({ID: "4711"}, {ID: "X99", "OtherPatientIDs": ["4711", "5"]}),
        ({ID: "4711"}, {}),
        ({ID: "4711"}, {ID: ""}),
        ({ID: "4711"}, {ID: "ANONYMOUS"}),
        ({ID: "anon-17"}, {ID: "4711"}),
        ({ID: "0000"}, {ID: "4711"}),
        ({ID: "Unknown", NAME: "DOE^JANE"}, {ID: "4711", NAME: "Doe^Jane"}),
        # numbers of two hospitals
        ({ID: "1", "IssuerOfPatientID": "A"}, {ID: "2", "IssuerOfPatientID": "B"}),
        # other ways to write a name
        ({NAME: "Müller^Jörg^^Dr"}, {NAME: "MULLER^JORG"}),
        ({NAME: "Doe^Jane^Mary"}, {NAME: "DOE, JANE M"}),
        ({NAME: "Doe^J"}, {NAME: "Doe^Jane"}),
        ({NAME: "No^Name"}, {NAME: "Doe^Jane"}),
        ({NAME: "Anonymous^Patient", BORN: "19000101"}, {NAME: "Doe^Jane"}),
        ({ID: "1a", NAME: "Doe^Jane"}, {ID: "1A", NAME: "Roe^Richard"}),  # the number counts
        ({SEX: "F"}, {SEX: "O"}),
        # another frame of reference is the rule where the number says that it is the same patient
        ({ID: "4711", "FrameOfReferenceUID": "1.2"}, {ID: "4711", "FrameOfReferenceUID": "1.3"}),
        ({"Laterality": "R"}, {"ImageLaterality": "B"}),
        ({"Laterality": "R"}, {"ImageLaterality": "R"}),
        ({"BodyPartExamined": "ABDOMENPELVIS"}, {"BodyPartExamined": "LSPINE"}),
        ({"BodyPartExamined": "WHOLEBODY"}, {"BodyPartExamined": "KNEE"}),
    ],
)
def test_nothing_to_say(ct: dict[str, object], xray: dict[str, object]) -> None:
    assert said(ct, xray) == ""
    assert said(xray, ct) == ""


@pytest.mark.parametrize(
    ("ct", "xray", "expected"),
    [
        ({ID: "123456"}, {ID: "123457"}, "PatientID (0010,0020) differs, ...457 and ...456"),
        ({ID: "7"}, {ID: "81"}, ""),  # one character says nothing
        ({ID: "17"}, {ID: "81"}, "PatientID (0010,0020) differs, ...1 and ...7"),
        (
            {ID: "17", NAME: "Doe^Jane", BORN: "19600203"},
            {ID: "81", NAME: "DOE^JANE", BORN: "19600203"},
            "(name and birth date agree)",
        ),
        ({NAME: "Doe^Jane"}, {NAME: "Roe^Jane"}, "PatientName (0010,0010) differs"),
        ({BORN: "19600203"}, {BORN: "19600302"}, "PatientBirthDate (0010,0030) differs"),
        ({SEX: "F"}, {SEX: "M"}, "PatientSex (0010,0040) differs"),
        (
            {"FrameOfReferenceUID": "1.2"},
            {"FrameOfReferenceUID": "1.3"},
            "FrameOfReferenceUID (0020,0052) differs",
        ),
        ({"Laterality": "R"}, {"ImageLaterality": "L"}, "ImageLaterality (0020,0062)"),
        ({"BodyPartExamined": "SKULL"}, {"BodyPartExamined": "HIP"}, "BodyPartExamined (0018,0015)"),
    ],
)
def test_disagreement(ct: dict[str, object], xray: dict[str, object], expected: str) -> None:
    assert expected in said(ct, xray)
    assert bool(said(xray, ct)) == bool(expected)


def test_names_and_numbers_are_not_shown_in_full() -> None:
    told = said({ID: "8154711", NAME: "Doe^Jane", BORN: "19600203"}, {ID: "8154712", NAME: "Roe^Max"})
    told += said({NAME: "Doe^Jane", BORN: "19600203"}, {NAME: "Roe^Max", BORN: "19700203"})
    assert told
    assert not any(secret in told.upper() for secret in ("DOE", "JANE", "ROE", "1960", "8154711", "815"))


def test_x_rays_among_each_other() -> None:
    """They are taken of a patient at rest: there another frame of reference counts."""
    frames = {ID: "4711", "FrameOfReferenceUID": "1.2"}, {ID: "4711", "FrameOfReferenceUID": "1.3"}
    assert "the patient may have moved" in said(*frames, volumes=0)
    named = [
        ("ct", identity(PatientID="17")),
        ("ap", identity(PatientID="17")),
        ("lat", identity(PatientID="18")),
    ]
    messages = [each.message for each in compare_identities(named)]
    assert len(messages) == 2 and all("lat and" in each for each in messages)


def test_other_ids_in_items() -> None:
    other = Dataset()
    other.PatientID = "4711"
    assert said({ID: "4711"}, {ID: "X99", "OtherPatientIDsSequence": Sequence([other])}) == ""


def test_of_an_x_ray_file(tmp_path: Path) -> None:
    xray = XRay.read(write(tmp_path, xray_dataset(PatientID="AB 12", ImageLaterality="L")))
    assert (xray.identity.patient_ids, xray.identity.laterality) == (("AB12",), "L")


@pytest.mark.slow
def test_of_a_ct_and_its_formats(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "ct_dicom_series"
    header = pydicom.dcmread(next(iter(sorted(folder.iterdir()))), stop_before_pixels=True)
    found = Volume.read(folder).identity
    assert found == Identity.of(DicomHeader(header)) and found != Identity()
    assert Volume.read(next(iter(sorted(folder.iterdir())))).identity == found
    assert Volume(hu=np.zeros((2, 2, 2), np.int16), world_from_voxel=np.eye(4)).identity == Identity()


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("CHEST", "PELVIS", True),
        ("CHEST", "ABDOMEN", False),  # neighbours
        ("HEART", "HEAD", True),  # not an ear
        ("CSPINE", "LSPINE", True),
        ("KNEE", "UPPER LEG", False),
        ("KNEE", "HIP", True),
        ("HAND", "FOOT", True),
        ("SHOULDER", "CHEST", False),
        ("SPINE", "SKULL", False),  # says too little
        ("", "SKULL", False),
    ],
)
def test_body_parts(one: str, other: str, expected: bool) -> None:
    assert apart(one, other) == apart(other, one) == expected
