"""What headers say beyond what the readers use: written with the formats' own libraries, read back."""

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk

from isoclinic.inspection import patient_orientation, volume_header, xray_header

from .scenes import body, said, value


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


def test_rescale_type(shared_data, tmp_path):
    for path in sorted((shared_data / "ct_dicom_series").iterdir())[:2]:
        dataset = pydicom.dcmread(path)
        dataset.RescaleType = "OD"
        dataset.save_as(tmp_path / path.name)
    assert "RescaleType is OD, not HU" in said(volume_header(tmp_path))


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
    """Both spacings are shown, whichever is used."""
    path = header(tmp_path / "xray.dcm", PatientOrientation=["L", "F"])
    found = xray_header(path)
    assert value(found, "ImagerPixelSpacing") == ("0.5", "0.5")
    assert value(found, "PixelSpacing") == ("0.3", "0.3")
    assert found.findings == ()
    assert patient_orientation(path) == ("L", "F")
    assert patient_orientation(header(tmp_path / "none.dcm")) is None


def test_other_formats_have_no_header(tmp_path):
    (tmp_path / "xray.png").write_bytes(b"\x89PNG" + bytes(200))
    assert xray_header(tmp_path / "xray.png").readings == ()
    assert patient_orientation(tmp_path / "xray.png") is None


# A detector of 400 x 400 mm with pixels of 0.5 mm: 800 x 800, of which the image has 400 x 500.
@pytest.mark.parametrize(
    ("origin", "principal_point"),
    [((200, 150), None), ((200, 100), (299.5, 199.5)), ((0, 150), (249.5, 399.5))],
)
def test_image_cut_off_the_middle_of_the_detector(tmp_path, origin, principal_point):
    """The detector's middle, pixel 399.5 of its own, less the origin of the image."""
    found = xray_header(
        header(
            tmp_path / "xray.dcm",
            FieldOfViewOrigin=[str(value) for value in origin],
            DetectorActiveDimensions=["400", "400"],
            DetectorActiveOrigin=["0", "0"],
        )
    )
    if principal_point is None:
        assert found.findings == ()
    else:
        column, row = principal_point
        assert f"--principal-point-px {column} {row}" in said(found, "warning")


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"FieldOfViewHorizontalFlip": "YES"}, "mirrored it .*--flip-left-right"),
        ({"FieldOfViewRotation": "90"}, "turned the image by 90"),
        ({"LossyImageCompression": "01"}, "compressed with losses"),
        ({"BurnedInAnnotation": "YES"}, "burned into the pixels.*--exclude"),
        ({"ModalityLUTSequence": [pydicom.Dataset()]}, "lookup table.*--pixel-scale"),
        ({"PixelIntensityRelationship": "DISP"}, "display curve.*--pixel-scale"),
    ],
)
def test_notes(tmp_path, attributes, expected):
    assert re.search(expected, said(xray_header(header(tmp_path / "xray.dcm", **attributes)), "note"))
