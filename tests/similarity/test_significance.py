"""How far a correlation is beyond chance, against the scatter of correlations of unrelated images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from isoclinic.similarity.significance import deviations_from_chance, effective_samples

SIZE = 48


def fields(count: int, smooth_px: float, seed: int, features: int = 1) -> Tensor:
    """Unrelated fields [count, features, h, w] with the mean 0 and about the variance 1."""
    noise = np.random.default_rng(seed).normal(size=(count, features, SIZE, SIZE))
    smooth = gaussian_filter(noise, (0, 0, smooth_px, smooth_px), mode="wrap") if smooth_px else noise
    smooth -= smooth.mean(axis=(-2, -1), keepdims=True)
    return torch.from_numpy(smooth / smooth.std(axis=(-2, -1), keepdims=True))


def correlations(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    def inner(one: Tensor, other: Tensor) -> Tensor:
        return (weight * one * other).sum(dim=(1, 2, 3))

    return inner(first, second) / (inner(first, first) * inner(second, second)).sqrt()


@pytest.mark.parametrize("smooth_px", [0.0, 1.0, 2.0])
@pytest.mark.parametrize("features", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_the_number_predicts_how_unrelated_images_scatter(smooth_px, features, masked):
    first, second = fields(300, smooth_px, 0, features), fields(300, smooth_px, 1, features)
    weight = torch.ones(SIZE, SIZE)
    if masked:
        weight[:, : SIZE // 2], weight[: SIZE // 4] = 0.0, 0.25
    scatter = float(correlations(first, second, weight).square().mean().sqrt())
    expected = np.mean(
        [effective_samples(*pair, weight) for pair in zip(first[:20], second[:20], strict=True)]
    )
    # The scatter of 300 is known to 4 %, hence its square to 8 %; the autocorrelations are estimated from
    # single images, whose own noise adds to the sum.
    assert 0.75 < float(expected) * scatter**2 < 1.25


def test_white_noise_counts_every_pixel():
    (first,), (second,) = fields(1, 0.0, 2), fields(1, 0.0, 3)
    counted = effective_samples(first, second, torch.ones(SIZE, SIZE))
    assert 0.9 * SIZE**2 < counted <= SIZE**2


@pytest.mark.parametrize(
    ("first", "weight"),
    [(torch.zeros(1, SIZE, SIZE), torch.ones(SIZE, SIZE)), (fields(1, 0.0, 4)[0], torch.zeros(SIZE, SIZE))],
    ids=["flat", "masked"],
)
def test_nothing_to_compare_counts_nothing(first, weight):
    assert effective_samples(first, fields(1, 0.0, 5)[0], weight) == 0.0


def test_one_ramp_is_a_single_sample_or_so():
    ramp = torch.linspace(-1, 1, SIZE).expand(1, SIZE, SIZE)
    assert effective_samples(ramp, ramp, torch.ones(SIZE, SIZE)) < 5


@pytest.mark.parametrize("correlation", [-0.3, 0.0, 0.2, 0.9])
def test_deviations_are_those_of_fishers_transform(correlation):
    expected = 0.5 * math.log((1 + correlation) / (1 - correlation)) * math.sqrt(100)
    assert deviations_from_chance(correlation, 103) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("correlation", "samples"), [(0.9, 3.0), (0.9, 2.0), (1.0, 0.0)])
def test_three_samples_or_fewer_say_nothing(correlation, samples):
    assert deviations_from_chance(correlation, samples) == 0.0


def test_a_perfect_correlation_is_finite():
    assert 0 < deviations_from_chance(1.0, 1000) < math.inf
    assert math.isnan(deviations_from_chance(math.nan, 1000))
