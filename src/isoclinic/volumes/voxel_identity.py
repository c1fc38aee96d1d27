"""Which CT a volume is, whatever file it came from: its Hounsfield units and where they lie."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import nibabel as nib
import numpy as np

from .volume import Volume

Rows = tuple[tuple[float, ...], ...]

# Farther than this no corner of a grid is moved by a file format's digits [mm].
_ROUNDING_MM = 0.05
# Voxels of one CT differ, a label map's do not: so many values at most, none of them negative.
_LABELS_AT_MOST = 256

_known: WeakKeyDictionary[Volume, VoxelIdentity] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class VoxelIdentity:
    """A CT's voxels.

    Two files of one CT have the same: DICOM and NIfTI, whichever way their axes run, compressed or not.

    Attributes:
        sha256: digest of the Hounsfield units, rounded to whole ones, with axes nearest to R, A and S.
        world_from_voxel: affine of the grid in that order, 4x4 rows.
    """

    sha256: str
    world_from_voxel: Rows

    @classmethod
    def of(cls, volume: Volume) -> VoxelIdentity:
        """Of a volume; kept while that lives."""
        if volume not in _known:
            _known[volume] = cls._of(volume)
        return _known[volume]

    @classmethod
    def _of(cls, volume: Volume) -> VoxelIdentity:
        turns = nib.io_orientation(volume.world_from_voxel)
        hu = nib.apply_orientation(volume.hu, turns)
        affine = volume.world_from_voxel @ nib.orientations.inv_ornt_aff(turns, volume.shape)
        digest = hashlib.sha256(str(hu.shape).encode())
        for plane in hu:
            digest.update(np.rint(plane).astype("<i4").tobytes())
        return cls(sha256=digest.hexdigest(), world_from_voxel=tuple(map(tuple, affine.tolist())))

    def same_as(self, other: VoxelIdentity, shape: tuple[int, int, int]) -> bool:
        """Whether both are one CT, where one was, of a grid of `shape` in any order of its axes."""
        corner = np.array([max(shape)] * 3 + [1.0])
        first, second = (np.array(each.world_from_voxel) @ np.diag(corner) for each in (self, other))
        return self.sha256 == other.sha256 and bool(np.abs(first - second).max() < _ROUNDING_MM)


def looks_like_labels(volume: Volume) -> bool:
    """Whether values are those of a label map: few, whole and never negative, as no CT with air in it has."""
    hu = volume.hu
    if hu.min() < 0 or len(np.unique(hu[:: max(1, len(hu) // 16)])) > _LABELS_AT_MOST:
        return False
    values = np.unique(hu)
    return len(values) <= _LABELS_AT_MOST and bool((values == np.rint(values)).all())
