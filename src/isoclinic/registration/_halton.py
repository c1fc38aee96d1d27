"""Halton's sequence of points that fill a cube evenly, whatever their number.

`scipy.stats.qmc` has it, too, but takes a quarter of a second to import.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_PRIMES = (2, 3, 5, 7, 11, 13)


def halton(count: int, dimensions: int) -> NDArray[np.float64]:
    """The first points [count, dimensions] of the unscrambled sequence (Halton 1960) after the origin.

    Coordinate d of point n is the radical inverse of n + 1 in the d-th prime base: its digits, mirrored at
    the point.

    Args:
        count: number of points.
        dimensions: the number of dimensions of the cube, six at most.
    """
    points = np.zeros((count, dimensions))
    for base, column in zip(_PRIMES, points.T, strict=False):
        left, weight = np.arange(1, count + 1), 1 / base
        while left.any():
            left, digit = np.divmod(left, base)
            column += digit * weight
            weight /= base
    return points
