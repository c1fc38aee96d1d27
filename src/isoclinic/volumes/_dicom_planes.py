"""Where the images of a DICOM file lie: one plane a file, or many in a multi-frame file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._dicom_files import DicomFile, FrameHeader
from ._grid import decoding
from ._warnings import warn_geometry

_NEEDED = {
    "ImagePositionPatient": 3,
    "ImageOrientationPatient": 6,
    "PixelSpacing": 2,
    "Rows": 1,
    "Columns": 1,
}
# Of the two directions in ImageOrientationPatient: off unit length or a right angle.
_ORIENTATION_TOLERANCE = 1e-2
# Slices of one CT, turned or stretched against each other, have their farthest pixel this far apart at most
# [mm]: direction cosines jitter by 1e-3 in files of some scanners, half a millimetre across a field of 500
# mm.
TURNED_MM = 2.0
STRETCHED_MM = 0.25
# Frames' places along the normal, where they have no positions of their own, in order of preference.
_FRAME_PLACES = ("GridFrameOffsetVector", "SliceLocationVector")

_Vector = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Plane:
    """One image and its place in DICOM's world (LPS, mm).

    Attributes:
        file: that holds it.
        frame: its number in the file, from 0.
        frames: images in the file.
        position: centre of the first pixel [3].
        axes: unit vectors [2, 3] along a row of pixels and along a column, at right angles.
        spacing_mm: distance of pixels (along a row, along a column).
        shape: number of pixels (along a row, along a column).
        header: attributes of this frame.
    """

    file: DicomFile
    frame: int
    frames: int
    position: _Vector
    axes: _Vector
    spacing_mm: _Vector
    shape: tuple[int, int]
    header: FrameHeader

    @property
    def path(self) -> Path:
        """The file that holds it."""
        return self.file.path

    @property
    def far_corner(self) -> _Vector:
        """From the first pixel to the last one (along a row, along a column) [mm]."""
        corner: _Vector = self.spacing_mm * (np.array(self.shape) - 1)
        return corner


def planes_of(file: DicomFile) -> list[Plane]:
    """The images of a file.

    Positions, orientations and spacings of a multi-frame file are those of its frames (functional groups,
    PS3.3 C.7.6.16). A file with one position for all frames has them along the normal of the first, as
    GridFrameOffsetVector (C.8.8.3.2), SliceLocationVector or SpacingBetweenSlices say.

    Raises:
        InputError: attributes that are missing or malformed, or frames whose places the file does not give.

    Warns:
        GeometryWarning: frames whose direction along the normal the file does not give.
    """
    with decoding(file.path, " as DICOM"):
        return _planes_of(file)


def _planes_of(file: DicomFile) -> list[Plane]:
    count = file.frames
    headers = [FrameHeader(file.header, frame) for frame in range(count)]
    own_positions = any("PlanePositionSequence" in groups for groups in _per_frame(file))
    if count > 1 and not own_positions:
        return _along_normal(file, headers)
    return [_plane(file, frame, header) for frame, header in enumerate(headers)]


def _per_frame(file: DicomFile) -> Any:
    return file.header.get("PerFrameFunctionalGroupsSequence") or ()


def _plane(file: DicomFile, frame: int, header: FrameHeader) -> Plane:
    where = f"{file.path}" + (f", frame {frame}," if file.frames > 1 else "")
    missing = [keyword for keyword in _NEEDED if header.get(keyword) is None]
    if missing:
        raise InputError(
            f"{where} lacks {', '.join(missing)}, without which it is no CT slice: export the series again, "
            "or move the file out of the folder if it is not one",
            code="ct.incomplete-header",
        )
    position, orientation, spacing, rows, columns = (
        _numbers(file, header, keyword, count, where) for keyword, count in _NEEDED.items()
    )
    if spacing.min() <= 0:
        raise InputError(
            f"PixelSpacing of {where} is {spacing.tolist()} mm, not positive; export the series again",
            code="ct.malformed-header",
        )
    if rows[0] < 1 or columns[0] < 1:
        raise InputError(f"{where} has {rows[0]:.0f} x {columns[0]:.0f} pixels", code="ct.malformed-header")
    axes = orientation.reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > _ORIENTATION_TOLERANCE:
        raise InputError(
            f"ImageOrientationPatient of {where} is {orientation.tolist()}, not two unit vectors at right "
            "angles: export the series again",
            code="ct.malformed-header",
        )
    return Plane(
        file=file,
        frame=frame,
        frames=file.frames,
        position=position,
        axes=at_right_angles(axes),
        spacing_mm=spacing[::-1],  # DICOM: between rows, then between columns
        shape=(int(columns[0]), int(rows[0])),
        header=header,
    )


def alike(one: Plane, other: Plane) -> bool:
    """Tell whether two images can be slices of one CT: by size, orientation and spacing."""
    return one.shape == other.shape and (
        turned_mm(one, other.axes) <= TURNED_MM and stretched_mm(one, other.spacing_mm) <= STRETCHED_MM
    )


def turned_mm(plane: Plane, axes: _Vector) -> float:
    """Compute how far the plane's farthest pixel moves where it gets other axes [2, 3] [mm]."""
    corners = plane.far_corner * [[1, 0], [0, 1], [1, 1]]
    return float(np.linalg.norm(corners @ (plane.axes - axes), axis=1).max())


