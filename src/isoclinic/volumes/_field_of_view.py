"""Where on the detector an X-ray lies, by its DICOM header, and so where its principal point is.

DICOM PS3.3 C.8.7.3 (X-Ray Acquisition) and C.8.11.4 (DX Detector): the field of view is cut out of the
detector at FieldOfViewOrigin, counted in the detector's own elements, then turned clockwise by
FieldOfViewRotation, then mirrored left to right where FieldOfViewHorizontalFlip says so. The central ray is
taken to meet the middle of the detector's active area.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..geometry.camera import turn_pixels
from ._dicom_header import DicomHeader
from ._dicom_tables import describe

Array = NDArray[np.float64]
# Fields of view are written in whole millimetres, and devices round them up to nominal sizes.
_TOLERANCE = 0.02
_TOLERANCE_MM = 2.0
# The square inscribed in a round field has this share of its diameter.
_INSCRIBED = 0.7
# Offset of the image's centre from the detector's that is more than rounding [mm].
_OFF_CENTRE_MM = 1.0

Fit = Literal["whole", "scaled", "cut", "padded"]


@dataclass(frozen=True, kw_only=True)
class Orientation:
    """How the device had turned and mirrored the detector's image when it was stored.

    Attributes:
        turned_deg: clockwise turn, 0, 90, 180 or 270 [deg].
        mirrored: left to right, after the turn.
        odd: a turn that is none of these; empty where it is.
    """

    turned_deg: int = 0
    mirrored: bool = False
    odd: str = ""

    @classmethod
    def of(cls, header: DicomHeader) -> Orientation:
        """Read FieldOfViewRotation and FieldOfViewHorizontalFlip."""
        mirrored = header.text("FieldOfViewHorizontalFlip").upper() in ("YES", "Y")
        found = header.numbers("FieldOfViewRotation")
        degrees = found[0] % 360 if len(found) == 1 and np.isfinite(found[0]) else 0.0
        whole = round(degrees / 90) * 90
        if abs(degrees - whole) > 0.5:
            return cls(mirrored=mirrored, odd=f"{degrees:g}")
        return cls(turned_deg=whole % 360, mirrored=mirrored)

    @property
    def source(self) -> str:
        """Return what says so."""
        parts = []
        if self.turned_deg:
            parts.append(f"{describe('FieldOfViewRotation')} {self.turned_deg}")
        if self.mirrored:
            parts.append(f"{describe('FieldOfViewHorizontalFlip')} YES")
        return ", ".join(parts)

    def detector_from_stored(self, rows_columns: Array) -> Array:
        """Return a (row, column) pair of the stored image in the order of the detector's axes."""
        return rows_columns[::-1] if self.turned_deg % 180 else rows_columns

    def stored_px(self, point_px: Array, size: Array) -> Array:
        """Map a point (u, v) of the detector's image, of (rows, columns) `size`, into the stored one."""
        height, width = (int(each) for each in size)
        placed = turn_pixels(point_px, width=width, height=height, degrees=self.turned_deg)
        if self.mirrored:
            placed = np.array([(height if self.turned_deg % 180 else width) - 1 - placed[0], placed[1]])
        return placed


