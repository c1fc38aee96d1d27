"""The region of an image in which a structure shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import Camera
from ..volumes import Volume, mu_from_hu
from ._render import render
from .config import RenderConfig

_AIR_HU, _WATER_HU = -1000, 0


def structure_outline(
    volume: Volume, structure: int | str | Sequence[int | str], camera: Camera, camera_from_world: Any
) -> NDArray[np.bool_]:
    """Silhouette [H, W] of a structure: pixels whose ray passes through at least half a voxel of it.

    Whatever the structure is made of, it is rendered as if filled with one material.

    Args:
        volume: the CT with its label map.
        structure: label or name, or several that are taken together.
        camera: the camera of the image.
        camera_from_world: [4, 4], of the structure.

    Raises:
        InputError: a pose that is not rigid.
        UsageError: a volume without labels, an unknown structure, or one without voxels.
    """
    structures = (structure,) if isinstance(structure, int | str) else tuple(structure)
    crop = volume.crop_to_structures(structures, margin_mm=0.0)
    hu = np.where(crop.structure_mask(structures), _WATER_HU, _AIR_HU).astype(np.int16)
    filled = Volume(hu=hu, world_from_voxel=crop.world_from_voxel)
    image = render(filled, camera, camera_from_world, RenderConfig(method="siddon", voxel_mm="full"))[0]
    least = 0.5 * filled.spacing_mm.min() * float(mu_from_hu(np.array(_WATER_HU)))
    outline: NDArray[np.bool_] = (image > least).cpu().numpy()
    return outline
