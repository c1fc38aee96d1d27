"""What is done to a finished picture, each effect against numpy and scipy, and draws against their ranges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest, norm

from isoclinic import UsageError
from isoclinic.training.hospital_config import ProcessingConfig
from isoclinic.training.processing import (
    ProcessingParameters,
    apply_processing,
    counted_logarithm,
    draw_processing,
)
from raising import raises

MANY = 2000
LEVEL = 1e-4
HEIGHT, WIDTH = 24, 32
FLOOR = 1e-3


def neutral(batch: int) -> ProcessingParameters:
    zeros, ones = torch.zeros(batch), torch.ones(batch)
    return ProcessingParameters(
        photons=math.inf * ones,
        detector_pixels=ones.long(),
        sharpening=zeros,
        sharpening_radius=ones,
        equalization=zeros,
        equalization_window=ones,
        bits=zeros.long(),
        text=torch.zeros(batch, 2, 4),
        noise_seed=5,
    )


@pytest.fixture(scope="module")
def image() -> torch.Tensor:
    """Line integrals with some open beam in the top row."""
    values = np.random.default_rng(0).uniform(0, 3, (2, HEIGHT, WIDTH))
    values[:, 0] = 0
    return torch.from_numpy(values.astype(np.float32))


def processed(image: torch.Tensor, **changes) -> torch.Tensor:
    return apply_processing(image, torch.ones_like(image), replace(neutral(len(image)), **changes))


def logarithm(signal: np.ndarray) -> np.ndarray:
    return -np.log(np.maximum(signal / signal.max(), FLOOR))


def test_nothing_done_is_the_same_image(image):
    assert torch.equal(processed(image), image)


def test_sharpening_adds_the_difference_to_the_blurred_picture(image):
    found = processed(image, sharpening=torch.tensor([1.5, 0.0]), sharpening_radius=torch.full((2,), 0.04))
    signal = np.exp(-image[0].double().numpy())
    wide = {"mode": "constant", "truncate": 12.0}
    blurred = gaussian_filter(signal, 0.04 * WIDTH, **wide)
    blurred /= gaussian_filter(np.ones_like(signal), 0.04 * WIDTH, **wide)
    sharp = np.maximum(signal + 1.5 * (signal - blurred), 0)
    assert (sharp == 0).sum() > 3
    # Where little is left, rounding of 1e-7 counts relative to the floor.
    np.testing.assert_allclose(found[0], logarithm(sharp), atol=2e-3)
    assert torch.equal(found[1], image[1])


def test_equalising_is_the_rank_in_the_window_as_if_it_were_normal(image):
    window = 0.3
    found = processed(
        image, equalization=torch.tensor([0.6, 0.0]), equalization_window=torch.full((2,), window)
    )
    signal = np.exp(-image[0].double().numpy())
    reach, equal = window * WIDTH / 2, np.zeros_like(signal)
    for i in range(HEIGHT):
        for j in range(WIDTH):
            rows = slice(max(0, math.ceil(i - reach)), math.floor(i + reach) + 1)
            part = signal[rows, max(0, math.ceil(j - reach)) : math.floor(j + reach) + 1]
            equal[i, j] = norm.cdf(signal[i, j], part.mean(), part.std() + 0.02 * signal.max())
    np.testing.assert_allclose(found[0], logarithm(0.4 * signal + 0.6 * equal), atol=2e-4)
    assert torch.equal(found[1], image[1])


def test_bits_are_as_many_grey_values(image):
    found = processed(image, bits=torch.tensor([3, 0]))
    signal = np.exp(-image[0].double().numpy())
    np.testing.assert_allclose(found[0], logarithm(np.round(7 * signal) / 7), atol=1e-5)
    assert len(found[0].unique()) == 8
    assert torch.equal(found[1], image[1])


def test_text_is_white_in_about_half_of_its_boxes(image):
    boxes = torch.tensor([[[0.25, 0.25, 0.5, 0.75], [0.0] * 4], [[0.0] * 4] * 2])
    found = processed(image, text=boxes)
    inside = np.zeros((HEIGHT, WIDTH), dtype=bool)
    inside[6:12, 8:24] = True
    # The logarithm of an exponential is rounded.
    changed = abs(found[0].numpy() - image[0].numpy()) > 1e-5
    assert not changed[~inside].any()
    np.testing.assert_allclose(found[0].numpy()[changed], 0, atol=1e-5)
    # 96 pixels: five standard deviations.
    assert changed[inside].mean() == pytest.approx(0.5, abs=0.26)
    assert torch.equal(found[1], image[1])


@pytest.mark.parametrize("photons", [20.0, 300.0])
def test_the_logarithm_of_few_quanta(photons):
    """Against counted quanta: 40 000 of them, five standard errors, and 1 % for the tables' float32."""
    mean, deviation = counted_logarithm(photons, torch.device("cpu"))
    generator = np.random.default_rng(1)
    for place in (0, 20, 35, len(mean) - 1):
        transmission = FLOOR ** (1 - place / (len(mean) - 1))
        values = -np.log(np.maximum(generator.poisson(photons * transmission, 40_000) / photons, FLOOR))
        assert mean[place] == pytest.approx(values.mean(), abs=5 * values.std() / 200 + 1e-3)
        assert deviation[place] == pytest.approx(values.std(), rel=0.08, abs=1e-2)


