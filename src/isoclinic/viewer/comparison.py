"""X-ray and rendering side by side before any registration: are these the same kind of picture?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..geometry import Camera, PatientSides
from ._panels import check_size, grey_to_rgb, window, write_panels

_MASK_COLOUR = (0.16, 0.32, 0.62)


def write_comparison(
    path: Path | str,
    *,
    images: dict[str, NDArray[np.floating]],
    weight: NDArray[np.floating],
    camera: Camera,
    sides: Mapping[str, PatientSides] | None = None,
    caption: str = "",
) -> None:
    """Write a PNG with images side by side; what is masked is tinted blue.

    Args:
        path: the file to write.
        images: [H, W] by title, bright where dense.
        weight: [H, W]; where it is zero the X-ray is not compared.
        camera: the camera of all images.
        sides: sides of the patient, to be marked in images of these titles.
        caption: text below the images.

    Raises:
        InputError: images of different sizes, or the file cannot be written.
    """
    check_size(camera, {**images, "weight map": weight})
    seen = weight > 0
    panels = {}
    for title, image in images.items():
        grey = grey_to_rgb(window(image, seen))
        panels[title] = np.where(seen[..., None], grey, 0.5 * grey + 0.5 * np.array(_MASK_COLOUR))
    write_panels(Path(path), panels, caption, sides)
