"""From detector values to line integrals: the X-ray in the DRR's own terms."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .masks import MaskConfig, find_masks
from .xray import XRay


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """How an X-ray becomes an image of line integrals.

    Attributes:
        method: 'beer_lambert' for -log(I / I0); 'log_ratio' for 1 - log(1 + I) / log(1 + I0) of intensities
            normalised to their maximum, which compresses dark areas less. Images that are logarithmic
            already are only inverted where needed.
        floor: intensities below this share of the open beam count as this share: what arrives there is
            scatter and noise.
        open_beam_percentile: percentile of the pixels taken for the open beam I0; below 100 so that hot
            pixels do not set it.
        masks: how parts that do not show the patient are found.

    Raises:
        UsageError: a floor outside 0 to 1 or a percentile outside 0 to 100, bounds excluded at 0.
    """

    method: Literal["beer_lambert", "log_ratio"] = "beer_lambert"
    floor: float = 1e-3
    open_beam_percentile: float = 99.9
    masks: MaskConfig = field(default_factory=MaskConfig)

    def __post_init__(self) -> None:
        if not 0 < self.floor < 1:
            raise UsageError(f"floor must lie between 0 and 1, not {self.floor}")
        if not 0 < self.open_beam_percentile <= 100:
            raise UsageError(f"open_beam_percentile must lie in (0, 100], not {self.open_beam_percentile}")


def line_integrals(
    xray: XRay, config: PreprocessConfig | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Image that grows with attenuation, as a DRR does, and how far to trust each pixel.

    Returns:
        [H, W] float32 image, 0 at the open beam. 'beer_lambert' gives line integrals in nats, up to the
        detector's tone curve and -log(floor) at most; 'log_ratio' 0 to 1; an image that is logarithmic
        already keeps its own unit. Pixels brighter than the open beam are slightly negative.
        [H, W] float32 weight in 0..1: 0 on and near what does not show the patient (see `find_masks`).
    """
    config = config or PreprocessConfig()
    if xray.pixel_scale == "log":
        bright = xray.pixels if xray.polarity == "bright_air" else -xray.pixels
        image = np.percentile(bright, config.open_beam_percentile) - bright
    else:
        image = _attenuation(_intensity(xray), config)
    image = image.astype(np.float32)
    return image, find_masks(xray.pixels, image, config.masks).weight


def _intensity(xray: XRay) -> NDArray[np.float32]:
    """Detector signal in arbitrary units, never negative; an inverted image is zero at its highest value."""
    if xray.polarity == "dark_air":
        return xray.pixels.max() - xray.pixels
    return xray.pixels - min(xray.pixels.min(), np.float32(0))


def _attenuation(intensity: NDArray[np.float32], config: PreprocessConfig) -> NDArray[np.float32]:
    open_beam = np.float32(np.percentile(intensity, config.open_beam_percentile))
    if open_beam <= 0:  # fewer bright pixels than the percentile leaves out
        open_beam = intensity.max()
    if config.method == "log_ratio":
        brightest = intensity.max()
        return 1 - np.log1p(intensity / brightest) / np.log1p(open_beam / brightest)
    return -np.log(np.maximum(intensity / open_beam, np.float32(config.floor)))
