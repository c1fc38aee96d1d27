"""What headers say beyond what the readers use: written with the formats' own libraries, read back."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from isoclinic.inspection import inspect_volume, patient_orientation, volume_header, xray_header
from isoclinic.volumes import GeometryWarning, Volume

from .scenes import body, said, value, xray


def itk(path: Path, direction=(1, 0, 0, 0, 1, 0, 0, 0, 1)) -> Path:
    image = sitk.GetImageFromArray(body((8, 9, 10)).transpose(2, 1, 0))
    image.SetDirection(direction)
    sitk.WriteImage(image, str(path))
    return path


@pytest.mark.parametrize(
    ("codes", "affine"), [((2, 0), "sform"), ((0, 1), "qform"), ((1, 1), "sform"), ((0, 0), "none")]
)
def test_nifti(tmp_path, codes, affine):
    image = nib.Nifti1Image(body((8, 9, 10)), np.eye(4))
    image.set_sform(np.eye(4), codes[0])
    image.set_qform(np.eye(4), codes[1])
    image.header.set_xyzt_units("mm")
    nib.save(image, tmp_path / "ct.nii.gz")
    found = volume_header(tmp_path / "ct.nii.gz")
    assert value(found, "affine").startswith(affine)
    assert value(found, "length unit") == "mm" and value(found, "stored as") == "int16"
    assert value(found, "slope, intercept") == (1, 0)


def test_itk(tmp_path):
    found = volume_header(itk(tmp_path / "ct.nrrd"))
    assert value(found, "affine") == "left-posterior-superior"
    assert value(found, "stored as") == "16-bit signed integer" and found.findings == ()
    found = volume_header(itk(tmp_path / "ct.mha"))
    assert value(found, "affine").startswith("LPS")


@pytest.mark.parametrize("name", ["ct.nrrd", "ct.mha"])
def test_left_handed_axes_are_rare_in_itk_formats(tmp_path, name):
    found = volume_header(itk(tmp_path / name, (-1, 0, 0, 0, 1, 0, 0, 0, 1)))
    assert "left-handed" in said(found, "note")


def test_dicom_series(shared_data):
    found = volume_header(shared_data / "ct_dicom_series")
    assert value(found, "KVP") == 120 and value(found, "PatientPosition") == "HFS"
    (source,) = (reading.source for reading in found.readings if reading.name == "RescaleIntercept")
    assert source == "(0028,1052)"
    assert found.findings == ()


@pytest.mark.slow
def test_a_unit_that_is_not_said_to_be_hounsfields(shared_data, tmp_path):
    """Told where the CT is read, so that every command knows."""
    for file in (shared_data / "ct_dicom_series").iterdir():
        dataset = pydicom.dcmread(file)
        dataset.RescaleType = "HU_MOD"
        dataset.save_as(tmp_path / file.name)
    with pytest.warns(GeometryWarning, match="RescaleType .* is HU_MOD, not HU"):
        volume = Volume.read(tmp_path)
    assert "HU_MOD" in said(inspect_volume(volume), "warning")


def header(path: Path, **attributes) -> Path:
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.XRayAngiographicImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = pydicom.uid.generate_uid()
    dataset.Modality, dataset.Rows, dataset.Columns = "XA", 400, 500
    dataset.ImagerPixelSpacing, dataset.PixelSpacing = ["0.5", "0.5"], ["0.3", "0.3"]
    for keyword, content in attributes.items():
        setattr(dataset, keyword, content)
    dataset.save_as(path, enforce_file_format=True)
    return path


def test_x_ray(tmp_path):
    """Both spacings are shown, whichever is used; what is odd about them is up to `XRay.read`."""
    found = xray_header(header(tmp_path / "xray.dcm"))
    assert value(found, "ImagerPixelSpacing") == ("0.5", "0.5")
    assert value(found, "PixelSpacing") == ("0.3", "0.3")
    assert found.findings == ()


def test_attributes_in_functional_groups_are_shown(tmp_path):
    item, group = pydicom.Dataset(), pydicom.Dataset()
    item.FieldOfViewOrigin = [20.0, 8.0]
    group.FieldOfViewSequence = [item]
    path = header(tmp_path / "xray.dcm", SharedFunctionalGroupsSequence=[group])
    assert value(xray_header(path), "FieldOfViewOrigin") == ("20.0", "8.0")


def test_other_formats_have_no_header(tmp_path):
    (tmp_path / "xray.png").write_bytes(b"\x89PNG" + bytes(200))
    assert xray_header(tmp_path / "xray.png").readings == ()
    assert patient_orientation(xray(path=tmp_path / "xray.png")) is None


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda image: image, ("L", "F")),
        (lambda image: image.flip(left_right=True), ("R", "F")),
        (lambda image: image.flip(top_bottom=True), ("L", "H")),
        # What was up, towards the head, is to the right of an image turned clockwise.
        (lambda image: image.turn(90), ("H", "L")),
        (lambda image: image.turn(180), ("R", "H")),
        (lambda image: image.turn(270), ("F", "R")),
        (lambda image: image.flip(left_right=True).turn(90), ("H", "R")),
        (lambda image: image.turn(90).flip(left_right=True), ("F", "L")),
    ],
)
def test_patient_orientation_of_the_image_as_used(tmp_path, change, expected):
    path = header(tmp_path / "xray.dcm", PatientOrientation=["L", "F"])
    assert patient_orientation(change(xray(path=path))) == expected
    assert patient_orientation(xray(path=header(tmp_path / "none.dcm"))) is None
