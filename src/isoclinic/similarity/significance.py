"""How far a correlation of two images is beyond chance, given that neighbouring pixels are alike.

Two smooth images correlate by chance: what counts is not how many pixels they have but how many of them are
independent. Clifford, Richardson & Hémon (Biometrics 45, 1989) and Dutilleul (Biometrics 49, 1993) give the
variance of the correlation of two unrelated fields from their autocorrelations; its inverse is the number of
independent pixels that would vary as much.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Shifts at which fewer of the pixel pairs overlap say too little of the autocorrelation.
_LEAST_OVERLAP = 0.05
# A correlation of 1 is infinitely far beyond chance.
_LARGEST_CORRELATION = 1 - 1e-6


def effective_samples(first: Tensor, second: Tensor, weight: Tensor) -> float:
    """Number of independent pixels whose correlation would scatter as that of two unrelated images.

    It is F h w over the sum, over all shifts, of the product of the two autocorrelations, each shift counted
    as often as two pixels of the picture have it.

    Args:
        first: [F, h, w] of F features, such as the two derivatives of an image; each has the mean 0.
        second: the same of the other image.
        weight: [h, w] of the pixels, in 0..1.

    Returns:
        The number, from 0, where an image is flat or no pixel has a weight, to F h w.
    """
    weight = weight.double()
    pairs = _by_shift(weight)
    # The variance of an average of independent pixels is that of one over this.
    independent = float(weight.sum()) ** 2 / max(float(weight.square().sum()), 1e-12)
    correlations = torch.ones_like(pairs)
    for features in (first, second):
        # The features of one image are pooled, as they vary over the picture in the same way.
        covariance = torch.stack([_by_shift(weight * each.double()) for each in features]).mean(dim=0)
        variance = float(covariance[0, 0] / pairs[0, 0].clamp(min=1e-12))
        if not variance > 0:
            return 0.0
        correlations = correlations * covariance / pairs.clamp(min=1e-12) / variance
    share = pairs / pairs[0, 0]
    alike = float((share * correlations)[share > _LEAST_OVERLAP].sum())
    # Images that alternate from pixel to pixel scatter less than independent pixels; they get no credit.
    return len(first) * independent / max(alike, 1.0)


def deviations_from_chance(correlation: float, samples: float) -> float:
    """How many standard deviations of chance a correlation of that many independent pixels is above 0.

    This is Fisher's transform (Biometrika 10, 1915), whose standard deviation is 1 / sqrt(samples - 3).
    """
    bounded = min(max(correlation, -_LARGEST_CORRELATION), _LARGEST_CORRELATION)
    return math.atanh(bounded) * math.sqrt(max(samples - 3, 0.0))


def _by_shift(image: Tensor) -> Tensor:
    """Sum of the products of an image [h, w] with itself, by the shift between the two [2 h, 2 w]."""
    height, width = image.shape
    spectrum = torch.fft.rfft2(image, s=(2 * height, 2 * width))
    return torch.fft.irfft2(spectrum.abs().square(), s=(2 * height, 2 * width))
