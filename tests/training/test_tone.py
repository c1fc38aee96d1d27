"""The published transforms: drawn parameters against the published ranges, each transform against numpy."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from scipy.stats import kstest

from isoclinic import UsageError
from isoclinic.training import ToneConfig
from isoclinic.training.tone import ToneParameters, apply_tone, draw_tone
from raising import raises

MANY = 4000
# Parameters of the same seed are the same: a level that says "not by chance" once for all tests here.
LEVEL = 1e-4


def neutral(batch: int) -> ToneParameters:
    ones, zeros = torch.ones(batch), torch.zeros(batch)
    return ToneParameters(
        smoothing_px=torch.ones(batch, dtype=torch.int64),
        noise=zeros,
        noise_mean=zeros,
        lower=zeros,
        upper=ones,
        scaling=ones,
        gamma=ones,
        sine=torch.zeros(batch, 3),
        erased=torch.zeros(batch, 4),
        noise_seed=5,
    )


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).gamma(2.0, 1.5, (3, 20, 28)).astype(np.float32))


@pytest.fixture(scope="module")
def drawn() -> ToneParameters:
    return draw_tone(ToneConfig(), torch.Generator().manual_seed(0), MANY)


def check_uniform(values: torch.Tensor, low: float, high: float) -> None:
    assert low <= values.min() and values.max() <= high
    assert kstest(values, "uniform", args=(low, high - low)).pvalue > LEVEL


def test_the_default_is_the_paper_s_list(drawn):
    """Each in its range, uniform, for half of the images: 5 standard deviations of the share are 0.04."""
    p = drawn
    applied = {
        "smoothing": p.smoothing_px > 1,
        "noise": p.noise > 0,
        "normalization": p.lower != 0,
        "scaling": p.scaling != 1,
        "gamma": p.gamma != 1,
        "sine": p.sine[:, 0] != 0,
        "erasing": p.erased[:, 2] > 0,
    }
    for name, which in applied.items():
        assert which.double().mean() == pytest.approx(0.5, abs=0.04), name
    assert set(p.smoothing_px.tolist()) == {1, 3, 5}
    assert (p.smoothing_px == 3).double().mean() == pytest.approx(0.25, abs=0.035)
    # |U(-0.15, 0.1)|: the distribution function is 2 x / 0.25 up to 0.1, (x + 0.1) / 0.25 from there.
    noise = kstest(p.noise[applied["noise"]], lambda x: np.where(x < 0.1, 2 * x, x + 0.1) / 0.25)
    assert noise.pvalue > LEVEL
    check_uniform(p.lower[applied["normalization"]], -0.04, 0.02)
    check_uniform(p.upper[applied["normalization"]], 0.9, 1.05)
    check_uniform(p.scaling[applied["scaling"]], 0.9, 1.05)
    check_uniform(p.gamma[applied["gamma"]], 0.7, 1.3)
    for column, (low, high) in enumerate([(0.8, 1.1), (0.8, 1.1), (-0.5, 0.4)]):
        check_uniform(p.sine[applied["sine"], column], low, high)


def test_erased_boxes_have_the_area_and_aspect_drawn(drawn):
    top, left, bottom, right = drawn.erased[drawn.erased[:, 2] > 0].double().T
    height, width = bottom - top, right - left
    assert min(top.min(), left.min()) >= 0 and max(bottom.max(), right.max()) <= 1 + 1e-6
    check_uniform(height * width, 0.02 - 1e-6, 0.4 + 1e-6)
    # Aspects between 0.3 and 0.4 are raised to the area where the box would be wider than the image.
    aspect = height / width
    assert aspect.min() >= 0.3 - 1e-5 and aspect.max() <= 1 + 1e-5
    small = height * width < 0.3
    check_uniform(aspect[small], 0.3 - 1e-5, 1 + 1e-5)


def test_nothing_drawn_changes_nothing(images):
    torch.testing.assert_close(apply_tone(images, neutral(3)), images)


@pytest.mark.parametrize("side", [3, 5])
def test_smoothing(images, side):
    """Only the first image, by the mean of what lies in the window."""
    parameters = replace(neutral(3), smoothing_px=torch.tensor([side, 1, 1]))
    one = images[0].double().numpy()
    inside = uniform_filter(np.ones_like(one), side, mode="constant")
    expected = uniform_filter(one, side, mode="constant") / inside
    smoothed = apply_tone(images, parameters)
    np.testing.assert_allclose(smoothed[0], expected, rtol=1e-5)
    torch.testing.assert_close(smoothed[1:], images[1:])


def test_noise_has_its_deviation_and_seed():
    images = torch.ones(2, 100, 100)
    parameters = replace(neutral(2), noise=torch.tensor([0.1, 0.02]))
    noise = apply_tone(images, parameters) - 1
    # 10^4 pixels: 5 standard deviations of the mean are a twentieth, of the deviation 3.5 % of the deviation.
    assert noise.std(dim=(1, 2)).tolist() == pytest.approx([0.1, 0.02], rel=0.035)
    assert abs(noise.mean(dim=(1, 2)) / parameters.noise).max() < 0.05
    assert torch.equal(noise, apply_tone(images, parameters) - 1)
    assert not torch.equal(noise, apply_tone(images, replace(parameters, noise_seed=6)) - 1)


def test_one_after_the_other_as_in_numpy(images):
    """All but the noise, in the published order, in float64 and in units of each image's maximum."""
    batch, height, width = images.shape
    config = ToneConfig(**{f.name: 1.0 for f in fields(ToneConfig) if f.name.endswith("_probability")})
    drawn = draw_tone(config, torch.Generator().manual_seed(3), batch)
    parameters = replace(drawn, noise=torch.zeros(batch))
    result = apply_tone(images, parameters)
    for index in range(batch):
        x = images[index].double().numpy()
        peak = x.max()
        side = int(parameters.smoothing_px[index])
        x = uniform_filter(x / peak, side, mode="constant")
        x /= uniform_filter(np.ones_like(x), side, mode="constant")
        lower, upper = float(parameters.lower[index]), float(parameters.upper[index])
        x = (x - lower) / (upper - lower) * float(parameters.scaling[index])
        x = np.maximum(x, 0) ** float(parameters.gamma[index])
        a, b, c = parameters.sine[index].tolist()
        x = a * np.sin(b * x + c)
        top, left, bottom, right = parameters.erased[index].tolist()
        mean = x.mean()
        for row in range(height):
            for column in range(width):
                if top <= (row + 0.5) / height < bottom and left <= (column + 0.5) / width < right:
                    x[row, column] = mean
        np.testing.assert_allclose(result[index], x * peak, rtol=1e-4, atol=1e-5 * peak)


def test_negative_values_survive_unless_a_power_is_taken():
    images = torch.tensor([[[-0.5, 1.0]], [[-0.5, 1.0]]])
    result = apply_tone(images, replace(neutral(2), gamma=torch.tensor([1.0, 0.8])))
    np.testing.assert_allclose(result[:, 0, 0], [-0.5, 0.0])


def test_an_empty_image_stays_finite():
    assert (
        apply_tone(torch.zeros(MANY // 100, 8, 8), draw_tone(ToneConfig(), torch.Generator(), 40))
        .isfinite()
        .all()
    )


@pytest.mark.parametrize(
    "change",
    [
        {"gamma_probability": 1.1},
        {"gamma": (1.3, 0.7)},
        {"gamma": (0.0, 1.0)},
        {"noise": (float("nan"), 0.1)},
        {"erasing_area": (0.1, 1.2)},
        {"smoothing_px": (4,)},
        {"smoothing_px": ()},
        {"normalization_lower": (0.0, 0.95)},
    ],
)
def test_ranges_that_make_no_image(change):
    with raises(UsageError, "training.invalid-value", next(iter(change))):
        ToneConfig(**change)
