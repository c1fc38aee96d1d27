"""`isoclinic inspect`: what is shown, what is odd, and what can be wrong with its input."""

from __future__ import annotations

import json
import re
import shutil

import nibabel as nib
import numpy as np
import pydicom
import pytest
from skimage.io import imread, imsave

from ..volumes.dicom_files import edit, hounsfield, write_series


@pytest.fixture
def inspect(run, files):
    def inspect_phantom(*arguments, volume=files.ct, xray=files.xray):
        return run("inspect", volume, *([] if xray is None else [xray]), *arguments)

    return inspect_phantom


def edited(files, path, **attributes):
    """The phantom's X-ray with other attributes; None removes one."""
    dataset = pydicom.dcmread(files.xray)
    for keyword, value in attributes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


def parsed(ran):
    """The printed JSON, without NaN or infinity, which JSON does not have."""
    return json.loads(ran.out, parse_constant=pytest.fail)


def findings(document, level=None):
    return [
        finding["message"]
        for part in document.values()
        for finding in part["findings"]
        if level in (None, finding["level"])
    ]


def test_table(inspect, files):
    ran = inspect("--labels", files.labels)
    assert (ran.code, ran.err) == (0, "")
    for shown in ("64, 48, 64 voxels", "RAS", "1 bone", "sform", "DistanceSourceToDetector", "preset ap"):
        assert shown in ran.out
    assert "angles are missing" in " ".join(ran.out.split())


def test_ct_alone(inspect):
    ran = inspect(xray=None)
    assert ran.code == 0 and "X-ray" not in ran.out
    assert "Nothing odd was found." in ran.out


def test_json(inspect):
    document = parsed(inspect("--json"))
    assert set(document) == {"CT", "X-ray", "view"}
    readings = {reading["name"]: reading for reading in document["X-ray"]["readings"]}
    assert readings["sdd_mm"]["value"] == 1000 and readings["sdd_mm"]["unit"] == "mm"
    assert readings["sdd_mm"]["source"] == "DistanceSourceToDetector (0018,1110)"
    for finding in document["X-ray"]["findings"]:
        assert set(finding) == {"level", "subject", "message", "remedy", "unsettled", "settled_by"}


def test_a_readers_warning_is_a_finding_and_nothing_else(inspect, files, tmp_path):
    path = edited(files, tmp_path / "xray.dcm", PixelSpacing=["2", "2"], Modality="OT")
    ran = inspect("--json", xray=path)
    assert (ran.code, ran.err) == (0, "")
    found = json.loads(ran.out)["X-ray"]["findings"]
    for words, remedy in (("measured at the detector", "--pixel-spacing-mm"), ("guessed", "--polarity")):
        (finding,) = (finding for finding in found if words in finding["message"])
        assert (finding["level"], finding["remedy"]) == ("warning", remedy)


def test_options_settle_findings(inspect, files, tmp_path):
    path = edited(files, tmp_path / "xray.dcm", Modality="OT", DistanceSourceToPatient=None)
    options = ("--polarity", "bright_air", "--source-isocentre-mm", "650", "--pixel-scale", "linear")
    angles = ("--primary-angle-deg", "180", "--secondary-angle-deg", "0")
    centre = ("--principal-point-px", "31.5", "31.5")
    assert len(findings(json.loads(inspect("--json", xray=path).out))) >= 5
    ran = inspect("--json", *options, *angles, *centre, xray=path)
    assert findings(json.loads(ran.out)) == []


def test_strict(inspect, files, tmp_path):
    assert inspect("--strict").code == 0  # notes only
    path = edited(files, tmp_path / "xray.dcm", PixelSpacing=["2", "2"])
    assert inspect(xray=path).code == 0
    ran = inspect("--strict", xray=path)
    ran.refused(1, "inspection.findings")


def test_ct_that_is_not_in_hounsfield_units(inspect, files, tmp_path):
    image = nib.load(files.ct)
    shifted = (np.asarray(image.dataobj) + 1024).clip(0).astype(np.int16)
    nib.save(nib.Nifti1Image(shifted, image.affine), tmp_path / "ct.nii.gz")
    ran = inspect("--json", volume=tmp_path / "ct.nii.gz", xray=None)
    assert ran.code == 0
    (message,) = findings(json.loads(ran.out))
    assert "intercept" in message