def stretched_mm(plane: Plane, spacing_mm: _Vector) -> float:
    """Compute how far the plane's farthest pixel moves where it gets another spacing [mm]."""
    return float(np.abs((plane.spacing_mm - spacing_mm) * (np.array(plane.shape) - 1)).max())


def at_right_angles(axes: _Vector) -> _Vector:
    """The two unit vectors [2, 3] at right angles nearest to the given ones, rounded as these are."""
    left, _, right = np.linalg.svd(axes, full_matrices=False)
    nearest: _Vector = left @ right
    return nearest


def _numbers(file: DicomFile, header: FrameHeader, keyword: str, count: int, where: str) -> _Vector:
    value = header.get(keyword)
    with decoding(file.path, f": its {keyword}"):
        numbers = np.atleast_1d(np.array(value, dtype=np.float64))
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InputError(
            f"{where} has a malformed {keyword}: {value}, not {count} number(s)", code="ct.malformed-header"
        )
    return numbers


def _along_normal(file: DicomFile, headers: list[FrameHeader]) -> list[Plane]:
    first = _plane(file, 0, headers[0])
    normal = np.cross(*first.axes)
    offsets, source = _frame_offsets(file, headers[0])
    warn_geometry(
        f"{file.path} holds {len(headers)} frames and one position: they are placed along the normal of the "
        f"first as {source} says, in its order; check with isoclinic inspect that head and feet are right; "
        "if not, settle it with `mirror_head_feet` `save_ct` FILE.nii.gz"
    )
    return [
        Plane(
            file=file,
            frame=frame,
            frames=len(headers),
            position=first.position + offsets[frame] * normal,
            axes=first.axes,
            spacing_mm=first.spacing_mm,
            shape=first.shape,
            header=header,
        )
        for frame, header in enumerate(headers)
    ]


def _frame_offsets(file: DicomFile, header: FrameHeader) -> tuple[_Vector, str]:
    """Each frame's distance from the first along the normal [mm], and the attribute that says so."""
    count = file.frames
    for keyword in _FRAME_PLACES:
        if header.get(keyword) is not None:
            places = _numbers(file, header, keyword, count, str(file.path))
            return places - places[0], keyword
    if header.get("SpacingBetweenSlices") is not None:
        spacing = float(_numbers(file, header, "SpacingBetweenSlices", 1, str(file.path))[0])
        if spacing != 0:
            return np.arange(count, dtype=np.float64) * spacing, "SpacingBetweenSlices"
    raise InputError(
        f"{file.path} is a multi-frame file of {count} frames that does not say where they lie: it has "
        f"neither positions of its frames nor {', '.join(_FRAME_PLACES)} or SpacingBetweenSlices; export "
        "the CT as one file a slice, or convert it to NIfTI with the manufacturer's program",
        code="ct.incomplete-header",
    )