@dataclass(frozen=True, kw_only=True)
class Field:
    """The field of view that the header gives.

    Attributes:
        mm: (rows, columns) [mm], or the diameter twice.
        source: the attribute.
        round: it is a circle, or a hexagon.
        single: one number stands for both.
    """

    mm: Array
    source: str
    round: bool
    single: bool

    @classmethod
    def of(cls, header: DicomHeader) -> Field | None:
        """Read FieldOfViewShape and FieldOfViewDimensions; of an enhanced object the precise ones."""
        for keyword in ("FieldOfViewDimensionsInFloat", "FieldOfViewDimensions"):
            found = header.two_lengths(keyword)
            if found is not None:
                return cls(
                    mm=np.array(found),
                    source=describe(keyword),
                    round=header.text("FieldOfViewShape").upper() in ("ROUND", "HEXAGONAL"),
                    single=len(header.lengths(keyword)) == 1,
                )
        return None

    def fit(self, image_mm: Array) -> tuple[Fit, float]:
        """Say how an image of (rows, columns) [mm] fills the field, and its share of the field's size."""
        # Rows come first, but devices write the width first, too.
        order = min((self.mm, self.mm[::-1]), key=lambda mm: float(np.abs(np.log(image_mm / mm)).max()))
        ratio = image_mm / order
        close = np.abs(image_mm - order) <= np.maximum(_TOLERANCE * order, _TOLERANCE_MM)
        share = float(np.sqrt(ratio.prod()))
        if close.all():
            return "whole", share
        if self.single and abs(np.hypot(*image_mm) / order[0] - 1) < 1.5 * _TOLERANCE:  # the diagonal
            return "whole", share
        if self.round and (ratio > _INSCRIBED).all() and (ratio < 1 + _TOLERANCE).all():
            return "whole", share
        if abs(ratio[0] / ratio[1] - 1) < _TOLERANCE:
            return "scaled", share
        return ("padded" if ratio.max() > 1 + _TOLERANCE and ratio.min() > 1 - _TOLERANCE else "cut"), share


@dataclass(frozen=True, kw_only=True)
class Placed:
    """What the header says about the principal point.

    Attributes:
        point_px: (cx, cy) in the stored image [px]; None where its centre is to be assumed.
        source: where the point is from, or why it is assumed.
        problem: what contradicts or is missing; empty where nothing is.
        open: nothing tells where the principal point is.
        scale: the spacing is in question, not the point.
    """

    point_px: tuple[float, float] | None
    source: str
    problem: str = ""
    open: bool = False
    scale: bool = False


def principal_point(
    header: DicomHeader, size: tuple[int, int], spacing_mm: tuple[float, float], orientation: Orientation
) -> Placed:
    """Return where the middle of the detector lies in the image.

    Args:
        header: the header of the image.
        size: (rows, columns) as stored.
        spacing_mm: (row, column) spacing of its pixels at the detector, as stored.
        orientation: the orientation of the stored image on the detector.
    """
    pixels = orientation.detector_from_stored(np.array(size, dtype=np.float64))
    spacing = orientation.detector_from_stored(np.array(spacing_mm, dtype=np.float64))
    image_mm = pixels * spacing
    origin = header.numbers("FieldOfViewOrigin")
    active = header.two_lengths("DetectorActiveDimensions")
    field = Field.of(header)
    assumed = "image centre (assumed)"
    if field is not None:
        odd = _misfit(field, image_mm, pixels, spacing)
        if odd is not None:
            return odd
    if len(origin) != 2 or not np.isfinite(origin).all():
        if active is None:
            return Placed(point_px=None, source=assumed)
        return _without_origin(field, image_mm, np.array(active))
    if active is None:
        if not any(origin):
            return Placed(point_px=None, source=assumed)
        return Placed(
            point_px=None,
            source=assumed,
            problem=f"{describe('FieldOfViewOrigin')} {_pair(origin)} says that the image was cut out of the"
            " detector's, but not how large that is (DetectorActiveDimensions is missing), so that its centre"
            " is only assumed to be the principal point",
            open=True,
        )
    return _on_detector(header, pixels, spacing, np.array(origin), np.array(active), orientation)


