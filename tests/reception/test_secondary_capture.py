"""The overlay in the patient's study: whose it is, what it says, and that the standard's rules hold."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import SecondaryCaptureImageStorage

from isoclinic.errors import InputError
from isoclinic.reception.secondary_capture import secondary_capture, with_verdict
from raising import raises

from .conftest import content, image

STUDY = {
    "PatientID": "4711",
    "PatientBirthDate": "19600102",
    "PatientSex": "F",
    "StudyInstanceUID": "1.2.840.5",
    "StudyDate": "20260102",
    "StudyTime": "030000",
    "StudyID": "7",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "House^Gregory",
    "SOPInstanceUID": "1.2.840.5.1",
}
IDENTITY = "f" * 32


@pytest.fixture
def xray(tmp_path):
    """The file of an X-ray with these attributes."""

    def make(**attributes: object) -> Path:
        path = tmp_path / "xray.dcm"
        path.write_bytes(content(image(**{**STUDY, **attributes})))
        return path

    return make


@pytest.fixture
def line(tmp_path):
    """The line of an image that is done, with its overlay."""

    def make(number: int = 1, doubts=(), **changed: object) -> dict:
        folder = tmp_path / "results" / f"{number:04}"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 255, (120, 501, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "overlay.png")
        return {
            "number": number,
            "state": "done",
            "finished_at": "2026-01-02T23:30:05.250+00:00",
            "status": "doubtful" if doubts else "converged",
            "doubts": list(doubts),
            "expected_error_mm": None if doubts else 1.25,
            "output": str(folder),
            **changed,
        }

    return make


def test_it_is_of_the_patient_and_the_study(xray, line):
    made = secondary_capture(line(), xray(PatientComments="allergic"), IDENTITY)
    for keyword, value in STUDY.items():
        if keyword != "SOPInstanceUID":
            assert made[keyword].value == value, keyword
    assert made.PatientName == "Doe^Jane" and made.PatientComments == "allergic"
    assert made.SOPClassUID == SecondaryCaptureImageStorage == made.file_meta.MediaStorageSOPClassUID
    (source,) = made.SourceImageSequence
    assert source.ReferencedSOPInstanceUID == "1.2.840.5.1"
    assert made.BurnedInAnnotation == "YES" and "isoclinic" in made.DerivationDescription
    assert made.ImageType == ["DERIVED", "SECONDARY"] and made.InstanceNumber == 1


def test_names_of_other_scripts_stay(xray, line):
    japanese = "Yamada^Tarou=山田^太郎=やまだ^たろう"
    path = xray(SpecificCharacterSet=["", "ISO 2022 IR 87"])
    source = pydicom.dcmread(path)
    source.PatientName = japanese
    source.save_as(path)
    made = secondary_capture(line(), path, IDENTITY)
    read = pydicom.dcmread(pydicom.filebase.DicomBytesIO(content(made)))
    assert str(read.PatientName) == japanese


@pytest.mark.slow
def test_the_same_line_gives_the_same_object_and_another_one_another(xray, line):
    first, again = (content(secondary_capture(line(), xray(), IDENTITY)) for _ in range(2))
    assert first == again
    made = secondary_capture(line(), xray(), IDENTITY)
    later = secondary_capture(line(finished_at="2026-01-03T00:00:00.000+00:00"), xray(), IDENTITY)
    other = secondary_capture(line(), xray(SOPInstanceUID="1.2.840.5.2"), IDENTITY)
    assert len({each.SOPInstanceUID for each in (made, later, other)}) == 3
    assert len({each.SeriesInstanceUID for each in (made, later, other)}) == 1
    elsewhere = [
        secondary_capture(line(), xray(StudyInstanceUID="1.2.840.6"), IDENTITY),
        secondary_capture(line(), xray(), "e" * 32),
    ]
    assert len({each.SeriesInstanceUID for each in (made, *elsewhere)}) == 3
    assert all(each.SOPInstanceUID.is_valid and each.SeriesInstanceUID.is_valid for each in elsewhere)


def test_the_picture_is_whole_below_the_verdict(xray, line):
    made = secondary_capture(line(), xray(), IDENTITY)
    overlay = np.asarray(Image.open(Path(line()["output"]) / "overlay.png"))
    pixels = made.pixel_array
    assert pixels.shape[1:] == (501, 3) and pixels.shape[0] > 120
    assert (pixels[-120:] == overlay).all()


def test_the_verdict_is_burnt_in_and_told(xray, line):
    """What is drawn must be the text: with other doubts other pixels, and red where doubtful."""
    sure = secondary_capture(line(), xray(), IDENTITY)
    assert "converged, expected error 1.25 mm" in sure.ImageComments
    doubts = ("its edges do not match", "its tone is odd: Größe")
    doubtful = [secondary_capture(line(doubts=doubts[:count]), xray(), IDENTITY) for count in (1, 2)]
    for each, count in zip(doubtful, (1, 2), strict=True):
        assert each.ImageComments.startswith("DOUBTFUL. Do not use this pose: its edges do not match")
        assert ("tone is odd: Gr??e" in each.ImageComments) is (count == 2)
    strips = [each.pixel_array[:-120] for each in (sure, *doubtful)]
    assert strips[2].shape[0] > strips[1].shape[0] > 0  # more text takes more lines
    for strip, paper in zip(strips, ((0, 60, 0), (150, 0, 0), (150, 0, 0)), strict=True):
        assert (strip[0, 0] == paper).all()
        assert 0.02 < (strip == 255).all(axis=-1).mean() < 0.5  # ink


@pytest.mark.parametrize("width", [60, 501, 2600])
def test_the_verdict_fits(line, width):
    """The strip of a wide picture and that of a narrow one have a free border on the right."""
    picture = Image.new("RGB", (width, 50))
    strip = with_verdict(picture, line(doubts=["wide WWWW MMMM reasons " * 5]))[:-50]
    assert (strip[:, -2:] == (150, 0, 0)).all()


@pytest.mark.parametrize(
    ("said", "expected"),
    [({"BurnedInAnnotation": "NO"}, "NO"), ({"BurnedInAnnotation": "YES"}, "YES"), ({}, "YES")],
)
def test_what_may_be_burnt_into_the_xray_may_be_in_this(xray, line, said, expected):
    assert secondary_capture(line(), xray(**said), IDENTITY).BurnedInAnnotation == expected


def test_lossy_pixels_stay_lossy(xray, line):
    lossy = {"LossyImageCompression": "01", "LossyImageCompressionRatio": 12.5}
    made = secondary_capture(line(), xray(**lossy), IDENTITY)
    assert (made.LossyImageCompression, made.LossyImageCompressionRatio) == ("01", 12.5)
    assert secondary_capture(line(), xray(), IDENTITY).LossyImageCompression == "00"


def test_its_times_are_in_the_zone_of_the_study(xray, line):
    made = secondary_capture(line(), xray(TimezoneOffsetFromUTC="+0100"), IDENTITY)
    assert made.TimezoneOffsetFromUTC == "+0100"
    assert (made.ContentDate, made.ContentTime) == ("20260103", "003005.250000")
    west = secondary_capture(line(), xray(TimezoneOffsetFromUTC="-0330"), IDENTITY)
    assert (west.ContentDate, west.ContentTime) == ("20260102", "200005.250000")


@pytest.mark.parametrize("lacking", ["StudyInstanceUID", "SOPInstanceUID"])
def test_without_a_study_it_belongs_nowhere(xray, line, lacking):
    path = xray()
    dataset = pydicom.dcmread(path)
    delattr(dataset, lacking)
    dataset.save_as(path)
    with raises(InputError, "input.unreadable", lacking):
        secondary_capture(line(), path, IDENTITY)


def test_a_picture_has_no_study_and_a_result_may_be_gone(xray, line, tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "x.png")
    with raises(InputError, "input.unreadable", "no DICOM file"):
        secondary_capture(line(), tmp_path / "x.png", IDENTITY)
    told = line()
    (Path(told["output"]) / "overlay.png").unlink()
    with raises(InputError, "input.unreadable", "overlay"):
        secondary_capture(told, xray(), IDENTITY)


@pytest.mark.parametrize("said", [{}, {"LossyImageCompression": "01"}, {"PatientSex": "", "StudyID": ""}])
def test_it_keeps_the_rules_of_the_standard(xray, line, tmp_path, said):
    """As dciodvfy of David Clunie's dicom3tools checks them, where that is installed."""
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy is not installed")
    path = tmp_path / "made.dcm"
    path.write_bytes(content(secondary_capture(line(doubts=["a doubt"]), xray(**said), IDENTITY)))
    found = subprocess.run([validator, path], capture_output=True, text=True, check=False)
    told = found.stdout + found.stderr
    assert "SCImage" in told
    assert [each for each in told.splitlines() if each.startswith("Error")] == []
