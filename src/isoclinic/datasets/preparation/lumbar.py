"""The lumbar spine of a CT: cropped, and denoised."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from ...volumes import Volume
from .config import LumbarConfig
from .originals import LUMBAR
from .vertebrae import crop_around, present

_AIR_HU = -1000
# The largest that is stable in three dimensions [voxel^2]: ITK's CurvatureFlowImageFilter.
_TIME_STEP = 0.0625


def extract_lumbar(volume: Volume, config: LumbarConfig) -> Volume:
    """The box around the lumbar vertebrae of a CT with vertebra labels, int16; labels stay as they are.

    Curvature flow: Sethian, "Level Set Methods and Fast Marching Methods", 1999; as ITK has it.
    """
    lumbar = present(volume, LUMBAR)
    spine = crop_around(volume, lumbar, config.margin_mm)
    hu = _denoised(spine, config.denoising_mm2)
    if config.vertebrae_only:
        hu[~spine.structure_mask(lumbar)] = _AIR_HU
    return replace(spine, hu=hu)


def _denoised(volume: Volume, duration_mm2: float) -> NDArray[np.int16]:
    """HU after curvature flow of that duration, whatever the voxel size."""
    values = volume.hu.astype(np.float32)
    if duration_mm2:
        steps = math.ceil(duration_mm2 / (_TIME_STEP * volume.spacing_mm.min() ** 2))
        image = sitk.GetImageFromArray(values)  # its axes are in reverse
        image.SetSpacing(volume.spacing_mm[::-1].tolist())
        flowed = sitk.CurvatureFlow(image, timeStep=duration_mm2 / steps, numberOfIterations=steps)
        values = sitk.GetArrayFromImage(flowed)
    limits = np.iinfo(np.int16)
    return np.clip(np.rint(values), limits.min, limits.max).astype(np.int16)
