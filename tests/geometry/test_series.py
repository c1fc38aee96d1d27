"""The small-angle coefficients against 50-digit arithmetic, on both sides of every switch."""

import math

import mpmath
import pytest
import torch

from isoclinic.geometry import _series

EXACT = {
    "sinc": lambda x: mpmath.sinc(mpmath.sqrt(x)),
    "versine": lambda x: (1 - mpmath.cos(mpmath.sqrt(x))) / x,
    "sine_remainder": lambda x: (mpmath.sqrt(x) - mpmath.sin(mpmath.sqrt(x))) / mpmath.sqrt(x) ** 3,
    "half_cotangent": lambda x: (1 - mpmath.sqrt(x) / 2 * mpmath.cot(mpmath.sqrt(x) / 2)) / x,
}
AT_ZERO = {"sinc": 1, "versine": 1 / 2, "sine_remainder": 1 / 6, "half_cotangent": 1 / 12}
# Squared angles from 1e-30 to pi^2, with the switch at 4 approached from both sides.
SWEEP = [
    *(10.0**power for power in range(-30, 0)),
    *(4 + offset for offset in (-3, -1, -0.1, -1e-3, -1e-6, 0.0, 1e-6, 1e-3, 0.1, 1)),
    *(7.0, 9.5, math.pi**2),
]


def exact(name: str, x: float, order: int) -> float:
    with mpmath.workdps(50):
        return float(mpmath.diff(EXACT[name], mpmath.mpf(x), order, h=mpmath.mpf(x) * mpmath.mpf(10) ** -12))


def evaluated(name: str, x: float, dtype: torch.dtype) -> tuple[float, float, float, float]:
    """The argument after rounding to dtype, then value, first and second derivative."""
    argument = torch.tensor(x, dtype=dtype, requires_grad=True)
    value = getattr(_series, name)(argument)
    (first,) = torch.autograd.grad(value, argument, create_graph=True)
    (second,) = torch.autograd.grad(first, argument)
    return argument.item(), value.item(), first.item(), second.item()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", EXACT)
def test_value_is_exact_to_rounding(name: str, dtype: torch.dtype) -> None:
    # Relative to the coefficient's size at zero, since sin(t) / t vanishes at pi. 4 eps: t - sin t and
    # 1 - (t/2) cot(t/2) subtract numbers up to 3 times their difference just above the switch.
    for x in SWEEP:
        argument, value, _, _ = evaluated(name, x, dtype)
        assert value == pytest.approx(
            exact(name, argument, 0), abs=4 * torch.finfo(dtype).eps * AT_ZERO[name]
        )


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", EXACT)
def test_derivatives_are_accurate_on_both_branches(name: str, dtype: torch.dtype) -> None:
    # Just above the switch each differentiation of a closed form sums more terms that cancel: 44 eps and 830
    # eps of the derivative's size at zero were measured. The series only rounds, by a few eps of its own
    # size, which grows to 1.5 times that at zero.
    for x in SWEEP:
        argument, _, first, second = evaluated(name, x, dtype)
        for order, value in ((1, first), (2, second)):
            eps = torch.finfo(dtype).eps * abs(exact(name, 1e-12, order))
            tolerance = 8 * eps if argument < 4 else (100, 2000)[order - 1] * eps
            assert value == pytest.approx(exact(name, argument, order), abs=tolerance)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("name", EXACT)
def test_value_and_derivatives_at_zero(name: str, dtype: torch.dtype) -> None:
    _, value, first, second = evaluated(name, 0.0, dtype)
    # The limit from the right, where the second-order remainder is below 1e-12.
    expected = [AT_ZERO[name], exact(name, 1e-12, 1), exact(name, 1e-12, 2)]
    assert [value, first, second] == pytest.approx(expected, rel=4 * torch.finfo(dtype).eps + 1e-12)


@pytest.mark.parametrize("name", ["sinc", "versine", "sine_remainder"])
def test_the_series_not_taken_does_not_overflow_into_the_gradient(name: str) -> None:
    # In float32 the polynomial would be infinite here.
    assert all(map(math.isfinite, evaluated(name, 1e12, torch.float32)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_arctangent_ratio(dtype: torch.dtype) -> None:
    eps = torch.finfo(dtype).eps
    # tan = 1/4 is the switch.
    switch = math.atan(0.25)
    angles = [1e-15, 1e-8, 1e-3, 0.1, switch - 1e-6, switch, switch + 1e-6, 0.5, 1.0, 1.5, math.pi / 2]
    for angle in angles:
        cosine = torch.tensor(max(math.cos(angle), 0.0), dtype=dtype)
        squared = torch.tensor(math.sin(angle) ** 2, dtype=dtype, requires_grad=True)
        value = _series.arctangent_ratio(squared, cosine)
        (first,) = torch.autograd.grad(value, squared)

        def ratio(x: mpmath.mpf, c: float = cosine.item()) -> mpmath.mpf:
            return mpmath.atan2(mpmath.sqrt(x), c) / mpmath.sqrt(x)

        with mpmath.workdps(50):
            at = mpmath.mpf(squared.item())
            expected, derivative = (
                float(ratio(at)),
                float(mpmath.diff(ratio, at, h=at * mpmath.mpf(10) ** -12)),
            )
        assert value.item() == pytest.approx(expected, rel=8 * eps)
        # At the switch the closed form's derivative divides the rounding error by s^2 = 1/17.
        assert first.item() == pytest.approx(derivative, rel=200 * eps)
