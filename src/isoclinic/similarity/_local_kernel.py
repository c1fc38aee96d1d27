"""`local_standardization.standardize` on processor threads: one pass of running window sums."""

from __future__ import annotations

import math

import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

from .local_standardization import LEAST_MASS, weighted_mean

_F = np.float32
# Rows a task walks down; each task starts its running sums anew, which bounds their rounding as well.
_ROWS = 32


@njit(parallel=True, fastmath=True, error_model="numpy", boundscheck=False, cache=True)
def _standardize(image, jacobian, weight, radius, floor, offset, x, dx):
    batch, height, width = image.shape
    parameters = jacobian.shape[1]
    channels = 3 + 2 * parameters
    chunks = (height + _ROWS - 1) // _ROWS
    for task in prange(batch * chunks):
        item = task // chunks
        own = item % weight.shape[0]
        top = (task % chunks) * _ROWS
        bottom = min(height, top + _ROWS)
        centre = _F(offset[item])
        columns = np.zeros((channels, width), dtype=np.float32)
        window = np.zeros((channels, width), dtype=np.float32)
        for v in range(max(0, top - radius), min(height, top + radius)):
            _add_row(columns, image[item, v], jacobian[item, :, v], weight[own, v], centre, _F(1))
        for v in range(top, bottom):
            if v + radius < height:
                row = v + radius
                _add_row(columns, image[item, row], jacobian[item, :, row], weight[own, row], centre, _F(1))
            if v - radius - 1 >= max(0, top - radius):
                row = v - radius - 1
                _add_row(columns, image[item, row], jacobian[item, :, row], weight[own, row], centre, _F(-1))
            for c in range(channels):
                total = _F(0)
                for u in range(min(radius, width)):
                    total += columns[c, u]
                for u in range(width):
                    if u + radius < width:
                        total += columns[c, u + radius]
                    if u - radius - 1 >= 0:
                        total -= columns[c, u - radius - 1]
                    window[c, u] = total
            for u in range(width):
                mass = window[0, u]
                share = _F(1) / mass if mass > _F(LEAST_MASS) else _F(0)
                mean = window[1, u] * share
                variance = max(window[2, u] * share - mean * mean, _F(0)) + floor * floor
                per_deviation = _F(1) / _F(math.sqrt(variance)) if share > _F(0) else _F(0)
                value = (image[item, v, u] - centre - mean) * per_deviation
                x[item, v, u] = value
                window[0, u] = share
                window[1, u] = mean
                window[2, u] = per_deviation
            for p in range(parameters):
                for u in range(width):
                    share = window[0, u]
                    per_deviation = window[2, u]
                    mean_change = window[3 + 2 * p, u] * share
                    covariance = window[4 + 2 * p, u] * share - window[1, u] * mean_change
                    change = jacobian[item, p, v, u] - mean_change
                    change -= x[item, v, u] * covariance * per_deviation
                    dx[item, p, v, u] = change * per_deviation


@njit(fastmath=True, error_model="numpy", boundscheck=False)
def _add_row(columns, image, jacobian, weight, centre, sign):
    for u in range(image.shape[0]):
        w = sign * weight[u]
        value = image[u] - centre
        columns[0, u] += w
        columns[1, u] += w * value
        columns[2, u] += w * value * value
    for p in range(jacobian.shape[0]):
        for u in range(image.shape[0]):
            change = sign * weight[u] * jacobian[p, u]
            columns[3 + 2 * p, u] += change
            columns[4 + 2 * p, u] += change * (image[u] - centre)


def standardize(
    image: Tensor, jacobian: Tensor, weight: Tensor, *, radius: int, floor: float
) -> tuple[Tensor, Tensor]:
    """Same signature and result as the reference; float32, on the CPU, not differentiable."""
    weight = weight if weight.ndim == 3 else weight[None]
    image, jacobian, weight = (t.detach().to(torch.float32).contiguous() for t in (image, jacobian, weight))
    x, dx = torch.empty_like(image), torch.empty_like(jacobian)
    _standardize(
        image.numpy(),
        jacobian.numpy(),
        weight.numpy(),
        radius,
        _F(floor),
        weighted_mean(image, weight).numpy(),
        x.numpy(),
        dx.numpy(),
    )
    return x, dx
