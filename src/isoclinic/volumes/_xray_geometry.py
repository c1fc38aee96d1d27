"""An X-ray's geometry by its DICOM header: distances, spacing, angles, and whether they agree.

DICOM PS3.3 C.8.7.3 (X-Ray Acquisition), C.8.7.5 (XA Positioner), C.8.11.4 (DX Detector), 10.7 (Basic Pixel
Spacing Calibration), and the macros of C.8.19.6 for enhanced objects.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ._dicom_header import DicomHeader
from ._dicom_tables import describe
from ._field_of_view import Orientation, principal_point
from ._header_geometry import AGREE, FACTOR, HeaderGeometry, differ, source_of, value_of
from ._pixel_spacing import keep_spacing


def header_geometry(header: DicomHeader, size: tuple[int, int], given: Mapping[str, Any]) -> HeaderGeometry:
    """Everything a header says about an image's geometry, and what of it contradicts.

    Args:
        header: the header of the image.
        size: (rows, columns) as stored.
        given: values of options, by their names; what is derived rests on them.

    Raises:
        ValueError: a distance or a spacing that is no number.
    """
    found = HeaderGeometry(orientation=Orientation.of(header))
    _distances(found, header)
    factor = _magnification(found, header, given)
    with np.errstate(all="ignore"):  # absurd numbers, of which `checks` and the camera complain
        keep_spacing(found, header, size, given, factor)
        _place(found, header, size, given)
    _angles(found, header)
    if found.orientation.odd:
        found.warn(
            f"{describe('FieldOfViewRotation')} is {found.orientation.odd} deg, no multiple of 90 deg; the"
            " image is used as it is stored",
            "turn",
        )
    for keyword, reason in header.malformed.items():
        found.warn(f"{describe(keyword)} is not used: {reason}", *_SETTLES.get(keyword, ()))
    return found


# What settles an attribute that is no number.
_SETTLES = {
    "FieldOfViewOrigin": ("principal_point_px",),
    "DetectorActiveDimensions": ("principal_point_px",),
    "DetectorActiveOrigin": ("principal_point_px",),
    "FieldOfViewRotation": ("turn",),
    FACTOR: ("pixel_spacing_mm",),
}


# Distances --------------------------------------------------------------------------------------------


def _distances(found: HeaderGeometry, header: DicomHeader) -> None:
    for name, keywords in (
        ("sdd_mm", ("DistanceSourceToDetector",)),
        # The second is that of enhanced objects.
        ("source_isocentre_mm", ("DistanceSourceToPatient", "DistanceSourceToIsocenter")),
    ):
        for keyword in keywords:
            value = header.number(keyword)
            if value is None or name in found.values:
                continue
            if value > 0:
                found.keep(name, value, describe(keyword))
            else:
                # Devices without a position sensor write zeros, which say as little as a missing attribute.
                found.problems[name] = f"{describe(keyword)} is {value}"


def _magnification(found: HeaderGeometry, header: DicomHeader, given: Mapping[str, Any]) -> float | None:
    """The estimated magnification; distances that it gives are filled in, others compared with it."""
    factor = header.one_length(FACTOR)
    if factor is not None and factor < 1:
        found.warn(f"{describe(FACTOR)} is {factor:g}, below 1, and is not used", remedy="none is needed")
        factor = None
    sdd_mm, patient_mm = value_of(found, given, "sdd_mm"), value_of(found, given, "source_isocentre_mm")
    patient = source_of(found, given, "source_isocentre_mm")
    if factor is not None and sdd_mm is None and patient_mm is not None:
        found.keep("sdd_mm", factor * patient_mm, f"{describe(FACTOR)} {factor:g} x {patient}")
        found.warn(
            f"DistanceSourceToDetector is missing; {factor * patient_mm:.5g} mm follows from"
            f" {describe(FACTOR)} {factor:g} and {patient} {patient_mm:g} mm",
            "sdd_mm",
        )
        return factor
    if factor is not None and sdd_mm is not None and patient_mm is None:
        source = f"{source_of(found, given, 'sdd_mm')} / {describe(FACTOR)} {factor:g}"
        found.keep("source_isocentre_mm", sdd_mm / factor, source)
        return factor
    if sdd_mm is None or patient_mm is None:
        return factor
    if patient_mm > sdd_mm * (1 + AGREE):
        found.warn(
            f"{patient} is {patient_mm:g} mm, beyond the detector at {sdd_mm:g} mm"
            f" ({source_of(found, given, 'sdd_mm')}): one of them is wrong",
            *("sdd_mm", "source_isocentre_mm"),
            unsettled=True,
        )
    elif factor is not None and differ(factor, sdd_mm / patient_mm):
        found.warn(
            f"{describe(FACTOR)} is {factor:g}, but {sdd_mm:g} mm ({source_of(found, given, 'sdd_mm')}) over"
            f" {patient_mm:g} mm ({patient}) is {sdd_mm / patient_mm:.4g}",
            *("sdd_mm", "source_isocentre_mm"),
        )
    entrance_mm = header.one_length("DistanceSourceToEntrance")
    if entrance_mm is not None and entrance_mm > patient_mm * (1 + AGREE):
        found.warn(
            f"{describe('DistanceSourceToEntrance')}, where the beam enters the patient, is"
            f" {entrance_mm:g} mm, but {patient} is {patient_mm:g} mm",
            "source_isocentre_mm",
        )
    return factor


# Principal point and angles ---------------------------------------------------------------------------


def _place(
    found: HeaderGeometry, header: DicomHeader, size: tuple[int, int], given: Mapping[str, Any]
) -> None:
    spacing_mm = given.get("pixel_spacing_mm", found.values.get("pixel_spacing_mm"))
    if spacing_mm is None:
        return
    placed = principal_point(header, size, spacing_mm, found.orientation)
    found.provenance["principal_point_px"] = placed.source
    if placed.point_px is not None:
        found.keep("principal_point_px", placed.point_px, placed.source)
        cx, cy = placed.point_px
        found.note(
            f"the image is not the middle of the detector: the principal point is ({cx:.1f}, {cy:.1f}) by its"
            " header (FieldOfViewOrigin)",
            "principal_point_px",
        )
    if placed.problem:
        centre = f"{(size[1] - 1) / 2:g} {(size[0] - 1) / 2:g}"
        found.warn(
            placed.problem,
            "pixel_spacing_mm" if placed.scale else "principal_point_px",
            unsettled=placed.open,
            remedy="" if placed.scale else f"`principal_point_px`; {centre} confirms the centre",
        )


def _angles(found: HeaderGeometry, header: DicomHeader) -> None:
    for name, axis in (("primary_angle_deg", "Primary"), ("secondary_angle_deg", "Secondary")):
        for keyword in (f"Positioner{axis}Angle", f"PositionerIsocenter{axis}Angle"):
            try:
                angle_deg = header.number(keyword)
            except ValueError as error:
                found.warn(f"{describe(keyword)} is no angle in degrees: {error}", name)
                break
            if angle_deg is not None:
                angle_deg += next(_increment(header, f"Positioner{axis}AngleIncrement"), 0.0)
                found.keep(name, angle_deg, describe(keyword))
                break


def _increment(header: DicomHeader, keyword: str) -> Iterator[float]:
    """Rotational runs list each frame's offset from the first (PS3.3 C.8.7.5)."""
    offsets = header.numbers(keyword)
    if len(offsets) > max(header.frame, 1):
        yield offsets[header.frame]