def test_a_file_that_cannot_be_used_does_not_hide_the_other(inspect, files, tmp_path):
    path = edited(files, tmp_path / "xray.dcm", DistanceSourceToDetector=None)
    ran = inspect("--json", xray=path)
    ran.refused(1, "inspection.findings", "1")
    document = json.loads(ran.out)
    assert document["CT"]["readings"] and "view" not in document
    (finding,) = document["X-ray"]["findings"]
    assert finding["level"] == "error" and finding["remedy"] == "--sdd-mm"
    ran = inspect("--json", volume=tmp_path / "no.nii.gz")
    assert ran.code == 1
    assert "no.nii.gz does not exist" in findings(json.loads(ran.out), "error")[0]


def test_files_the_wrong_way_round(inspect, files):
    ran = inspect(volume=files.xray, xray=files.ct)
    assert ran.code == 1
    said = " ".join(re.sub("[│┃]", " ", ran.out).split())
    assert "it is of modality XA" in said and "given as the" in said


def test_start_that_does_not_see_the_ct(inspect, tmp_path):
    pose = np.eye(4)
    pose[2, 3] = -700.0
    (tmp_path / "behind.json").write_text(json.dumps(pose.tolist()))
    ran = inspect("--json", "--init", tmp_path / "behind.json")
    assert ran.code == 1
    assert "does not see the CT" in findings(parsed(ran), "error")[0]


@pytest.mark.slow
def test_picture(inspect, tmp_path):
    path = tmp_path / "side.png"
    assert inspect("--save", path).code == 0
    picture = imread(path)[..., :3].astype(float)
    # Four panels, each with a picture in it.
    for panel in np.array_split(picture[40:-60], 4, axis=1):
        assert panel.std() > 20
    before = path.read_bytes()
    ran = inspect("--save", path)
    ran.refused(2, "output.exists", "--overwrite")
    assert path.read_bytes() == before
    assert inspect("--save", path, "--overwrite", "--init", "left").code == 0
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("arguments", "changes", "fault"),
    [
        (["--save", "side.jpg"], {}, ("options.invalid-value", "--save", "side.jpg", ".png")),
        (["--save", "side.png"], {"xray": None}, ("options.incomplete", "--save")),
        (["--init", "front"], {}, ("start.unknown-name", "'front'")),
        (["--init", "dicom"], {}, ("start.angles-missing", "--primary-angle-deg")),
        (["--sdd-mm", "-5"], {}, ("xray.invalid-value", "--sdd-mm", "-5.0")),
    ],
)
def test_wrong_options(inspect, tmp_path, monkeypatch, arguments, changes, fault):
    monkeypatch.chdir(tmp_path)
    ran = inspect(*arguments, **changes)
    ran.refused(2, *fault)
    assert ran.out == "" and list(tmp_path.iterdir()) == []


def test_an_8_bit_export(inspect, files, tmp_path):
    pixels = pydicom.dcmread(files.xray).pixel_array
    imsave(tmp_path / "xray.png", (pixels / pixels.max() * 255).astype(np.uint8), check_contrast=False)
    geometry = ("--sdd-mm", "1000", "--pixel-spacing-mm", "3", "3", "--polarity", "bright_air")
    ran = inspect("--json", *geometry, xray=tmp_path / "xray.png")
    assert any("grey levels" in message for message in findings(json.loads(ran.out), "warning"))


@pytest.mark.parametrize(
    ("damage", "options", "expected"),
    [
        ((1.0, 1024, 1.0), ("--hu-offset", "-1024"), "intercept"),
        ((0.1, 0, 1.0), ("--hu-scale", "10"), "slope"),
        ((1.0, 0, 1e-3), ("--length-unit", "m"), "metres"),
    ],
)
def test_a_corrected_ct_is_saved_for_other_commands(inspect, files, tmp_path, damage, options, expected):
    """What was wrong is no longer said, neither with the option nor of the file that it wrote."""
    slope, intercept, unit = damage
    image = nib.load(files.ct)
    hu = np.asarray(image.dataobj)
    affine = np.diag([unit, unit, unit, 1]) @ image.affine
    nib.save(nib.Nifti1Image((hu * slope + intercept).astype(np.float32), affine), tmp_path / "ct.nii.gz")
    saved = tmp_path / "saved.nii.gz"

    def said(volume, *arguments):
        return " ".join(findings(parsed(inspect("--json", *arguments, volume=volume, xray=None))))

    assert expected in said(tmp_path / "ct.nii.gz")
    assert said(tmp_path / "ct.nii.gz", *options, "--save-ct", saved) == said(saved) == ""
    # float32 keeps HU / 10 to 1e-4; NIfTI keeps the affine in float32
    np.testing.assert_allclose(np.asarray(nib.load(saved).dataobj), hu, atol=1e-3)
    np.testing.assert_allclose(nib.load(saved).affine, image.affine, rtol=1e-6, atol=1e-4)


