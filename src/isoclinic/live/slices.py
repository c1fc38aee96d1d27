"""Slices and projections of the CT, to mark landmarks in."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal, NamedTuple, get_args

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from ..volumes import Volume

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = get_args(Plane)
# The axis of the CT in RAS that a plane leaves out.
_ACROSS: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}
# Hounsfield units that become black and white: soft tissue can be told apart, and cortical bone is bright.
_WINDOW_HU = (-250.0, 1250.0)


class SliceImage(NamedTuple):
    """A picture of a plane.

    Attributes:
        image: [H, W] uint8.
        peaks: [H, W] index across the plane of the densest voxel, of a projection; None of a slice.
    """

    image: NDArray[np.uint8]
    peaks: NDArray[np.uint16] | None


class CTSlices:
    """A CT whose axes run to the right, to the front and to the head, cut along these.

    Pictures are shown as radiologists do: the patient's left on the right of axial and coronal planes, the
    front on top of axial and on the left of sagittal planes, the head up.

    Args:
        volume: the CT.
    """

    def __init__(self, volume: Volume) -> None:
        orientation = nib.io_orientation(volume.world_from_voxel)
        self._hu = nib.apply_orientation(volume.hu, orientation)
        turned = nib.orientations.inv_ornt_aff(orientation, volume.shape)
        self.world_from_index: NDArray[np.float64] = volume.world_from_voxel @ turned

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels to the right, to the front and to the head."""
        right, front, head = self._hu.shape
        return right, front, head

    @property
    def spacing_mm(self) -> list[float]:
        """Distance of neighbouring voxels along these axes [3] [mm]."""
        return [float(each) for each in np.linalg.norm(self.world_from_index[:3, :3], axis=0)]

    def slice(self, plane: str, index: int) -> SliceImage:
        """One slice.

        Raises:
            UsageError: there is none.
        """
        axis = _axis(plane)
        if not 0 <= index < self.shape[axis]:
            raise UsageError(f"the CT has no {plane} slice {index}", code="view.invalid-request")
        return SliceImage(_displayed(_tones(self._hu.take(index, axis=axis))), None)

    def projection(self, plane: str) -> SliceImage:
        """The densest voxel along each line across a plane.

        Raises:
            UsageError: there is no such plane.
        """
        _axis(plane)
        return self._projections[plane]

    def index_of(
        self, plane: str, pixel: tuple[float, ...], index: float | None
    ) -> tuple[float, float, float]:
        """Where a pixel of a picture is, as indices to the right, to the front and to the head.

        Args:
            plane: of the picture.
            pixel: (u, v) = (column, row) in it.
            index: of the slice; that of the densest voxel along the line when None.

        Raises:
            UsageError: it is outside of the CT.
        """
        axis = _axis(plane)
        along = [each for each in range(3) if each != axis]
        place = [0.0, 0.0, 0.0]
        for each, value in zip(along, pixel, strict=True):
            # Both axes of a picture fall.
            place[each] = self.shape[each] - 1 - value
            if not -0.5 <= place[each] <= self.shape[each] - 0.5:
                raise UsageError("the point is outside of the CT", code="view.invalid-request")
        if index is None:
            rows, columns = self.shape[along[1]], self.shape[along[0]]
            column, row = (
                min(max(round(value), 0), most - 1)
                for value, most in zip(pixel, (columns, rows), strict=True)
            )
            peaks = self.projection(plane).peaks
            assert peaks is not None
            index = float(peaks[row, column])
        if not 0 <= index < self.shape[axis]:
            raise UsageError("the point is outside of the CT", code="view.invalid-request")
        place[axis] = index
        right, front, head = place
        return right, front, head

    @cached_property
    def _projections(self) -> dict[str, SliceImage]:
        found: dict[str, SliceImage] = {}
        for plane, axis in _ACROSS.items():
            peaks = self._hu.argmax(axis=axis)
            densest = np.take_along_axis(self._hu, np.expand_dims(peaks, axis), axis).squeeze(axis)
            found[plane] = SliceImage(_displayed(_tones(densest)), _displayed(peaks.astype(np.uint16)))
        return found


def _axis(plane: str) -> int:
    if plane not in PLANES:
        raise UsageError(
            f"a plane is one of {', '.join(PLANES)}, not {plane!r:.40}", code="view.invalid-request"
        )
    return _ACROSS[PLANES[PLANES.index(plane)]]


def _tones(hu: NDArray[np.generic]) -> NDArray[np.uint8]:
    low, high = _WINDOW_HU
    return np.rint(255 * np.clip((hu.astype(np.float32) - low) / (high - low), 0, 1)).astype(np.uint8)


def _displayed(plane: NDArray[Any]) -> NDArray[Any]:
    """Columns by the first axis and rows by the second, both falling."""
    return np.ascontiguousarray(plane.T[::-1, ::-1])
