"""Voxels of a CT that are NaN or infinite: air outside of what was scanned, and an error within."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ..errors import InputError
from ._grid import HuArray, fits_int16
from ._warnings import warn_geometry

_AIR_HU = -1000.0
# Between lung and fat: what is above belongs to the body.
_BODY_FROM_HU = -300.0
# A CT that lacks more than this is damaged; a cylinder fills 79 % of its box, a ball 52 %.
_MOST_MISSING = 0.6
_WAY_OUT = "to give them a value all the same, isoclinic inspect with `nan_hu` -1000 `save_ct` FILE.nii.gz"


def finite(values: HuArray, path: Path, nan_hu: float | None) -> HuArray:
    """The CT [nx, ny, nz] with a value in every voxel.

    Resampling leaves NaN outside of a scanner's field, which is convex: no voxel outside lies between two
    voxels of the field along any axis. Those become air; so do others that touch nothing but air.

    Args:
        values: Hounsfield units.
        path: the path of the file.
        nan_hu: value of all voxels that have none, wherever they are; None to tell by their place.

    Raises:
        InputError: such voxels within the body, or in most of the volume.

    Warns:
        GeometryWarning: how many voxels became air.
    """
    if values.dtype == np.int16:
        return values
    known = np.isfinite(values)
    missing = known.size - int(np.count_nonzero(known))
    if not missing:
        return values
    told = f"{path} has {missing} voxels that are NaN or infinite ({100 * missing / known.size:.2g} %)"
    if nan_hu is None:
        if missing > _MOST_MISSING * known.size:
            raise InputError(
                f"{told}, more than any field of view leaves out; export it again, or, {_WAY_OUT}",
                code="ct.not-finite",
            )
        within = _within_body(values, known)
        if within:
            raise InputError(
                f"{told}, and {within} of them lie within the body, where no field of view ends: the file is "
                f"damaged; export it again, or, {_WAY_OUT}",
                code="ct.not-finite",
            )
    filled: HuArray = np.where(known, values, np.float32(_AIR_HU if nan_hu is None else nan_hu))
    warn_geometry(
        f"{told}, outside of what was scanned: they are taken as air ({_AIR_HU:g} HU)"
        if nan_hu is None
        else f"{told}: they are {nan_hu:g} HU now (`nan_hu`)"
    )
    return filled.astype(np.int16) if fits_int16(filled) else filled


def _within_body(values: HuArray, known: NDArray[np.bool_]) -> int:
    """Compute how many voxels without a value lie between others along some axis and touch the body."""
    between = np.zeros_like(known)
    for axis in range(3):
        before = np.logical_or.accumulate(known, axis=axis)
        after = np.flip(np.logical_or.accumulate(np.flip(known, axis), axis=axis), axis)
        between |= before & after & ~known
    if not between.any():
        return 0
    with np.errstate(invalid="ignore"):
        body = known & (values > _BODY_FROM_HU)
    labels, count = ndimage.label(between, structure=np.ones((3, 3, 3)))
    touching = ndimage.binary_dilation(body, structure=np.ones((3, 3, 3))) & between
    bad = np.unique(labels[touching])
    return int(np.isin(labels, bad).sum()) if count else 0