def test_left_and_right_of_a_ct_are_swapped(inspect, files, tmp_path):
    saved = tmp_path / "saved.nii"
    assert inspect("--mirror-left-right", "--save-ct", saved, xray=None).code == 0
    swapped = np.diag([-1.0, 1, 1, 1]) @ nib.load(files.ct).affine
    np.testing.assert_allclose(nib.load(saved).affine, swapped, atol=1e-4)
    for name, code in (("saved.nii", "output.exists"), ("ct.mha", "options.invalid-value")):
        ran = inspect("--save-ct", tmp_path / name, xray=None)
        ran.refused(2, code, "--save-ct", name)


@pytest.mark.parametrize("fault", ["phases", "gap", "nan"])
def test_the_option_that_an_error_names_settles_it(inspect, files, tmp_path, fault):
    """As it is written in the message, with --save-ct."""
    hu = hounsfield((7, 6, 16))
    path = tmp_path / "ct"
    if fault == "nan":
        image = nib.load(files.ct)
        values = np.asarray(image.dataobj).astype(np.float32)
        values[np.unravel_index(values.argmax(), values.shape)] = np.nan
        path = tmp_path / "ct.nii.gz"
        nib.save(nib.Nifti1Image(values, image.affine), path)
    else:
        slices = write_series(path, hu, AcquisitionNumber=1)
        if fault == "gap":
            for lost in slices[5:8]:
                lost.unlink()
        else:
            for each in write_series(tmp_path / "second", hu // 2, AcquisitionNumber=2):
                edit(each, SeriesInstanceUID=pydicom.dcmread(slices[0]).SeriesInstanceUID)
                each.rename(path / f"second_{each.name}")
    saved = tmp_path / "saved.nii.gz"
    ran = inspect("--json", "--save-ct", saved, volume=path, xray=None)
    assert ran.code == 1 and not saved.exists()
    (message,) = findings(parsed(ran), "error")
    named = re.search(r"(--(?!save-ct)[a-z-]+) '?([^' ]+)'?", message)
    ran = inspect("--json", named[1], named[2], "--save-ct", saved, volume=path, xray=None)
    assert ran.code == 0 and findings(parsed(ran), "error") == []
    read = np.asarray(nib.load(saved).dataobj)
    if fault == "nan":
        assert read.shape == image.shape and np.isfinite(read).all()
    else:
        assert read.shape == hu.shape
        np.testing.assert_array_equal(read[..., :5], hu[..., :5])


def test_files_left_out_of_a_ct_are_findings(inspect, tmp_path):
    paths = write_series(tmp_path / "ct", hounsfield((7, 6, 16)))
    shutil.copy(paths[0], tmp_path / "ct" / "page.dcm")
    edit(tmp_path / "ct" / "page.dcm", ImagePositionPatient=None, ImageOrientationPatient=None)
    document = parsed(inspect("--json", volume=tmp_path / "ct", xray=None))
    assert any("(page.dcm)" in message for message in findings(document, "warning"))


def test_spacings_that_disagree_are_settled_by_the_option(inspect, files, tmp_path):
    path = edited(files, tmp_path / "xray.dcm", PixelSpacing=["2", "2"])
    ran = inspect("--json", "--pixel-spacing-mm", "3", "3", xray=path)
    assert findings(parsed(ran), "warning") == []


def test_an_angle_in_words_is_settled_by_the_option(inspect, files, tmp_path):
    dataset = pydicom.dcmread(files.xray)
    dataset.add_new("PositionerPrimaryAngle", "LO", "RAO 30")
    dataset.save_as(tmp_path / "xray.dcm")
    document = parsed(inspect("--json", xray=tmp_path / "xray.dcm"))
    (finding,) = (each for each in document["X-ray"]["findings"] if each["level"] == "warning")
    assert "RAO 30" in finding["message"] and finding["remedy"] == "--primary-angle-deg"
    options = ("--primary-angle-deg", "-30", "--secondary-angle-deg", "0")
    assert findings(parsed(inspect("--json", *options, xray=tmp_path / "xray.dcm")), "warning") == []
