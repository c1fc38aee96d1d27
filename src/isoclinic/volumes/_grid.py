"""What every image reader shares: slabs to a compact HU array, and the checks of values and affines."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError, ImageDataError
from nibabel.wrapstruct import WrapStructError
from numpy.typing import NDArray
from PIL.Image import DecompressionBombError
from pydicom.errors import BytesLengthException, InvalidDicomError

from ..error_codes import CODES
from ..errors import InputError, IsoclinicError

HuArray = NDArray[np.int16] | NDArray[np.float32]
LabelArray = NDArray[np.uint8] | NDArray[np.uint16]
Grid = tuple[HuArray, NDArray[np.float64]]
"""Values [nx, ny, nz] and world_from_voxel [4, 4], voxel centres at integers, world in RAS mm."""

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])

_SLAB = 16
_INT16 = np.iinfo(np.int16)
_LONGEST_REASON = 160

# What the decoders of other packages raise on damaged files: hardly any keeps to exceptions of its own.
DECODER_ERRORS = (
    *(ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, OSError),
    *(RuntimeError, SyntaxError, TypeError, ValueError, struct.error, zlib.error),
    *(BytesLengthException, DecompressionBombError, HeaderDataError, HeaderTypeError, ImageDataError),
    *(ImageFileError, InvalidDicomError, WrapStructError),
)


@contextmanager
def decoding(path: Path, what: str = "", *, code: str = "ct.unreadable") -> Iterator[None]:
    """Wrap calls of another package's decoder: whatever it raises becomes an InputError about the file.

    Args:
        path: the path of the file.
        what: is read, such as " as NIfTI".
        code: of the error.
    """
    try:
        yield
    except IsoclinicError:
        raise
    except DECODER_ERRORS as error:
        if isinstance(error, OSError) and error.strerror:  # from the system, not from a decoder
            raise InputError(f"{path} cannot be read: {error.strerror}", code=code) from error
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason.rpartition("ERROR: ")[2]  # ITK begins with places in its own code
        if len(reason) > _LONGEST_REASON:  # the cause comes last
            reason = f"... {reason[-_LONGEST_REASON:]}"
        raise InputError(
            f"{path} cannot be read{what}, it may be cut short or damaged: {reason}", code=code
        ) from error


@contextmanager
def of_kind(kind: str) -> Iterator[None]:
    """Give faults that the readers of CTs find in files of another kind the codes of that kind.

    X-rays and label maps are read with the same readers as CTs. A damaged X-ray is then `xray.unreadable` and
    not `ct.unreadable`.

    Args:
        kind: the first part of the codes, "xray" or "labels".
    """
    try:
        yield
    except IsoclinicError as error:
        code = re.sub(r"^ct\.", f"{kind}.", error.code)
        if code in CODES:
            error.code = code
        raise


def slabs_of(stored: NDArray[np.generic], slope: float, intercept: float) -> Iterator[NDArray[Any]]:
    """Rescaled values of [nx, ny, nz] in slabs along the last axis: int16 if that is exact, else float32."""
    exact = _whole_numbers(stored, slope, intercept)
    for first in range(0, stored.shape[-1], _SLAB):
        with np.errstate(over="ignore", invalid="ignore"):  # `compact` counts what is not finite
            slab: NDArray[Any] = stored[..., first : first + _SLAB].astype(np.int16 if exact else np.float32)
            if slope != 1:
                slab *= slab.dtype.type(slope)
            if intercept != 0:
                slab += slab.dtype.type(intercept)
        yield slab


def _whole_numbers(stored: NDArray[Any], slope: float, intercept: float) -> bool:
    """Tell whether int16 holds all rescaled values and both factors.

    What overflows on the way there returns into the range: integers are added and multiplied modulo 2^16.
    """
    if stored.dtype.kind not in "iu" or not (float(slope).is_integer() and float(intercept).is_integer()):
        return False
    ends = (int(end) * int(slope) + int(intercept) for end in (stored.min(), stored.max()))
    return all(_INT16.min <= each <= _INT16.max for each in (*ends, slope, intercept))


def compact(shape: tuple[int, int, int], slabs: Iterable[NDArray[Any]], path: Path) -> HuArray:
    """Gather slabs along the last axis: int16 if all values are whole numbers within its range, else float32.

    Values that are NaN or infinite stay, in float32.

    Raises:
        InputError: a single plane.
    """
    if min(shape) < 2:
        raise InputError(
            f"{path} is a single image of {' x '.join(map(str, shape))} pixels, not a CT volume; an X-ray is "
            "given as the X-ray, not as the volume",
            code="ct.not-a-volume",
        )
    values: HuArray = np.empty(shape, dtype=np.int16)
    first = 0
    for slab in slabs:
        if values.dtype == np.int16 and slab.dtype != np.int16 and not fits_int16(slab):
            values = values.astype(np.float32)
        last = first + slab.shape[-1]
        values[..., first:last] = slab
        first = last
    return values


def check_affine(affine: NDArray[np.float64], source: str | Path) -> None:
    """Raise InputError unless the affine [4, 4] is finite, homogeneous and invertible."""
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        raise InputError(
            f"the affine of {source} must be a finite 4x4 matrix, not\n{affine}", code="ct.malformed-header"
        )
    if not np.array_equal(affine[3], [0, 0, 0, 1]):
        raise InputError(
            f"the last row of the affine of {source} must be (0, 0, 0, 1), not {affine[3]}",
            code="ct.malformed-header",
        )
    # The determinant over the product of the axes' lengths does not depend on the unit of length.
    largest = np.abs(affine[:3, :3]).max(axis=0)  # beforehand: squares of absurd lengths overflow
    unit = affine[:3, :3] / np.where(largest > 0, largest, 1)
    lengths = np.linalg.norm(unit, axis=0)
    if lengths.min() == 0 or abs(np.linalg.det(unit / lengths)) < 1e-6:
        raise InputError(
            f"the affine of {source} is singular: two of its axes coincide or one has no length (a voxel "
            "spacing of 0?); export the volume again or correct its header",
            code="ct.malformed-header",
        )


def fits_int16(slab: HuArray) -> bool:
    """Tell whether all values are whole numbers within the range of int16."""
    return bool((slab == np.rint(slab)).all() and slab.min() >= _INT16.min and slab.max() <= _INT16.max)
