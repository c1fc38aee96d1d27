"""What files say about themselves beyond what the readers take from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from ..volumes import CTCorrection, readers
from .records import Finding, Inspection, Reading, Value

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
    *("EstimatedRadiographicMagnificationFactor", "DetectorActiveOrigin", "DetectorActiveDimensions"),
    *("FieldOfViewOrigin", "FieldOfViewDimensions", "FieldOfViewRotation", "FieldOfViewHorizontalFlip"),
    *("CollimatorShape", "ShutterShape", "BurnedInAnnotation", "LossyImageCompression"),
)
# Offset of the image's centre from the detector's that is more than rounding [mm].
_OFF_CENTRE_MM = 1.0


def volume_header(path: Path, correction: CTCorrection | None = None) -> Inspection:
    """How a CT that `Volume.read` has read with this correction is stored: NIfTI, NRRD, MetaImage, DICOM."""
    path = readers.image_file(path)
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        return _nifti(path)
    if name.endswith((".nrrd", ".nhdr", ".mha", ".mhd")):
        return _itk(path)
    dataset = readers.ct_header(path, correction or CTCorrection())
    if dataset is None:
        return Inspection()
    findings = []
    if dataset.get("RescaleType", "HU") not in ("HU", "", "US"):
        findings.append(
            _finding(
                "CT", f"RescaleType is {dataset.RescaleType}, not HU", "export the CT in Hounsfield units"
            )
        )
    return Inspection(readings=tuple(_tags(dataset, _CT_TAGS)), findings=tuple(findings))


def xray_header(path: Path) -> Inspection:
    """What the DICOM header of an X-ray that `XRay.read` has read says; empty for other formats."""
    dataset = _dicom(path)
    if dataset is None:
        return Inspection()
    findings = [*_moved_field(dataset), *_processed(dataset)]
    return Inspection(readings=tuple(_tags(dataset, _XRAY_TAGS)), findings=tuple(findings))


def patient_orientation(path: Path) -> tuple[str, str] | None:
    """DICOM's PatientOrientation of an X-ray: where its rows and its columns run; None where missing."""
    dataset = _dicom(path)
    value = None if dataset is None else dataset.get("PatientOrientation")
    return (str(value[0]), str(value[1])) if isinstance(value, MultiValue) and len(value) == 2 else None


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
        Reading(
            name="affine", value=used or "none: centre and spacing only", frame="world, RAS", source=source
        ),
        Reading(name="length unit", value=header.get_xyzt_units()[0], source="xyzt_units"),
        Reading(name="stored as", value=str(header.get_data_dtype()), source="datatype"),
        Reading(
            name="slope, intercept", value=(slope or 1.0, intercept or 0.0), source="scl_slope, scl_inter"
        ),
    )
    return Inspection(readings=readings)


def _itk(path: Path) -> Inspection:
    reader = readers.open_itk(path)
    space = reader.GetMetaData("NRRD_space") if reader.HasMetaDataKey("NRRD_space") else "LPS (ITK's own)"
    readings = (
        Reading(
            name="affine",
            value=space,
            frame="file; read into RAS",
            source="space" if "NRRD_space" in reader.GetMetaDataKeys() else "format",
        ),
        Reading(
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
        return pydicom.dcmread(path, stop_before_pixels=True)
    except InvalidDicomError:
        return None


def _tags(dataset: Dataset, keywords: tuple[str, ...]) -> Iterator[Reading]:
    for keyword in keywords:
        value = dataset.get(keyword)
        if value is not None and value != "":
            tag = Tag(keyword)
            yield Reading(
                name=keyword,
                value=_plain(value),
                source=f"({tag.group:04x},{tag.element:04x})",
                frame="header",
            )


def _plain(value: object) -> Value:
    if isinstance(value, MultiValue):
        return tuple(str(item) for item in value)
    return value if isinstance(value, int) else float(value) if isinstance(value, float) else str(value)


def _numbers(dataset: Dataset, keyword: str) -> np.ndarray | None:
    value = dataset.get(keyword)
    if not isinstance(value, MultiValue) or len(value) != 2:
        return None
    return np.array([float(item) for item in value])


def _moved_field(dataset: Dataset) -> Iterator[Finding]:
    """A field of view that is not the middle of the detector, or was turned (PS3.3 C.8.11.4 and C.8.7.3)."""
    origin, active_origin = _numbers(dataset, "FieldOfViewOrigin"), _numbers(dataset, "DetectorActiveOrigin")
    active_mm, spacing_mm = (
        _numbers(dataset, "DetectorActiveDimensions"),
        _numbers(dataset, "ImagerPixelSpacing"),
    )
    if origin is not None and active_mm is not None and spacing_mm is not None:
        size = np.array([dataset.Rows, dataset.Columns])
        element_mm = _numbers(dataset, "DetectorElementSpacing")
        element_mm = spacing_mm if element_mm is None else element_mm
        corner_mm = (origin - (0 if active_origin is None else active_origin)) * element_mm
        off_mm = corner_mm + size * spacing_mm / 2 - active_mm / 2
        if np.abs(off_mm).max() > _OFF_CENTRE_MM:
            row, column = (size - 1) / 2 - off_mm / spacing_mm
            yield _finding(
                "X-ray",
                f"the image is cut {off_mm[1]:.1f} mm (columns) and {off_mm[0]:.1f} mm (rows) off the middle "
                "of the detector (FieldOfViewOrigin), but its centre is assumed to be the principal point",
                f"--principal-point-px {column:.1f} {row:.1f}",
            )
    rotation, flip = dataset.get("FieldOfViewRotation"), dataset.get("FieldOfViewHorizontalFlip")
    if rotation or flip == "YES":
        mirrored = "mirrored" if flip == "YES" else "did not mirror"
        yield _finding(
            "X-ray",
            f"the device turned the image by {rotation or 0} deg and {mirrored} it "
            "(FieldOfViewRotation, FieldOfViewHorizontalFlip)",
            "--flip-left-right where the CT's rendering looks mirrored beside it (see --save)",
            note=True,
        )


def _processed(dataset: Dataset) -> Iterator[Finding]:
    if str(dataset.get("LossyImageCompression", "")) == "01":
        yield _finding(
            "X-ray", "the image was compressed with losses", "the original, where there is one", note=True
        )
    if str(dataset.get("BurnedInAnnotation", "")) == "YES":
        yield _finding(
            "X-ray",
            "text is burned into the pixels (BurnedInAnnotation)",
            "--crop-px, or --exclude with a mask of the text",
            note=True,
        )
    if dataset.get("ModalityLUTSequence"):
        yield _finding(
            "X-ray",
            "pixels are used as stored, without the lookup table of the header (ModalityLUTSequence)",
            "--pixel-scale log where they are logarithmic, --polarity where they are inverted",
            note=True,
        )
    if str(dataset.get("PixelIntensityRelationship", "")) == "DISP":
        yield _finding(
            "X-ray",
            "the pixels went through a display curve (PixelIntensityRelationship DISP)",
            "--pixel-scale, or the image for processing",
            note=True,
        )
