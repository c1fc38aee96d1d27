"""Masks of single structures gathered into one label map."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._grid import LabelArray
from ._warnings import warn_geometry

_SHOWN = 5


class Layers:
    """A label map that structures are laid into one by one; of two that overlap, the first keeps the voxel.

    Args:
        shape: the shape of the label map, (nx, ny, nz).
        source: file or folder that the structures come from, for messages.
    """

    def __init__(self, shape: tuple[int, int, int], source: Any) -> None:
        self.labels: LabelArray = np.zeros(shape, dtype=np.uint8)
        self.names: dict[int, str] = {}
        self._source = source
        self._voxels: dict[int, int] = {}
        self._hidden: dict[int, int] = {}

    def add(self, label: int, name: str, mask: NDArray[np.bool_], window: Any = ...) -> None:
        """Lay a mask into a part of the label map; a structure may be laid in pieces.

        Args:
            label: number of the structure, from 1 to 65535.
            name: the name of the structure.
            mask: where it is.
            window: index of that part of the label map; all of it by default.
        """
        if not 0 < label <= 65535:
            raise InputError(
                f"{self._source} numbers {name!r} {label}; labels run from 1 to 65535",
                code="labels.invalid-value",
            )
        if label > np.iinfo(self.labels.dtype).max:
            self.labels = self.labels.astype(np.uint16)
        self.names[label] = name
        part = self.labels[window]
        taken = mask & (part != 0) & (part != label)
        part[mask & (part == 0)] = label
        self._voxels[label] = self._voxels.get(label, 0) + int(np.count_nonzero(mask))
        self._hidden[label] = self._hidden.get(label, 0) + int(np.count_nonzero(taken))

    def finish(self) -> None:
        """Say what the structures have lost to each other, and which are empty.

        Raises:
            InputError: a structure lies wholly within those before it.

        Warns:
            GeometryWarning: structures that overlap, or that have no voxel.
        """
        covered = [self.names[k] for k, n in self._hidden.items() if n and n == self._voxels[k]]
        if covered:
            raise InputError(
                f"{self._source}: {listed(covered)} would be lost, because other structures cover all of it,"
                " and a voxel has one label; take out those that contain others, or give them in separate "
                "label maps",
                code="labels.structure-lost",
            )
        overlapping = [
            f"{self.names[k]} (by {100 * n / self._voxels[k]:.2g} %)" for k, n in self._hidden.items() if n
        ]
        if overlapping:
            warn_geometry(
                f"{self._source}: structures overlap, and a voxel has one label: the first structure keeps "
                f"it, so these become smaller: {listed(overlapping)}"
            )
        empty = [self.names[k] for k, n in self._voxels.items() if not n]
        if empty and len(empty) < len(self._voxels):
            warn_geometry(
                f"{self._source}: {len(empty)} of {len(self._voxels)} structures are empty: {listed(empty)}"
            )


def listed(names: list[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
