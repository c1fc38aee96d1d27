"""Where a CT ends although the patient goes on, and where its tissue lies."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .volume import Structures, Volume

_TISSUE_HU = -300  # The value lies well above air, lung and foam, and below fat.
# A face is open if it cuts this share of the tissue that an average slice parallel to it shows. The faces of
# scans that end within the patient cut about as much as the slices beside them; skin that touches the border,
# the table or noise cut a few per cent.
_OPEN_SHARE = 0.2
# A face shows less tissue than this share of its area only where it cuts nothing that matters.
_LEAST_AREA = 1e-3
# Blocks of voxels per axis, at most, that tell where the tissue lies.
_BLOCKS = 24

_Key = tuple[int | str, ...] | None
_faces: WeakKeyDictionary[Volume, dict[_Key, NDArray[np.bool_]]] = WeakKeyDictionary()
_points: WeakKeyDictionary[Volume, dict[_Key, Tensor]] = WeakKeyDictionary()


def open_faces(volume: Volume, structures: Structures | None = None) -> NDArray[np.bool_]:
    """Faces of the CT's box at which the patient, or the bone, goes on beyond the scan.

    What a ray meets after it has crossed such a face is unknown: the CT says nothing of it, least of all that
    it is air. The answer is kept while the volume lives.

    Args:
        volume: the CT.
        structures: labels or names of those that are registered alone; all tissue when None.

    Returns:
        [3, 2] bool: for every voxel axis its first and its last face.

    Raises:
        UsageError: as for `Volume.structure_mask`.
    """
    kept = _faces.setdefault(volume, {})
    key = None if structures is None else tuple(structures)
    if key not in kept:
        tissue = tissue_mask(volume, structures)
        kept[key] = np.array([_open_ends(tissue, axis) for axis in range(3)])
    return kept[key]


def tissue_mask(volume: Volume, structures: Structures | None) -> NDArray[np.bool_]:
    """Voxels [nx, ny, nz] of a CT, or of some of its structures, that are not air."""
    return volume.hu > _TISSUE_HU if structures is None else volume.structure_mask(structures)


def _open_ends(tissue: NDArray[np.bool_], axis: int) -> tuple[bool, bool]:
    share = tissue.mean(axis=tuple({0, 1, 2} - {axis}))
    shown = share[share > _LEAST_AREA]
    if not len(shown):
        return False, False
    least = max(_OPEN_SHARE * float(shown.mean()), _LEAST_AREA)
    return bool(share[0] >= least), bool(share[-1] >= least)


def tissue_points(volume: Volume, structures: Structures | None = None) -> Tensor:
    """Centres of blocks of voxels that hold tissue, for knowing where a pose puts the model in the image.

    The answer is kept while the volume lives.

    Args:
        volume: the CT.
        structures: labels or names of those that count; all tissue when None.

    Returns:
        [N, 3] world [mm], float64; the corners of the box where there is no tissue at all.

    Raises:
        UsageError: as for `Volume.structure_mask`.
    """
    key = None if structures is None else tuple(structures)
    kept = _points.setdefault(volume, {})
    if key not in kept:
        kept[key] = _tissue_points(volume, structures)
    return kept[key]


def _tissue_points(volume: Volume, structures: Structures | None) -> Tensor:
    tissue = tissue_mask(volume, structures)
    sides = [-(-count // _BLOCKS) for count in volume.shape]
    padded = np.pad(tissue, [(0, -count % side) for count, side in zip(volume.shape, sides, strict=True)])
    x, y, z = (count // side for count, side in zip(padded.shape, sides, strict=True))
    blocks = padded.reshape(x, sides[0], y, sides[1], z, sides[2]).any(axis=(1, 3, 5))
    index = np.argwhere(blocks if blocks.any() else ~blocks)
    voxels = np.minimum((index + 0.5) * sides - 0.5, np.array(volume.shape) - 1)
    affine = volume.world_from_voxel
    return torch.from_numpy(voxels @ affine[:3, :3].T + affine[:3, 3])
