"""The packing of whole numbers on a processor: one pass that looks attenuation up instead of computing it."""

from __future__ import annotations

import numpy as np
from numba import njit

_F = np.float32
# The table's entry of 0 HU.
_ZERO_HU = 32768


# No fastmath: sums are taken in the order in which numpy takes them.
@njit(error_model="numpy", boundscheck=False, cache=True)
def pack_whole_numbers(hu, table, factors, scale, words):
    """Average blocks of voxels, quantise the means, and write each with its neighbour into a word.

    Args:
        hu: [nx, ny, nz], int16.
        table: [65536] float32, attenuation of -32768 HU, -32767 HU and so on [1/mm].
        factors: (3,) block size per axis [voxels].
        scale: float32, attenuation of one stored unit [1/mm].
        words: [sx + 2, sy + 2, at least sz + 2], uint32, all zero; written but for the border and what is
            beyond it.
    """
    count_x, count_y, count_z = hu.shape
    high, wide, deep = factors
    last = (count_z + deep - 1) // deep
    line = np.empty(count_z, dtype=np.float32)
    block = np.empty(last, dtype=np.float32)
    # One more than there are blocks, for the neighbour of the last one, which is empty.
    stored = np.zeros(last + 1, dtype=np.int32)
    for i in range(words.shape[0] - 2):
        for j in range(words.shape[1] - 2):
            block[:] = _F(0)
            for y in range(j * wide, min(count_y, (j + 1) * wide)):
                line[:] = _F(0)
                for x in range(i * high, min(count_x, (i + 1) * high)):
                    for z in range(count_z):
                        line[z] += table[np.int32(hu[x, y, z]) + _ZERO_HU]
                if high > 1:
                    for z in range(count_z):
                        line[z] /= _F(high)
                if deep == 1:
                    for k in range(last):
                        block[k] += line[k]
                else:
                    for k in range(last):
                        total = _F(0)
                        for z in range(k * deep, min(count_z, (k + 1) * deep)):
                            total += line[z]
                        block[k] += total
            if wide * deep > 1:
                for k in range(last):
                    block[k] /= _F(wide * deep)
            for k in range(last):
                stored[k] = np.int32(np.rint(block[k] / scale))
            row = words[i + 1, j + 1]
            row[0] = stored[0] << 16
            for k in range(last):
                row[k + 1] = stored[k] | (stored[k + 1] << 16)
