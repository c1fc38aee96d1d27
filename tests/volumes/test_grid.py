"""Rescaled voxels: what is exact in 16-bit integers gives the same as arithmetic in floating point."""

from pathlib import Path

import numpy as np
import pytest

from isoclinic.volumes._grid import compact, slabs_of

SHAPE = (5, 4, 37)  # more than one slab along the last axis, and a part of one


def _read(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    return compact(stored.shape, slabs_of(stored, slope, intercept), Path("ct.nii"))


@pytest.mark.parametrize(
    ("stored", "slope", "intercept", "whole"),
    [
        ("int16", 1, 0, True),
        ("int16", 1, -1024, True),
        (">i2", 1, -1024, True),
        ("uint16", 1, -1024, True),
        ("uint8", 3, -1000, True),
        ("int32", -1, 7, True),
        ("int64", 0, 40, True),
        # On the way 16 bits overflow, but the values fit.
        ("uint16", 1, -40000, True),
        ("uint16", 2, -32768, True),
        # Values that do not fit, and values that are not whole.
        ("int16", 40, 0, False),
        ("int16", 1, 32000, False),
        ("int16", 0.5, 0, False),
        ("uint8", 1, 0.25, False),
        # Whole numbers within the range that come out of fractions or floating point.
        ("int16", 0.5, 0.5, None),
        ("float32", 1, -1024, True),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_values_are_slope_times_stored_plus_intercept(stored, slope, intercept, whole, order):
    """The oracle is float64, in which all of these are exact."""
    dtype = np.dtype(stored)
    low = 0 if dtype.kind == "u" else -1000
    high = 255 if dtype.itemsize == 1 else 32000 if intercept == -32768 else 3000
    if intercept == -40000:
        low, high = 30000, 65535
    drawn = np.random.default_rng(0).integers(low, high, size=SHAPE, endpoint=True)
    drawn[0, 0, 0], drawn[-1, -1, -1] = low, high
    if whole is None:
        drawn = 2 * drawn + 1
    values = _read(np.asarray(drawn.astype(dtype), order=order), slope, intercept)
    assert np.array_equal(values, drawn.astype(np.float64) * slope + intercept)
    assert values.dtype == (np.float32 if whole is False else np.int16) and values.flags.c_contiguous


def test_the_ends_of_the_range_are_whole_numbers_still():
    stored = np.zeros(SHAPE, dtype=np.int32)
    stored[0, 0, 0], stored[1, 1, 20] = -32768 + 1024, 32767 + 1024
    assert _read(stored, 1, -1024).dtype == np.int16
    stored[1, 1, 20] += 1
    values = _read(stored, 1, -1024)
    assert values.dtype == np.float32 and values.max() == 32768
