"""Local standardisation: the kernel against the reference, the reference against sums written out."""

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch import Tensor

from isoclinic.similarity import _local_kernel, local_standardization
from isoclinic.similarity.local_standardization import box_sum, standardize

FLOOR = 0.05


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _weights(height: int, width: int, kind: str) -> Tensor:
    """Ones, fractions, or fractions with an empty corner and an empty column."""
    if kind == "ones":
        return torch.ones(height, width, dtype=torch.float64)
    weight = 0.2 + 0.8 * _random(height, width, seed=1)
    if kind == "holes":
        weight[: height // 2, : width // 2] = 0
        weight[:, -2] = 0
    return weight


def _written_out(image: np.ndarray, weight: np.ndarray, radius: int) -> np.ndarray:
    """Standardised image [H, W], every window cut out and summed by itself."""
    x = np.zeros_like(image)
    for v, u in np.ndindex(*image.shape):
        window = slice(max(0, v - radius), v + radius + 1), slice(max(0, u - radius), u + radius + 1)
        w, values = weight[window], image[window]
        if w.sum() > 0:
            mean = (w * values).sum() / w.sum()
            variance = (w * (values - mean) ** 2).sum() / w.sum()
            x[v, u] = (image[v, u] - mean) / np.sqrt(variance + FLOOR**2)
    return x


@pytest.mark.parametrize("radius", [0, 1, 3, 6, 7, 20])
@pytest.mark.parametrize("shape", [(7, 11), (1, 9), (9, 1)])
def test_box_sum_is_the_sum_of_a_window_padded_with_zeros(shape, radius):
    image = _random(2, *shape)
    side = 2 * radius + 1
    expected = np.stack([uniform_filter(part, side, mode="constant") * side**2 for part in image.numpy()])
    # float64 rounding of at most 77 summands of order one, times the filter's own running sums.
    np.testing.assert_allclose(box_sum(image, radius).numpy(), expected, atol=1e-11)


@pytest.mark.parametrize("kind", ["ones", "fractions", "holes"])
@pytest.mark.parametrize("radius", [0, 1, 4, 12])
def test_reference_is_its_definition(radius, kind):
    image, weight = 3 + 2 * _random(2, 9, 12), _weights(9, 12, kind)
    x, dx = standardize(image, image.new_zeros(2, 0, 9, 12), weight, radius=radius, floor=FLOOR)
    assert dx.shape == (2, 0, 9, 12)
    for part, expected in zip(x, image, strict=True):
        # The reference's differences of cumulative sums cost digits: 1e-16 of sums of order 1e3 over
        # variances of at least FLOOR^2.
        np.testing.assert_allclose(
            part.numpy(), _written_out(expected.numpy(), weight.numpy(), radius), atol=1e-9
        )


@pytest.mark.parametrize("kind", ["ones", "fractions", "holes"])
@pytest.mark.parametrize("radius", [0, 2, 12])
def test_derivative_of_reference_is_that_of_its_value(radius, kind):
    image, jacobian, weight = _random(2, 9, 12), _random(2, 3, 9, 12, seed=2) - 0.5, _weights(9, 12, kind)

    def value(image: Tensor) -> Tensor:
        return standardize(image, image.new_zeros(2, 0, 9, 12), weight, radius=radius, floor=FLOOR)[0]

    _, dx = standardize(image, jacobian, weight, radius=radius, floor=FLOOR)
    for p in range(3):
        expected, h = torch.func.jvp(value, (image,), (jacobian[:, p],))[1], 1e-5
        torch.testing.assert_close(dx[:, p], expected, rtol=1e-9, atol=1e-9)
        # Forward mode trusts torch; differences trust nothing. Truncation: h^2 x''' / 6 with derivatives of
        # at most (1 / FLOOR)^3.
        differences = (value(image + h * jacobian[:, p]) - value(image - h * jacobian[:, p])) / (2 * h)
        torch.testing.assert_close(dx[:, p], differences, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["ones", "fractions", "holes"])
@pytest.mark.parametrize("radius", [0, 1, 4, 31, 32, 33, 80])
@pytest.mark.parametrize("height", [1, 5, 31, 32, 33, 64, 65])
def test_kernel_is_the_reference(height, radius, kind):
    """Tasks of the kernel are 32 rows high: heights and windows lie on both sides of one and two of them."""
    image, jacobian = 4 * _random(2, height, 17), 3 * _random(2, 3, height, 17, seed=2) - 1
    weight = _weights(height, 17, kind)
    expected = standardize(image, jacobian, weight, radius=radius, floor=FLOOR)
    for actual, wanted in zip(
        _local_kernel.standardize(image, jacobian, weight, radius=radius, floor=FLOOR), expected, strict=True
    ):
        assert actual.dtype == torch.float32
        # float32 rounding of the variance, 1e-6 of the squared range 4^2, over the variance itself: where a
        # window is a pixel or two that is no more than FLOOR^2.
        tolerance = 6e-3 if radius <= 1 else 2e-4
        torch.testing.assert_close(actual.double(), wanted, rtol=2e-4, atol=tolerance)


def test_kernel_without_derivatives_and_for_one_image_of_a_batch():
    image, jacobian, weight = _random(3, 40, 21), _random(3, 6, 40, 21, seed=2), _weights(40, 21, "holes")
    x, dx = _local_kernel.standardize(image, jacobian, weight, radius=4, floor=FLOOR)
    alone, nothing = _local_kernel.standardize(image[1:2], jacobian[1:2, :0], weight, radius=4, floor=FLOOR)
    assert nothing.shape == (1, 0, 40, 21)
    assert torch.equal(alone[0], x[1])
    assert torch.equal(
        _local_kernel.standardize(image[1:2], jacobian[1:2], weight, radius=4, floor=FLOOR)[1][0], dx[1]
    )


@pytest.mark.parametrize("module", [local_standardization, _local_kernel])
@pytest.mark.parametrize("amount", [0.0, 0.9e-3, 1.1e-3])
def test_windows_without_weight_are_zero(module, amount):
    """A window counts as empty up to a sum of weights of 1e-3: here that of one pixel."""
    image, jacobian, weight = _random(1, 12, 12), _random(1, 2, 12, 12, seed=2), torch.zeros(12, 12)
    weight[2, 3] = amount
    weight[9, 9] = 1
    x, dx = module.standardize(image.float(), jacobian.float(), weight, radius=1, floor=FLOOR)
    assert torch.isfinite(x).all() and torch.isfinite(dx).all()
    occupied = torch.zeros(12, 12, dtype=torch.bool)
    occupied[8:11, 8:11] = True
    occupied[1:4, 2:5] = amount > 1e-3
    assert (x[0][~occupied] == 0).all() and (dx[0, :, ~occupied] == 0).all()
    # The only pixel of its window is its own mean.
    assert x[0, 9, 9].abs() < 1e-5 and x[0][occupied].abs().max() > 0.1


@pytest.mark.parametrize("module", [local_standardization, _local_kernel])
def test_weightless_pixels_have_no_influence_on_others(module):
    """Exactly none: what is masked may hold anything, metal at a thousand times the range included."""
    image, jacobian, weight = _random(1, 40, 23), _random(1, 2, 40, 23, seed=2), _weights(40, 23, "holes")
    image, jacobian, weight = image.float(), jacobian.float(), weight.float()
    seen = weight > 0
    x, dx = module.standardize(image, jacobian, weight, radius=3, floor=FLOOR)
    for value in (1e4, -7.0, 0.3):
        other, changed = image.clone(), jacobian.clone()
        other[:, ~seen] = value
        changed[:, :, ~seen] = -value
        y, dy = module.standardize(other, changed, weight, radius=3, floor=FLOOR)
        assert torch.equal(y[:, seen], x[:, seen])
        assert torch.equal(dy[:, :, seen], dx[:, :, seen])


def test_value_is_invariant_to_shift_and_to_scale_of_image_and_floor():
    image, weight = _random(1, 15, 14), _weights(15, 14, "fractions")
    jacobian = _random(1, 2, 15, 14, seed=2)
    x, dx = standardize(image, jacobian, weight, radius=3, floor=FLOOR)
    y, dy = standardize(100 + 7 * image, 7 * jacobian, weight, radius=3, floor=7 * FLOOR)
    torch.testing.assert_close(y, x, rtol=0, atol=1e-9)
    torch.testing.assert_close(dy, dx, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("module", "floor"), [(local_standardization, 1e-8), (_local_kernel, 1e-4)])
def test_squares_over_the_whole_image_are_normalised_cross_correlation(module, floor):
    """½ Σ (x - y)² = N (1 - NCC), NCC as numpy computes it."""
    a, b = _random(1, 20, 26), _random(1, 20, 26, seed=1)
    b = 40 - 3 * (0.6 * a + b)
    none, weight = a.new_zeros(1, 0, 20, 26), torch.ones(20, 26, dtype=torch.float64)
    x, y = (module.standardize(image, none, weight, radius=26, floor=floor)[0].double() for image in (a, b))
    expected = a.numel() * (1 - np.corrcoef(a.flatten(), b.flatten())[0, 1])
    # float32 rounding of the mean and deviation of 520 pixels, relative to N.
    torch.testing.assert_close(0.5 * (x - y).square().sum().item(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("module", [local_standardization, _local_kernel])
def test_flat_images_stay_flat(module):
    image, weight = torch.full((1, 20, 20), 5.0), torch.ones(20, 20)
    jacobian = torch.zeros(1, 1, 20, 20)
    jacobian[0, 0, 10, 10] = 1
    x, dx = module.standardize(image, jacobian, weight, radius=2, floor=FLOOR)
    # The variance is rounding, far below FLOOR^2, so the derivative is (dI - mean dI) / FLOOR.
    assert x.abs().max() < 1e-4
    torch.testing.assert_close(dx[0, 0, 10, 10].item(), (1 - 1 / 25) / FLOOR, rtol=1e-4, atol=0)
    torch.testing.assert_close(dx[0, 0, 12, 12].item(), -1 / 25 / FLOOR, rtol=1e-4, atol=0)
