"""Geometry that may be corrected within bounds while a pose is found: how views lie, and intrinsics."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from ..geometry import Camera


def refined_camera(camera: Camera, values: Tensor) -> Camera:
    """A camera with other intrinsics, its pixels as large as before.

    Args:
        camera: the nominal one, at any resolution.
        values: [3]: logarithm of the focal length's factor, shift of the principal point along the camera's x
            and y on the detector [mm].
    """
    log_scale, right_mm, down_mm = values.tolist()
    scale = math.exp(log_scale)
    return replace(
        camera,
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=camera.cx + right_mm * camera.fx / camera.sdd_mm,
        cy=camera.cy + down_mm * camera.fy / camera.sdd_mm,
        sdd_mm=camera.sdd_mm * scale,
    )
