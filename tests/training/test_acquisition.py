"""The simulated acquisition: drawn parameters against their ranges, each effect against numpy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from scipy.stats import kstest

from isoclinic import UsageError
from isoclinic.training import AcquisitionConfig
from isoclinic.training.acquisition import AcquisitionParameters, apply_acquisition, draw_acquisition
from raising import raises

MANY = 4000
LEVEL = 1e-4
HEIGHT, WIDTH = 24, 32
X = (np.arange(WIDTH) + 0.5) / WIDTH - 0.5
Y = ((np.arange(HEIGHT) + 0.5 - HEIGHT / 2) / WIDTH)[:, None]


def neutral(batch: int) -> AcquisitionParameters:
    ones, zeros = torch.ones(batch), torch.zeros(batch)
    return AcquisitionParameters(
        materials=torch.ones(batch, 2),
        scatter=zeros,
        scatter_range=ones,
        # Relative noise of 1e-5 / sqrt(transmission): far below the tolerances here.
        photons=1e10 * ones,
        blur=zeros,
        shading=torch.zeros(batch, 5),
        tone=ones,
        tools=torch.zeros(batch, 2, 7),
        field=torch.full((batch, 3), math.inf),
        field_round=torch.zeros(batch, dtype=torch.bool),
        surroundings=zeros,
        view=torch.tensor([0.0, 0.0, 1.0, 1.0]).expand(batch, 4),
        noise_seed=5,
    )


@pytest.fixture(scope="module")
def materials() -> torch.Tensor:
    """Line integrals with some open beam in the top row."""
    values = np.random.default_rng(0).uniform(0, 1.5, (2, 2, HEIGHT, WIDTH))
    values[:, :, 0] = 0
    return torch.from_numpy(values.astype(np.float32))


def logarithm(signal: np.ndarray) -> np.ndarray:
    """Of a signal over its brightest value: 0.1 % of so few pixels is one pixel."""
    return -np.log(np.maximum(signal / signal.max(), 1e-3))


def transmission(materials: torch.Tensor) -> np.ndarray:
    return np.exp(-materials.double().sum(dim=1).numpy())


def check(materials, parameters, expected) -> None:
    """Noise of 1e-5 / sqrt(exp(-3)) and float32 rounding, several standard deviations of both."""
    image, weight = apply_acquisition(materials, parameters)
    np.testing.assert_allclose(image, expected, atol=5e-4)
    assert image.dtype == weight.dtype == torch.float32
    assert (weight == 1).all()


def test_a_perfect_acquisition_gives_the_line_integrals_back(materials):
    check(materials, neutral(2), materials.sum(dim=1))


def test_dense_parts_end_at_the_floor_of_preprocessing(materials):
    image, _ = apply_acquisition(materials + 9 * (materials > 0), neutral(2))
    assert image.max() == pytest.approx(-math.log(1e-3), rel=1e-6)


def test_materials_are_mixed(materials):
    mix = torch.tensor([[0.8, 1.6], [1.2, 0.6]])
    expected = (mix.numpy()[:, :, None, None] * materials.numpy()).sum(axis=1)
    check(materials, replace(neutral(2), materials=mix), expected)


def window_mean(image: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian mean of what lies inside the image."""
    wide = {"mode": "constant", "truncate": 12.0}
    return gaussian_filter(image, deviation, **wide) / gaussian_filter(np.ones_like(image), deviation, **wide)


def test_scatter_is_a_veil_of_blurred_signal(materials):
    parameters = replace(neutral(2), scatter=torch.tensor([0.3, 0.1]), scatter_range=torch.tensor([0.1, 0.2]))
    signal = transmission(materials)
    veiled = [
        s + share * window_mean(s, reach * WIDTH)
        for s, share, reach in zip(signal, (0.3, 0.1), (0.1, 0.2), strict=True)
    ]
    check(materials, parameters, [logarithm(image) for image in veiled])


def test_blur(materials):
    parameters = replace(neutral(2), blur=torch.tensor([0.03, 0.05]))
    blurred = [window_mean(s, b * WIDTH) for s, b in zip(transmission(materials), (0.03, 0.05), strict=True)]
    check(materials, parameters, [logarithm(image) for image in blurred])


