"""Entries of file headers that the readers do not use, for display."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from ..volumes import CTCorrection, Finding, XRay, readers
from ..volumes._bounds import read_dicom
from ..volumes._dicom_files import FrameHeader
from .records import InspectedValue, Inspection, Value

_CT_TAGS = (
    *("Manufacturer", "ManufacturerModelName", "SeriesDescription", "PatientPosition", "KVP"),
    *("ConvolutionKernel", "SliceThickness", "GantryDetectorTilt", "RescaleSlope", "RescaleIntercept"),
    *("RescaleType", "ContrastBolusAgent"),
)
_XRAY_TAGS = (
    *("Modality", "Manufacturer", "ManufacturerModelName", "SeriesDescription", "BodyPartExamined"),
    *("ViewPosition", "PatientOrientation", "PhotometricInterpretation", "PixelIntensityRelationship"),
    *("PixelIntensityRelationshipSign", "BitsStored", "RescaleSlope", "RescaleIntercept"),
    *("ImagerPixelSpacing", "PixelSpacing", "PixelSpacingCalibrationType"),
    *("EstimatedRadiographicMagnificationFactor", "DistanceSourceToDetector", "DistanceSourceToPatient"),
    *("DistanceSourceToIsocenter", "DistanceSourceToEntrance", "TableHeight", "IntensifierSize"),
    *("DetectorActiveOrigin", "DetectorActiveDimensions", "DetectorElementSpacing", "DetectorBinning"),
    *("DetectorElementPhysicalSize", "FieldOfViewShape", "FieldOfViewOrigin", "FieldOfViewDimensions"),
    *("FieldOfViewDimensionsInFloat", "FieldOfViewRotation", "FieldOfViewHorizontalFlip"),
    *("CollimatorShape", "ShutterShape", "BurnedInAnnotation", "LossyImageCompression"),
)
_OPPOSITE = dict(zip("RLAPHF", "LRPAFH", strict=True))


def volume_header(path: Path, correction: CTCorrection | None = None) -> Inspection:
    """Describe how a file stores a CT, as `Volume.read` reads it with this correction."""
    path = readers.image_file(path)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _nifti(path)
    if name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        return _itk(path)
    dataset = readers.ct_header(path, correction or CTCorrection())
    if dataset is None:
        return Inspection()
    return Inspection(readings=tuple(_tags(dataset, _CT_TAGS)))


def xray_header(path: Path) -> Inspection:
    """Return what the DICOM header of an X-ray that `XRay.read` has read says; empty for other formats.

    What of it is odd is in `XRay.findings`.
    """
    dataset = _dicom(path)
    return Inspection() if dataset is None else Inspection(readings=tuple(_tags(dataset, _XRAY_TAGS)))


def patient_orientation(xray: XRay) -> tuple[str, str] | None:
    """Where an X-ray's rows and columns run, as it is used (PatientOrientation), where the file says."""
    dataset = None if xray.path is None else _dicom(xray.path)
    value = None if dataset is None else dataset.get("PatientOrientation")
    if not isinstance(value, MultiValue) or len(value) != 2:
        return None
    right, down = str(value[0]), str(value[1])
    for _ in range(xray.turned_deg // 90):
        right, down = _opposite(down), right
    stored = (xray.stored_camera or xray.camera).turn(xray.turned_deg)
    return (
        right if xray.camera.fx * stored.fx > 0 else _opposite(right),
        down if xray.camera.fy * stored.fy > 0 else _opposite(down),
    )


def _opposite(direction: str) -> str:
    return "".join(_OPPOSITE.get(letter, letter) for letter in direction)


def _finding(subject: str, message: str, remedy: str, *, note: bool = False) -> Finding:
    return Finding(level="note" if note else "warning", subject=subject, message=message, remedy=remedy)


# Volumes ----------------------------------------------------------------------------------------------


def _nifti(path: Path) -> Inspection:
    with readers.open_nifti(path) as image:
        header = image.header
    codes = {name: int(header[f"{name}_code"]) for name in ("sform", "qform")}
    used = next((name for name, code in codes.items() if code), None)
    source = f"sform_code {codes['sform']}, qform_code {codes['qform']}"
    slope, intercept = header.get_slope_inter()
    readings = (
        InspectedValue(
            name="affine", value=used or "none: centre and spacing only", frame="world, RAS", source=source
        ),
        InspectedValue(name="length unit", value=header.get_xyzt_units()[0], source="xyzt_units"),
        InspectedValue(name="stored as", value=str(header.get_data_dtype()), source="datatype"),
        InspectedValue(
            name="slope, intercept", value=(slope or 1.0, intercept or 0.0), source="scl_slope, scl_inter"
        ),
    )
    return Inspection(readings=readings)


def _itk(path: Path) -> Inspection:
    reader = readers.open_itk(path)
    space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else "LPS (ITK's own)"
    readings = (
        InspectedValue(
            name="affine",
            value=space,
            frame="file; read into RAS",
            source="space" if "NRRD_space" in reader.GetMetaDataKeys() else "format",
        ),
        InspectedValue(
            name="stored as", value=sitk.GetPixelIDValueAsString(reader.GetPixelIDValue()), source="header"
        ),
    )
    findings = []
    if np.linalg.det(np.reshape(reader.GetDirection(), (3, 3))) < 0:
        findings.append(
            _finding(
                "CT",
                "the voxel axes are left-handed, which is legal but rare in this format: if renderings show "
                "the patient mirrored, a conversion lost a reflection",
                "convert the CT again from DICOM",
                note=True,
            )
        )
    return Inspection(readings=readings, findings=tuple(findings))


# X-rays -----------------------------------------------------------------------------------------------


def _dicom(path: Path) -> Dataset | None:
    try:
        return read_dicom(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None


def _tags(dataset: Dataset, keywords: tuple[str, ...]) -> Iterator[InspectedValue]:
    header = FrameHeader(dataset, 0)
    for keyword in keywords:
        value = header.get(keyword)
        if value is not None:
            tag = Tag(keyword)
            yield InspectedValue(
                name=keyword,
                value=_plain(value),
                source=f"({tag.group:04x},{tag.element:04x})",
                frame="header",
            )


def _plain(value: object) -> Value:
    if isinstance(value, MultiValue):
        return tuple(str(item) for item in value)
    return value if isinstance(value, int) else float(value) if isinstance(value, float) else str(value)
