"""A CT from DICOM files: slices in files of their own, or frames of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from ..errors import InputError
from ._dicom_choice import Selection, choose_planes, way_to_merge
from ._dicom_files import list_left_out, read_dataset
from ._dicom_pixels import hounsfield_units
from ._dicom_planes import Plane
from ._dicom_stack import ordered
from ._grid import RAS_FROM_LPS, Grid, compact
from ._slices import Stack, fit_grid, resampled
from ._warnings import warn_geometry
from .correction import CTCorrection

# A tilt of the gantry that matters [deg].
_TILT_TOLD_DEG = 0.5


def read_dicom_series(path: Path, correction: CTCorrection) -> Grid:
    """Values and world_from_voxel of the one CT in a folder or DICOMDIR, or of the one a file belongs to.

    What a file is, its content says: an image whose position, orientation and spacing are given is a slice,
    whatever its Modality, its ImageType or its name. Slices are ordered by their position along the normal of
    the image plane (DICOM PS3.3 C.7.6.2), never by name or InstanceNumber. DICOM's world is LPS and is turned
    into RAS here.

    Raises:
        InputError: no CT or several CTs, phases or stacks, missing tags, wide gaps between slices, slices of
            different shape or orientation, or a compression that cannot be decoded.
        UsageError: a selection of slices that none fulfils.

    Warns:
        GeometryWarning: files left out; slices that were interpolated or shifted; what had to be assumed.
    """
    only = None if correction.slices_where is None else Selection.parse(correction.slices_where)
    choice = choose_planes(path, only)
    left_out = list(choice.left_out)
    planes, stack = ordered(choice.planes, path, left_out)
    grid = fit_grid(stack, widest_gap_mm=correction.fill_gaps_mm)
    if choice.scattered:
        if grid.interpolated:
            raise InputError(
                f"{path} holds {len(planes)} images of as many series, one image each (SeriesInstanceUID), "
                f"but {grid.notes[0].partition(';')[0]}. {way_to_merge(planes[0].file)}",
                code="ct.not-a-series",
            )
        warn_geometry(
            f"{path}: each of {len(planes)} images has a series of its own (SeriesInstanceUID); they are "
            "read as one CT, whose study, frame of reference, size, orientation and even spacing they share"
        )
    _warn_of_tilt(planes, stack, path)
    if left_out:
        warn_geometry(
            f"{path}: files that are no slices of the CT were left out: {list_left_out(left_out, path)}"
        )
    for note in grid.notes:
        warn_geometry(f"{path}: {note}")
    read = _reader(planes, path)
    values = compact(grid.shape, resampled(grid, read), path)
    return values, RAS_FROM_LPS @ grid.world_from_voxel


def _warn_of_tilt(planes: list[Plane], stack: Stack, path: Path) -> None:
    """Warn of a gantry tilt that a header names and positions lack: its slices may be sheared unnoticed."""
    tilts = [plane.header.get("GantryDetectorTilt") for plane in planes]
    named = [abs(float(tilt)) for tilt in tilts if isinstance(tilt, (int, float))]
    if named and np.median(named) > _TILT_TOLD_DEG > stack.tilt_deg:
        warn_geometry(
            f"{path}: GantryDetectorTilt is {np.median(named):.3g} deg, but the positions of the slices are "
            "those of an upright gantry: either the tilt was corrected, or the CT is sheared; check this "
            "with isoclinic inspect"
        )


def _reader(planes: list[Plane], path: Path) -> Callable[[int], NDArray[np.float32]]:
    """What reads the values [along a row, along a column] of a plane by its number; the last file is kept."""
    last: dict[Path, FileDataset] = {}
    told: set[str] = set()

    def read(index: int) -> NDArray[np.float32]:
        plane = planes[index]
        if plane.path not in last:
            last.clear()
            last[plane.path] = read_dataset(plane.path)
        where = str(plane.path) + (f", frame {plane.frame}" if plane.frames > 1 else "")
        hu, notes = hounsfield_units(last[plane.path], where, plane.frame)
        for note in notes:
            if note not in told:
                told.add(note)
                warn_geometry(f"{path}: {note}")
        return hu.T

    return read