def test_shading_and_tone(materials):
    coefficients = torch.tensor([[0.3, -0.2, 0.1, 0.25, -0.15], [0.0, 0.1, 0.0, 0.0, 0.2]])
    tone = torch.tensor([0.7, 1.1])
    parameters = replace(neutral(2), shading=coefficients, tone=tone)
    x, y = np.broadcast_arrays(2 * X, 2 * Y)
    expected = []
    for signal, (a, b, c, d, e), power in zip(
        transmission(materials), coefficients.tolist(), tone.tolist(), strict=True
    ):
        factor = np.exp(a * x + b * y + c * x**2 + d * x * y + e * y**2)
        expected.append(logarithm((signal * factor) ** power))
    check(materials, parameters, expected)


def test_quanta_arrive_by_poisson_s_law():
    """Variance over mean of 10^4 pixels: 5 standard deviations are 7 %, of the mean 5 % of a deviation."""
    materials = torch.zeros(1, 2, 100, 101)
    materials[:, :, :, 1:] = 1.0
    parameters = replace(neutral(1), photons=torch.tensor([500.0]))
    image, _ = apply_acquisition(materials, parameters)
    counts = np.exp(-image[0, :, 1:].double().numpy())
    expected = 500 * math.exp(-2)
    scale = expected / counts.mean()
    assert (counts * scale).var() == pytest.approx(expected, rel=0.08)
    assert torch.equal(image, apply_acquisition(materials, parameters)[0])
    assert not torch.equal(image, apply_acquisition(materials, replace(parameters, noise_seed=6))[0])


WIRE = (-0.3, 0.1, 0.4, 0.6, 0.05, 0.0, 1.5)
SCREW = (0.1, -0.2, 2.0, 0.3, 0.08, 0.3, 2.0)


def tool_oracle(tool: tuple[float, ...]) -> np.ndarray:
    """Pixel by pixel, by rotating the pixel into the tool's frame."""
    column, row, direction, length, radius, thread, attenuation = tool
    image = np.zeros((HEIGHT, WIDTH))
    for i in range(HEIGHT):
        for j in range(WIDTH):
            place = complex(X[j] - column, Y[i, 0] - row) * np.exp(-1j * direction)
            along, across = place.real, abs(place.imag)
            here = radius - radius * thread * math.cos(math.pi * along / radius / 2) ** 2
            if thread and along < 2 * radius:
                here = 1.7 * radius
            if 0 <= along <= length and across < here:
                image[i, j] = attenuation * math.sqrt(1 - (across / here) ** 2)
    return image


def test_tools_add_their_attenuation(materials):
    parameters = replace(neutral(2), tools=torch.tensor([[WIRE, SCREW], [SCREW, (0.0,) * 7]]))
    wire, screw = tool_oracle(WIRE), tool_oracle(SCREW)
    assert (wire > 0).sum() > 20 and (screw > 0).sum() > 20
    line_integrals = materials.sum(dim=1).numpy()
    # A shadow's rim is steep: rounding of a place by 1e-7 changes the chord there by sqrt(2e-7 / 0.05).
    image, _ = apply_acquisition(materials, parameters)
    np.testing.assert_allclose(image, line_integrals + np.stack([wire + screw, screw]), atol=5e-3)


@pytest.mark.parametrize("surroundings", [0.0, 1.0])
def test_collimation_hides_what_lies_beside_the_field(materials, surroundings):
    parameters = replace(
        neutral(2),
        field=torch.tensor([[0.05, -0.02, 0.3], [-0.1, 0.05, 0.2]]),
        field_round=torch.tensor([True, False]),
        surroundings=torch.full((2,), surroundings),
    )
    image, weight = apply_acquisition(materials, parameters)
    disc = np.hypot(X - 0.05, Y + 0.02) <= 0.3
    square = (abs(X + 0.1) <= 0.2) & (abs(Y - 0.05) <= 0.2)
    np.testing.assert_array_equal(weight, np.stack([disc, square]).astype(np.float32))
    for index, field in enumerate((disc, square)):
        signal = np.where(field, transmission(materials)[index], 0)
        expected = np.where(field, logarithm(signal), 0.0 if surroundings else -math.log(1e-3))
        np.testing.assert_allclose(image[index], expected, atol=5e-4)


