"""The sequence against SciPy's."""

import numpy as np
import pytest
from scipy.stats import qmc

from isoclinic.registration._halton import halton


@pytest.mark.parametrize(("count", "dimensions"), [(1, 1), (512, 4), (2048, 4), (64, 6)])
def test_it_is_scipys(count, dimensions):
    oracle = qmc.Halton(dimensions, scramble=False).random(count + 1)[1:]
    # Bit for bit: searches that were measured with the one have the same candidates with the other.
    np.testing.assert_array_equal(halton(count, dimensions), oracle)
