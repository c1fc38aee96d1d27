"""The pixel spacing at the detector, by an X-ray's DICOM header.

DICOM PS3.3 C.8.7.3 (ImagerPixelSpacing), C.8.11.4 (elements and their binning), and 10.7.1.3: PixelSpacing is
that at the detector unless it was calibrated, which PixelSpacingCalibrationType then says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._dicom_header import DicomHeader
from ._dicom_tables import describe
from ._field_of_view import Field
from ._header_geometry import FACTOR, HeaderGeometry, differ, source_of, value_of

Pair = tuple[float, float]

# Magnifications below it are that of something at the detector.
_MAGNIFIED = 1.05


@dataclass(frozen=True, kw_only=True)
class _Spacing:
    """(row, column) spacing [mm] with the attribute it is from."""

    mm: Pair
    source: str

    def differs(self, other: _Spacing) -> bool:
        return any(map(differ, self.mm, other.mm))

    def __str__(self) -> str:
        return f"{self.source} {self.mm[0]:.4g} x {self.mm[1]:.4g} mm"

    def times(self, factor: float, source: str) -> _Spacing:
        row, column = self.mm
        return _Spacing(mm=(row * factor, column * factor), source=f"{self.source} x {source}")


def keep_spacing(
    found: HeaderGeometry,
    header: DicomHeader,
    size: tuple[int, int],
    given: Mapping[str, Any],
    factor: float | None,
) -> None:
    """Find the spacing at the detector: as measured there, of its elements, or scaled back from the patient.

    Args:
        found: so far, distances included; gets the spacing, or the problem.
        header: the header of the image.
        size: (rows, columns) as stored.
        given: values of options, by their names.
        factor: the magnification that the header states.

    Raises:
        ValueError: a spacing that is no number.
    """
    factors = _magnifications(found, given, factor)
    in_file = _of(found, header, "PixelSpacing") or _of(found, header, "ObjectPixelSpacingInCenterOfBeam")
    imager = _of(found, header, "ImagerPixelSpacing")
    elements = _of_elements(header)
    film = _of(found, header, "NominalScannedPixelSpacing")
    measured = imager or film or elements
    if measured is not None:
        found.keep("pixel_spacing_mm", measured.mm, measured.source)
        if imager is not None and elements is not None and imager.differs(elements):
            _settle_binning(found, header, size, imager, elements)
        if in_file is not None:
            _compare_with_patient(found, header, size, (measured, in_file), factors)
    elif in_file is not None:
        _scale_back(found, header, size, in_file, factors)
    elif "pixel_spacing_mm" not in found.problems:
        found.problems["pixel_spacing_mm"] = (
            f"neither ImagerPixelSpacing nor PixelSpacing is in its header{_proposal(header, size)}"
        )
    else:
        found.problems["pixel_spacing_mm"] += _proposal(header, size)


def _of(found: HeaderGeometry, header: DicomHeader, keyword: str) -> _Spacing | None:
    mm = header.pair(keyword)
    if mm is None:
        return None
    if min(mm) > 0:
        return _Spacing(mm=mm, source=describe(keyword))
    found.problems["pixel_spacing_mm"] = f"{describe(keyword)} is {mm}"
    return None


def _of_elements(header: DicomHeader) -> _Spacing | None:
    """The detector's elements times how many of them make a pixel."""
    binning = header.two_lengths("DetectorBinning")
    for keyword in ("DetectorElementSpacing", "DetectorElementPhysicalSize"):
        element = header.two_lengths(keyword)
        if element is not None and binning is not None:
            row, column = np.multiply(element, binning).tolist()
            source = f"{describe(keyword)} x {describe('DetectorBinning')}"
            return _Spacing(mm=(row, column), source=source)
    return None


def _fills(header: DicomHeader, size: tuple[int, int], spacing: _Spacing) -> bool:
    """Tell whether the image then is as large as the header says its field of view is."""
    field_of_view = Field.of(header)
    if field_of_view is None:
        return False
    return field_of_view.fit(np.array(size) * np.array(spacing.mm))[0] == "whole"


def _settle_binning(
    found: HeaderGeometry, header: DicomHeader, size: tuple[int, int], imager: _Spacing, elements: _Spacing
) -> None:
    """Elements and their binning say another spacing than ImagerPixelSpacing: the field of view decides."""
    contradiction = f"{imager}, but {elements}"
    by_imager, by_elements = _fills(header, size, imager), _fills(header, size, elements)
    if by_elements and not by_imager:
        found.keep("pixel_spacing_mm", elements.mm, elements.source)
        found.warn(
            f"{contradiction}; the field of view agrees with the second, which is used", "pixel_spacing_mm"
        )
    elif not by_imager:
        found.warn(
            f"{contradiction}, and nothing tells which is right; the first is used",
            "pixel_spacing_mm",
            unsettled=True,
        )
    else:
        found.note(f"{contradiction}: the image was resampled; its field of view agrees", "pixel_spacing_mm")


