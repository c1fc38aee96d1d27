"""X-rays in formats without X-ray geometry: PNG, TIFF and NIfTI."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import skimage.io
from numpy.typing import NDArray

from ._grid import decoding
from ._reading import grey_image


def read_image(path: Path, frame: int | None) -> NDArray[np.float32]:
    with decoding(path, " as an image"):
        pixels = skimage.io.imread(path)
    return grey_image(path, pixels, frame=frame)


def read_nifti_image(path: Path, frame: int | None) -> NDArray[np.float32]:
    with decoding(path, " as NIfTI"):
        pixels = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
    # NIfTI counts columns first; planes, if any, come last.
    return grey_image(path, pixels.squeeze().T, frame=frame)
