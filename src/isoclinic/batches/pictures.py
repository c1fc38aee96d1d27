"""Small pictures for the summary: the X-ray with the edges of the CT's bones at the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_dilation

from .._files import atomic
from ..results import Registered
from ..viewer._panels import window
from ..viewer.overlay import edges

# Longer side [px]: two of them beside each other fill a phone.
_LONGER_PX = 320
_EDGE_RGB = (255, 140, 0)
_QUALITY = 80


def write_thumbnail(path: Path, registered: Registered) -> None:
    """Write the picture of a registration as JPEG.

    Raises:
        InputError: the file cannot be written.
    """
    view = registered.pictures[0]
    image = _resized(view.image)
    seen = _resized(view.weight) > 0
    seen = seen if seen.any() else np.ones_like(seen)
    levels = window(image, seen)
    bone = _resized(view.result_bone)
    shown = np.rint(255 * levels)[..., None].repeat(3, axis=-1).astype(np.uint8)
    lines = edges(window(bone, np.ones_like(bone, dtype=bool))) & seen
    # Pages show pictures at half their size, where lines of one pixel would fade.
    shown[binary_dilation(lines, np.ones((2, 2)))] = _EDGE_RGB
    with atomic(path) as temporary:
        Image.fromarray(shown).save(temporary, format="jpeg", quality=_QUALITY, subsampling=0)


def _resized(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """An image [H, W] with a longer side of the thumbnail's."""
    height, width = image.shape
    factor = _LONGER_PX / max(height, width)
    size = max(1, round(factor * width)), max(1, round(factor * height))
    method = Image.Resampling.BOX if factor < 1 else Image.Resampling.BILINEAR
    resized: NDArray[np.float32] = np.asarray(
        Image.fromarray(np.ascontiguousarray(image, dtype=np.float32)).resize(size, method)
    )
    return resized
