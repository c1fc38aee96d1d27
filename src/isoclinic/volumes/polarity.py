"""The polarity of an X-ray, bright or dark air, if its file does not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Polarity = Literal["bright_air", "dark_air"]

_WORKING_SIZE_PX = 256  # of the blocks on which thin lines are looked for
_LINE_PX = 2.0  # half the width of a line
_AROUND_PX = 16.0  # how far the contrast reaches to which a line's is compared
_TRUNCATED = 4.0  # Gaussians end at so many standard deviations
_FAINT = 1e-3  # curvature of ranks [1/px^2] below which there is nothing but rounding
_LEAST_LINES = 0.01  # strength that smooth images have without any line
_STRONG_LINES = 4  # power with which the contrast of a line counts


@dataclass(frozen=True, kw_only=True)
class PolarityGuess:
    """What an image's statistics say.

    Attributes:
        polarity: the likelier one.
        agreed: whether where it is bright and what its thin lines are say the same. Where they do not, as in
            images without any air beside the patient, it may well be wrong.
    """

    polarity: Polarity
    agreed: bool


def polarity_from_statistics(
    pixels: NDArray[np.float32], excluded: NDArray[np.bool_] | None = None
) -> PolarityGuess:
    """Guess whether the open beam is bright.

    Two independent signs, each positive for bright air, are added. The patient is in the middle, so that
    the rim is brighter, and intensities fall off exponentially with thickness, which gives them a long tail
    towards air. And thin lines are dense: rims of bones, wires, fissures; air is not drawn in lines.

    Args:
        pixels: [H, W].
        excluded: [H, W], pixels that say nothing.
    """
    usable = np.ones(pixels.shape, dtype=bool) if excluded is None else ~excluded
    brightness, lines = _brightness(pixels, usable), _dark_lines(pixels, usable)
    return PolarityGuess(
        polarity="bright_air" if brightness + lines >= 0 else "dark_air", agreed=brightness * lines > 0
    )


def _brightness(pixels: NDArray[np.float32], usable: NDArray[np.bool_]) -> float:
    """Compute by which share of the range the rim exceeds the middle, and the mean the median."""
    lowest, highest = np.percentile(pixels[usable], (1, 99))
    unit = np.clip((pixels - lowest) / max(float(highest - lowest), 1e-12), 0, 1)
    inside = (unit > 0) & (unit < 1) & usable
    height, width = pixels.shape
    middle = np.zeros_like(inside)
    middle[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    if not (inside & middle).any() or not (inside & ~middle).any():
        return 0.0
    values = unit[inside]
    rim_over_middle = float(np.median(unit[inside & ~middle]) - np.median(unit[inside & middle]))
    return rim_over_middle + 2 * float(values.mean() - np.median(values))


def _dark_lines(pixels: NDArray[np.float32], usable: NDArray[np.bool_]) -> float:
    """Strength of dark lines less that of bright ones over their sum, -1 to 1.

    Lines are found by the eigenvalues of the Hessian (Frangi et al. 1998, MICCAI, LNCS 1496:130) of the
    pixels' ranks, which no tone curve changes.
    """
    factor = max(1, round(max(pixels.shape) / _WORKING_SIZE_PX))
    height, width = (size // factor for size in pixels.shape)

    def blocks(image: NDArray[np.generic]) -> NDArray[np.float64]:
        kept = image[: height * factor, : width * factor].reshape(height, factor, width, factor)
        means: NDArray[np.float64] = kept.mean(axis=(1, 3), dtype=np.float64)
        return means

    image, usable = blocks(pixels), blocks(usable) == 1
    if not usable.any():
        return 0.0
    lowest, highest = np.percentile(image[usable], (1, 99))
    inside = usable & (image > lowest) & (image < highest)
    inside = ndimage.binary_erosion(inside, iterations=round(3 * _LINE_PX))
    if not inside.any():
        return 0.0
    ranks = _ranks(image.clip(lowest, highest)) / image.size
    down, across, mixed = (
        ndimage.gaussian_filter(ranks, _LINE_PX, order=order, truncate=_TRUNCATED)
        for order in ((2, 0), (0, 2), (1, 1))
    )
    mean, radius = (down + across) / 2, np.hypot((down - across) / 2, mixed)
    low, high = mean - radius, mean + radius
    contrast = np.sqrt(ndimage.gaussian_filter(low**2 + high**2, _AROUND_PX)) + _FAINT
    dark = np.maximum(high - np.abs(low), 0) / contrast
    bright = np.maximum(-low - np.abs(high), 0) / contrast
    strengths = [float((lines[inside] ** _STRONG_LINES).mean()) for lines in (dark, bright)]
    return (strengths[0] - strengths[1]) / (sum(strengths) + _LEAST_LINES)


def _ranks(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rank of every pixel among all, from 1; equal ones share the mean of theirs.

    As `scipy.stats.rankdata`, which takes half a second to import.
    """
    _, place, counts = np.unique(image, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(counts) - (counts - 1) / 2
    return mean_ranks[place].reshape(image.shape)
