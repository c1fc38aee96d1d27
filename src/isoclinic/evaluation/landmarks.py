"""Points of a CT to measure errors at, where nobody has marked any."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from ..volumes import Volume

_BONE_HU = (300, 1800)  # above most contrast-filled vessels and below metal


def bone_points(volume: Volume, count: int, *, generator: np.random.Generator) -> Tensor:
    """Centres of voxels drawn at random from the bones, world [count, 3] [mm], float64.

    Raises:
        InputError: the CT shows less bone than that.
    """
    low, high = _BONE_HU
    bone = np.flatnonzero((volume.hu >= low) & (volume.hu <= high))
    if len(bone) < count:
        raise InputError(
            f"the CT has {len(bone)} voxels of bone ({low} to {high} HU), fewer than {count} landmarks"
        )
    chosen = generator.choice(bone, count, replace=False)
    voxels = np.stack(np.unravel_index(chosen, volume.shape), axis=1)
    affine = volume.world_from_voxel
    return torch.from_numpy(voxels @ affine[:3, :3].T + affine[:3, 3])