def test_part_of_the_view(materials):
    view = torch.tensor([[0.25, 0.5, 0.75, 1.0], [0.0, 0.0, 1.0, 1.0]])
    image, weight = apply_acquisition(materials, replace(neutral(2), view=view))
    shown = np.zeros((HEIGHT, WIDTH), dtype=bool)
    shown[HEIGHT // 4 : 3 * HEIGHT // 4, WIDTH // 2 :] = True
    np.testing.assert_array_equal(weight, np.stack([shown, np.ones_like(shown)]))
    signal = transmission(materials)[0]
    brightest = signal[shown].max()
    np.testing.assert_allclose(image[0], np.where(shown, -np.log(signal / brightest), 0), atol=5e-4)


@pytest.fixture(scope="module")
def drawn() -> AcquisitionParameters:
    return draw_acquisition(AcquisitionConfig(), torch.Generator().manual_seed(1), MANY)


@pytest.mark.parametrize("name", ["scatter", "scatter_range", "blur", "tone"])
def test_ranges(drawn, name):
    low, high = getattr(AcquisitionConfig(), name)
    values = getattr(drawn, name)
    assert low <= values.min() and values.max() <= high
    assert kstest(values, "uniform", args=(low, high - low)).pvalue > LEVEL


def test_quanta_and_materials(drawn):
    config = AcquisitionConfig()
    low, high = np.log(config.photons)
    assert kstest(drawn.photons.log(), "uniform", args=(low, high - low)).pvalue > LEVEL
    for column, (low, high) in enumerate((config.soft_tissue, config.bone)):
        assert kstest(drawn.materials[:, column], "uniform", args=(low, high - low)).pvalue > LEVEL


def test_what_is_there_only_sometimes(drawn):
    """Shares of the images; 5 standard deviations of a share of 4000 are at most 0.04."""
    config, p = AcquisitionConfig(), drawn
    count = (p.tools[..., -1] > 0).sum(dim=1)
    collimated, partial = p.field[:, 2].isfinite(), p.view[:, 2:].sum(dim=1) - p.view[:, :2].sum(dim=1) < 2
    for which, share in (
        (count > 0, config.tools_probability),
        (collimated, config.collimation_probability),
        (p.field_round, config.collimation_round),
        (p.surroundings == 1, config.collimation_white),
        (partial, config.view_probability),
    ):
        assert which.double().mean() == pytest.approx(share, abs=0.04)
    assert set(count.tolist()) == set(range(config.tools + 1))
    assert p.field[collimated, :2].abs().max() <= config.collimation_shift
    assert config.collimation_radius[0] <= p.field[collimated, 2].min()
    assert p.field[collimated, 2].max() <= config.collimation_radius[1]
    box = p.view[partial]
    area = (box[:, 2:] - box[:, :2]).prod(dim=1)
    assert config.view_area[0] - 1e-5 <= area.min() and area.max() <= config.view_area[1] + 1e-5


def test_close_ups_are_small_fields_that_may_lie_off_the_centre(drawn):
    """They replace other fields; all that was drawn before them stays what it was."""
    config = AcquisitionConfig(close_probability=0.3, collimation_probability=0.0)
    close = draw_acquisition(config, torch.Generator().manual_seed(1), MANY)
    which = close.field[:, 2].isfinite()
    assert which.double().mean() == pytest.approx(0.3, abs=0.04)
    (low, high), shift = config.close_radius, config.close_shift
    assert kstest(close.field[which, 2], "uniform", args=(low, high - low)).pvalue > LEVEL
    for axis in range(2):
        assert kstest(close.field[which, axis], "uniform", args=(-shift, 2 * shift)).pvalue > LEVEL
    assert torch.equal(close.tone, drawn.tone) and torch.equal(close.tools, drawn.tools)
    assert close.noise_seed == drawn.noise_seed


@pytest.mark.parametrize(
    "change",
    [
        {"tools_probability": -0.1},
        {"close_radius": (0.0, 0.3)},
        {"close_shift": -0.1},
        {"tools": 0},
        {"photons": (0.0, 1e5)},
        {"collimation_round": 2.0},
        {"bone": (1.6, 0.6)},
        {"view_area": (0.5, 1.1)},
        {"shading": -0.1},
    ],
)
def test_ranges_outside_what_is_possible(change):
    with raises(UsageError, "training.invalid-value", next(iter(change))):
        AcquisitionConfig(**change)