def test_few_quanta_are_counted_by_the_detector_s_pixels():
    """A flat image beside an open beam; its mean and deviation are those of the mean of 16 logarithms."""
    image = torch.full((1, 80, 80), 1.5)
    image[:, :, 0] = 0
    found = processed(image, photons=torch.tensor([60.0]), detector_pixels=torch.tensor([4]))
    counts = np.random.default_rng(2).poisson(60 * math.exp(-1.5), (6000, 16))
    # The open beam is the 99.9th percentile of what its pixels count.
    beam = 60 + 3.1 * math.sqrt(60)
    expected = -np.log(np.maximum(counts / beam, FLOOR)).mean(axis=1)
    values = found[0, :, 1:].numpy()
    # Standard errors of 6000 values: 1.3 % of a deviation, 1 % of the deviation; between two entries of the
    # table values are interpolated.
    assert values.mean() == pytest.approx(expected.mean(), abs=0.02)
    assert values.std() == pytest.approx(expected.std(), rel=0.1)
    assert torch.equal(
        found, processed(image, photons=torch.tensor([60.0]), detector_pixels=torch.tensor([4]))
    )


def test_what_does_not_show_the_patient_stays_as_it_is(image):
    weight = torch.ones_like(image)
    weight[:, :, :9] = 0
    parameters = replace(
        neutral(2), photons=torch.full((2,), 50.0), sharpening=torch.ones(2), bits=torch.tensor([8, 8])
    )
    found = apply_processing(image, weight, parameters)
    assert torch.equal(found[:, :, :9], image[:, :, :9])
    assert (found[:, :, 9:] != image[:, :, 9:]).double().mean() > 0.9


@pytest.fixture(scope="module")
def drawn() -> ProcessingParameters:
    return draw_processing(ProcessingConfig(), torch.Generator().manual_seed(1), MANY)


def test_everything_happens_as_often_as_said(drawn):
    """Five standard deviations of a share of 2000 are at most 0.056."""
    config = ProcessingConfig()
    for which, share in (
        (drawn.photons.isfinite(), config.low_dose_probability),
        (drawn.sharpening > 0, config.sharpening_probability),
        (drawn.equalization > 0, config.equalization_probability),
        (drawn.bits > 0, config.quantization_probability),
        ((drawn.text[..., 2] > 0).any(dim=1), config.text_probability),
    ):
        assert which.double().mean() == pytest.approx(share, abs=0.056)
    blocks = (drawn.text[..., 2] > 0).sum(dim=1)
    assert set(blocks.tolist()) == set(range(config.text_blocks + 1))


def test_sizes_are_in_their_ranges(drawn):
    config = ProcessingConfig()
    photons = drawn.photons[drawn.photons.isfinite()].log()
    low, high = np.log(config.low_dose_photons)
    assert kstest(photons, "uniform", args=(low, high - low)).pvalue > LEVEL
    for values, (low, high) in (
        (drawn.sharpening[drawn.sharpening > 0], config.sharpening),
        (drawn.sharpening_radius, config.sharpening_radius),
        (drawn.equalization[drawn.equalization > 0], config.equalization),
        (drawn.equalization_window, config.equalization_window),
    ):
        assert kstest(values, "uniform", args=(low, high - low)).pvalue > LEVEL
    assert set(drawn.bits.tolist()) == {0, *range(config.bits[0], config.bits[1] + 1)}
    assert set(drawn.detector_pixels.tolist()) == set(
        range(config.detector_pixels[0], config.detector_pixels[1] + 1)
    )
    boxes = drawn.text[drawn.text[..., 2] > 0]
    assert boxes.min() >= 0 and boxes.max() <= 1
    height, width = (boxes[:, 2:] - boxes[:, :2]).T
    for values, (low, high) in ((height, config.text_height), (width, config.text_width)):
        assert low - 1e-6 <= values.min() and values.max() <= high + 1e-6


@pytest.mark.parametrize(
    "change",
    [
        {"text_probability": -0.1},
        {"low_dose_photons": (0.0, 100.0)},
        {"equalization": (0.2, 1.2)},
        {"bits": (8, 6)},
        {"detector_pixels": (0, 3)},
    ],
)
def test_ranges_outside_what_is_possible(change):
    with raises(UsageError, "training.invalid-value", next(iter(change))):
        ProcessingConfig(**change)


def test_text_has_at_least_one_block():
    with raises(UsageError, "training.invalid-value", "text_blocks"):
        ProcessingConfig(text_blocks=0)