def _on_detector(
    header: DicomHeader, pixels: Array, spacing: Array, origin: Array, active: Array, orientation: Orientation
) -> Placed:
    """The middle of the active area, counted from the image's corner."""
    image_mm = pixels * spacing
    active_origin = header.numbers("DetectorActiveOrigin")
    # Both origins are counted from the corner of the physical detector.
    inner = origin - (np.array(active_origin) if len(active_origin) == 2 else 0)
    corner_mm = inner * element_mm(header, spacing)
    end_mm = corner_mm + image_mm
    sides = next((each for each in (active, active[::-1]) if _inside(corner_mm, end_mm, each)), None)
    if sides is None:
        return Placed(
            point_px=None,
            source="image centre (assumed)",
            problem=f"{describe('FieldOfViewOrigin')} {_pair(origin)} puts the image of {_size(image_mm)} mm"
            f" beyond the detector of {_size(active)} mm (DetectorActiveDimensions), so that its centre is"
            " only assumed to be the principal point",
            open=True,
        )
    off_mm = sides / 2 - (corner_mm + end_mm) / 2
    if np.abs(off_mm).max() <= _OFF_CENTRE_MM:
        return Placed(
            point_px=None, source=f"image centre, the detector's by {describe('FieldOfViewOrigin')}"
        )
    row, column = (pixels - 1) / 2 + off_mm / spacing
    cx, cy = orientation.stored_px(np.array([column, row]), pixels)
    return Placed(
        point_px=(float(cx), float(cy)),
        source=f"centre of the detector by {describe('FieldOfViewOrigin')} and"
        f" {describe('DetectorActiveDimensions')}",
    )


def _without_origin(field: Field | None, image_mm: Array, active: Array) -> Placed:
    """An image of a detector of known size, of which nothing says where it was cut out."""
    fit, _ = Field(mm=active, source="", round=False, single=False).fit(image_mm)
    if fit == "scaled" and abs(np.divide(*(image_mm / active)) - 1) > _TOLERANCE:
        fit = "cut"  # of the same shape only if its sides are exchanged
    if fit == "whole":
        return Placed(
            point_px=None, source=f"image centre, the detector's by {describe('DetectorActiveDimensions')}"
        )
    # A field of view that is named, or a smaller one of the same shape, is a zoom about the middle.
    if field is not None or fit in ("scaled", "padded"):
        return Placed(point_px=None, source="image centre (assumed)")
    return Placed(
        point_px=None,
        source="image centre (assumed)",
        problem=f"the image shows {_size(image_mm)} mm of a detector of {_size(active)} mm"
        f" ({describe('DetectorActiveDimensions')}) and nothing says where it was cut out (FieldOfViewOrigin"
        " is missing), so that its centre is only assumed to be the principal point",
        open=True,
    )


def _misfit(field: Field, image_mm: Array, pixels: Array, spacing: Array) -> Placed | None:
    """Return what is odd about an image that does not fill its field of view."""
    fit, share = field.fit(image_mm)
    shown = f"{_size(image_mm)} mm ({_size(pixels)} pixels of {spacing[0]:.4g} x {spacing[1]:.4g} mm)"
    stated = f"{field.source} {_size(field.mm)} mm"
    if fit == "scaled":
        by = spacing / share
        return Placed(
            point_px=None,
            source="image centre (assumed)",
            problem=f"the image is {shown}, but its field of view is {stated}: then its pixels are"
            f" {by[0]:.4g} x {by[1]:.4g} mm, or it was cut",
            open=True,
            scale=True,
        )
    if fit in ("cut", "padded"):
        done = "cut after it was taken" if fit == "cut" else "given a border"
        return Placed(
            point_px=None,
            source="image centre (assumed)",
            problem=f"the image is {shown}, but its field of view is {stated}: it was {done}, and nothing"
            " says where, so that its centre is only assumed to be the principal point",
            open=fit == "cut",
        )
    return None


def element_mm(header: DicomHeader, spacing: Array) -> Array:
    """(row, column) spacing of the detector's elements [mm], in which its origins are counted."""
    for keyword in ("DetectorElementSpacing", "DetectorElementPhysicalSize"):
        found = header.two_lengths(keyword)
        if found is not None:
            return np.array(found)
    binning = header.two_lengths("DetectorBinning")
    return spacing if binning is None else spacing / np.array(binning)


def _inside(corner_mm: Array, end_mm: Array, active: Array) -> bool:
    slack = np.maximum(_TOLERANCE * active, _TOLERANCE_MM)
    return bool((corner_mm >= -slack).all() and (end_mm <= active + slack).all())


def _size(rows_columns: Array) -> str:
    return f"{rows_columns[0]:.4g} x {rows_columns[1]:.4g}"


def _pair(values: Array | tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
