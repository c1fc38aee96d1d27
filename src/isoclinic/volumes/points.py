"""Points of a CT to measure errors at, where nobody has marked any."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError, UsageError
from .volume import Structures, Volume

_BONE_HU = (300, 1800)  # above most contrast-filled vessels and below metal
_TISSUE_HU = -300  # well above air, lung and foam, below fat
_SAMPLE = 100_000


def bone_points(volume: Volume, count: int, *, generator: np.random.Generator) -> Tensor:
    """Centres of voxels drawn at random from the bones, world [count, 3] [mm], float64.

    Raises:
        InputError: the CT shows less bone than that.
    """
    low, high = _BONE_HU
    bone = np.flatnonzero((volume.hu >= low) & (volume.hu <= high))
    if len(bone) < count:
        raise InputError(
            f"the CT has {len(bone)} voxels of bone ({low} to {high} HU), fewer than {count} landmarks",
            code="ct.no-bone",
        )
    return _centres(volume, generator.choice(bone, count, replace=False))


def target_points(
    volume: Volume, count: int, structures: Structures | None = None, *, generator: np.random.Generator
) -> Tensor:
    """Draw points where the error of a pose matters: bone, else any tissue; world [count, 3] [mm], float64.

    They are drawn from a sample of the voxels, which takes a millisecond whatever the size of the CT.

    Args:
        volume: the CT.
        count: how many.
        structures: draw from these alone.
        generator: draws.

    Raises:
        UsageError: as for `Volume.structure_mask`, structures without any voxel, or more than 100,000 points.
    """
    if count > _SAMPLE:
        raise UsageError(
            f"errors are expected at {_SAMPLE} points at most, not {count}", code="ct.invalid-value"
        )
    if structures is None:
        sample = generator.integers(volume.hu.size, size=_SAMPLE)
    else:
        inside = np.flatnonzero(volume.structure_mask(structures))
        if not len(inside):
            raise UsageError(
                f"the label map has no voxel of {', '.join(map(str, structures))}",
                code="labels.structure-missing",
            )
        sample = generator.choice(inside, size=_SAMPLE)
    hu = volume.hu.reshape(-1)[sample]
    low, high = _BONE_HU
    kinds = (sample[(hu >= low) & (hu <= high)], sample[hu >= _TISSUE_HU], sample)
    return _centres(volume, next(voxels for voxels in kinds if len(voxels) >= count)[:count])


def _centres(volume: Volume, flat_index: NDArray[np.int64]) -> Tensor:
    voxels = np.stack(np.unravel_index(flat_index, volume.shape), axis=1)
    affine = volume.world_from_voxel
    return torch.from_numpy(voxels @ affine[:3, :3].T + affine[:3, 3])
