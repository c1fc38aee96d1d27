"""From detector values to line integrals: the X-ray in the DRR's own terms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from .config import PreprocessConfig
from .masks import find_masks
from .polarity import Polarity
from .xray import XRay


def line_integrals(
    xray: XRay, config: PreprocessConfig | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image that grows with attenuation, as a DRR does, and how far to trust each pixel.

    What the X-ray excludes has no influence on the rest: the open beam is that of the other pixels, and
    masks are looked for as if the pixels around it continued there.

    Returns:
        [H, W] float32 image, 0 at the open beam. 'beer_lambert' gives line integrals in nats, up to the
        detector's tone curve and -log(floor) at most; 'log_ratio' 0 to 1; an image that is logarithmic
        already keeps its own unit. Pixels brighter than the open beam are slightly negative. Excluded pixels
        are cut to the range of the others.
        [H, W] float32 weight in 0..1: 0 on excluded pixels and on and near what does not show the patient
        (see `find_masks`).
    """
    config = config or PreprocessConfig()
    usable = xray.usable_pixels
    pixels = xray.pixels.clip(usable.min(), usable.max())
    if xray.pixel_scale == "log":
        sign = 1 if xray.polarity == "bright_air" else -1
        image = np.percentile(sign * usable, config.open_beam_percentile) - sign * pixels
    else:
        image = _attenuation(_intensity(pixels, xray.polarity), _intensity(usable, xray.polarity), config)
    image = image.astype(np.float32)
    if xray.excluded is None:
        return image, find_masks(pixels, image, config.masks).weight
    nearest = tuple(distance_transform_edt(xray.excluded, return_distances=False, return_indices=True))
    weight = find_masks(pixels[nearest], image[nearest], config.masks).weight
    return image, np.where(xray.excluded, np.float32(0), weight)


def _intensity(pixels: NDArray[np.float32], polarity: Polarity) -> NDArray[np.float32]:
    """Detector signal in arbitrary units, never negative; an inverted image is zero at its highest value."""
    if polarity == "dark_air":
        return pixels.max() - pixels
    return pixels - min(pixels.min(), np.float32(0))


def _attenuation(
    intensity: NDArray[np.float32], usable: NDArray[np.float32], config: PreprocessConfig
) -> NDArray[np.float32]:
    """Attenuation at intensities whose open beam is that of the `usable` ones [N]."""
    open_beam = np.float32(np.percentile(usable, config.open_beam_percentile))
    if open_beam <= 0:  # fewer bright pixels than the percentile leaves out
        open_beam = usable.max()
    if config.method == "log_ratio":
        brightest = usable.max()
        return 1 - np.log1p(intensity / brightest) / np.log1p(open_beam / brightest)
    return -np.log(np.maximum(intensity / open_beam, np.float32(config.floor)))
