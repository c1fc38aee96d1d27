"""The faces at which a CT ends although the patient continues, and the positions of its tissue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
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

# What lies on a face counts as the patient from this share of the largest piece: two legs do, a table
# does not.
_PIECE_SHARE = 0.2
# So far beyond what a face shows the patient may reach farther on [mm].
_MARGIN_MM = 10.0

_Key = tuple[int | str, ...] | None
_faces: WeakKeyDictionary[Volume, dict[_Key, tuple[OpenFace, ...]]] = WeakKeyDictionary()
_points: WeakKeyDictionary[Volume, dict[_Key, Tensor]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenFace:
    """A face of the CT's box at which the patient, or the bone, continues beyond the scan.

    Beyond it, tissue is expected in an octagonal prism around what the face shows. With a and b a point's
    voxel indices along the other two axes, times the spacing, it lies in there if a, b, a + b and a - b do.

    Attributes:
        axis: voxel axis to which the face is perpendicular.
        last: whether it is the face after the last voxel, not that before the first one.
        limits_mm: [4, 2], lowest and highest a, b, a + b and a - b; infinite where the patient goes on beyond
            a face across that axis, too.
    """

    axis: int
    last: bool
    limits_mm: NDArray[np.float64]


def open_faces(volume: Volume, structures: Structures | None = None) -> tuple[OpenFace, ...]:
    """Faces of the CT's box at which the patient, or the bone, goes on beyond the scan.

    What a ray meets there is unknown: the CT says nothing of it, least of all that it is air. The answer is
    kept while the volume lives.

    Args:
        volume: the CT.
        structures: labels or names of those that are registered alone; all tissue when None.

    Raises:
        UsageError: as for `Volume.structure_mask`.
    """
    kept = _faces.setdefault(volume, {})
    key = None if structures is None else tuple(structures)
    if key not in kept:
        tissue = tissue_mask(volume, structures)
        is_open = np.array([_open_ends(share) for share in _tissue_shares(tissue)])
        kept[key] = tuple(_faces_of(tissue, is_open, volume.spacing_mm))
    return kept[key]


def _faces_of(
    tissue: NDArray[np.bool_], is_open: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> Iterator[OpenFace]:
    for axis, end in np.argwhere(is_open):
        shown = _pieces(np.take(tissue, -int(end), axis=axis))
        first, second = sorted({0, 1, 2} - {int(axis)})
        a, b = (np.argwhere(shown) * (spacing_mm[first], spacing_mm[second])).T
        sums = np.stack([a, b, a + b, a - b])
        # Centres of voxels are known, whose corners lie up to a diagonal farther out.
        reach = _MARGIN_MM * np.array([1, 1, np.sqrt(2), np.sqrt(2)])
        low, high = sums.min(axis=1) - reach, sums.max(axis=1) + reach
        for bound, beyond, sign in ((low, 0, -np.inf), (high, 1, np.inf)):
            if is_open[first, beyond]:
                bound[[0, 2, 3]] = sign
            if is_open[second, beyond]:
                bound[[1, 2]] = sign
            if is_open[second, 1 - beyond]:
                bound[3] = sign
        yield OpenFace(axis=int(axis), last=bool(end), limits_mm=np.stack([low, high], axis=1))


def _pieces(shown: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return what lies on a face [a, b] without its small pieces."""
    labels, count = ndimage.label(shown)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    large: NDArray[np.bool_] = (sizes >= _PIECE_SHARE * sizes.max())[labels] & shown
    return large


def tissue_mask(volume: Volume, structures: Structures | None) -> NDArray[np.bool_]:
    """Voxels [nx, ny, nz] of a CT, or of some of its structures, that are not air."""
    return volume.hu > _TISSUE_HU if structures is None else volume.structure_mask(structures)


def _tissue_shares(tissue: NDArray[np.bool_]) -> Iterator[NDArray[np.float64]]:
    """For each of the three axes, the share of tissue in every layer of voxels across it."""
    # Along the first axis a sum is fast, and what is left after it is small.
    columns = tissue.view(np.uint8).sum(axis=0, dtype=np.uint32)
    counts = np.array([np.count_nonzero(layer) for layer in tissue]), columns.sum(axis=1), columns.sum(axis=0)
    for count in counts:
        yield count / (tissue.size // len(count))


def _open_ends(share: NDArray[np.float64]) -> tuple[bool, bool]:
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
    blocks = tissue
    # The first axis first: it is the fastest, and leaves little for the others.
    for axis, (count, side) in enumerate(zip(volume.shape, sides, strict=True)):
        blocks = np.logical_or.reduceat(blocks, np.arange(0, count, side), axis=axis)
    index = np.argwhere(blocks if blocks.any() else ~blocks)
    voxels = np.minimum((index + 0.5) * sides - 0.5, np.array(volume.shape) - 1)
    affine = volume.world_from_voxel
    return torch.from_numpy(voxels @ affine[:3, :3].T + affine[:3, 3])