def _compare_with_patient(
    found: HeaderGeometry,
    header: DicomHeader,
    size: tuple[int, int],
    spacings: tuple[_Spacing, _Spacing],
    factors: list[tuple[float, str]],
) -> None:
    """PixelSpacing beside a spacing measured at the detector: the same, or scaled to the patient."""
    calibration = header.text("PixelSpacingCalibrationType").upper()
    measured, in_file = spacings
    if not measured.differs(in_file):
        if calibration and factors and factors[0][0] > _MAGNIFIED and not _fills(header, size, measured):
            found.warn(
                f"{measured} equals {in_file.source}, which is scaled to the patient"
                f" (PixelSpacingCalibrationType {calibration}) where the magnification is"
                f" {factors[0][0]:.4g}: one of them is no spacing at the detector",
                "pixel_spacing_mm",
                unsettled=True,
            )
        return
    implied = measured.mm[1] / in_file.mm[1]
    if any(not differ(implied, value) for value, _ in factors):
        return  # the same spacing, scaled to the patient by the magnification that the header gives
    scale = f"; that is a magnification of {implied:.4g}"
    if factors:
        scale += f", but {factors[0][1]} is {factors[0][0]:.4g}"
    found.warn(
        f"{measured}, but {in_file}{scale}. The first, measured at the detector, is used: the second is"
        " mostly scaled to the patient",
        "pixel_spacing_mm",
    )


def _magnifications(
    found: HeaderGeometry, given: Mapping[str, Any], factor: float | None
) -> list[tuple[float, str]]:
    """Magnifications of what lies at the patient, each with where it is from; the stated one first."""
    known = [] if factor is None else [(factor, describe(FACTOR))]
    sdd_mm, patient_mm = value_of(found, given, "sdd_mm"), value_of(found, given, "source_isocentre_mm")
    if sdd_mm is not None and patient_mm is not None and sdd_mm >= patient_mm:
        sources = (source_of(found, given, name) for name in ("sdd_mm", "source_isocentre_mm"))
        known.append((sdd_mm / patient_mm, " / ".join(sources)))
    return known


def _scale_back(
    found: HeaderGeometry,
    header: DicomHeader,
    size: tuple[int, int],
    in_file: _Spacing,
    factors: list[tuple[float, str]],
) -> None:
    """PixelSpacing alone: at the patient where it was calibrated (PS3.3 10.7.1.3), else at the detector."""
    calibration = header.text("PixelSpacingCalibrationType").upper()
    if in_file.source.startswith("Object"):
        calibration = "GEOMETRY"
    scaled = [in_file.times(*each) for each in factors]
    if not calibration:
        _settle_plane(found, header, size, in_file, scaled)
        return
    told = f"{in_file} is scaled to the patient (PixelSpacingCalibrationType {calibration})"
    if not scaled:
        found.problems["pixel_spacing_mm"] = (
            f"{told}, and neither {FACTOR} nor DistanceSourceToPatient says by how much it is larger at the"
            f" detector{_proposal(header, size)}"
        )
        return
    used = scaled[0]
    found.keep("pixel_spacing_mm", used.mm, used.source)
    contradicted = len(scaled) > 1 and scaled[0].differs(scaled[1]) and not _fills(header, size, used)
    if contradicted:
        found.warn(
            f"{told}; at the detector it is {used}, but {scaled[1]}; the first is used",
            "pixel_spacing_mm",
            unsettled=True,
        )
    elif calibration != "GEOMETRY" and not _fills(header, size, used):
        found.warn(
            f"{told} by an object of known size, whose depth is not known; at the detector {used} is used",
            "pixel_spacing_mm",
            unsettled=True,
        )
    else:
        found.note(f"{told}; at the detector it is {used}", "pixel_spacing_mm")


def _settle_plane(
    found: HeaderGeometry,
    header: DicomHeader,
    size: tuple[int, int],
    in_file: _Spacing,
    scaled: list[_Spacing],
) -> None:
    """PixelSpacing that does not say in which plane it holds: the field of view decides."""
    if not _fills(header, size, in_file):
        for each in scaled:
            if each.differs(in_file) and _fills(header, size, each):
                found.keep("pixel_spacing_mm", each.mm, each.source)
                found.note(
                    f"{in_file} is that at the patient: with {each} the image fills its field of view",
                    "pixel_spacing_mm",
                )
                return
    found.keep("pixel_spacing_mm", in_file.mm, in_file.source)
    unmagnified = bool(scaled) and not scaled[0].differs(in_file)
    if unmagnified or _fills(header, size, in_file):
        return
    row_mm, column_mm = in_file.mm
    remedy = f"`pixel_spacing_mm`; {row_mm:.4g} {column_mm:.4g} confirms it"
    if scaled:
        row_mm, column_mm = scaled[0].mm
        remedy += f", {row_mm:.4g} {column_mm:.4g} is {scaled[0].source}"
    found.warn(
        f"ImagerPixelSpacing is missing, so {in_file} is taken for the detector's; where the device has"
        " scaled it to the patient, it is too small by the magnification",
        "pixel_spacing_mm",
        unsettled=True,
        remedy=remedy,
    )


def _proposal(header: DicomHeader, size: tuple[int, int]) -> str:
    """Return what the pixel spacing would be, if the field that the header gives fills the image."""
    rows, columns = size
    for keyword in (
        *("FieldOfViewDimensionsInFloat", "FieldOfViewDimensions"),
        *("DetectorActiveDimensions", "IntensifierSize"),
    ):
        field_mm = header.two_lengths(keyword)
        if field_mm is None:
            continue
        row_mm = field_mm[0] / rows
        column_mm = field_mm[1] / columns
        if len(header.lengths(keyword)) == 1:
            row_mm = column_mm
        return (
            f"; its {describe(keyword)} is {' x '.join(f'{mm:g}' for mm in header.lengths(keyword))} mm, so"
            f" if that fills the image of {columns} x {rows} pixels, it is"
            f" `pixel_spacing_mm` {row_mm:.4g} {column_mm:.4g}"
        )
    return ""
