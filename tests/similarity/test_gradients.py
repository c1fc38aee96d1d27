"""Derivatives of images and the weights they count with."""

import numpy as np
import pytest
import torch

from isoclinic.similarity import gradient_weight


@pytest.mark.parametrize("shape", [(3, 3), (5, 7), (2, 6, 4), (2, 3, 8, 5)])
def test_a_derivative_counts_as_the_least_of_its_pixel_and_the_eight_around(shape):
    weight = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    least = gradient_weight(weight)
    assert least.shape == (*shape[:-2], shape[-2] - 2, shape[-1] - 2)
    for (*item, row, column), value in np.ndenumerate(least.numpy()):
        assert value == float(weight[(*item, slice(row, row + 3), slice(column, column + 3))].min())
