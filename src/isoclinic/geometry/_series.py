"""Coefficients of the exponential and logarithm of rotations, exact to rounding down to angle zero.

Each coefficient is an even, analytic function of the angle t and is therefore written as a function of
x = t^2, whose derivatives exist at zero. The closed forms are 0/0 there and cancel long before, so below a
switch the Taylor series takes over:

- The first three are entire; term k is (-x)^k / (2k + m)!. With x < 4 and 13 terms the first one omitted is
  below 4^13 / 27! = 6e-21.
- (1 - (t/2) cot(t/2)) / t^2 = sum_{k>=1} |B_2k| x^(k-1) / (2k)! (Abramowitz & Stegun 4.3.70; B_2k are the
  Bernoulli numbers) converges for x < (2 pi)^2, so 21 terms at x < 4 omit about (4 / 39.5)^21 / 20 = 7e-23.
- arctan(t) / t = sum_k (-x)^k / (2k + 1) converges for x < 1, so 14 terms at x < 1/16 omit 5e-19.

The omitted terms' first two derivatives, larger by about 21 / 4 each, are below rounding too.

Above the switches the closed forms lose less than a decimal digit, and each derivative less than another:
at t = 2, t - sin t and 1 - (t/2) cot(t/2) are 0.55 and 0.36 of what they are subtracted from. Both arguments
of every `where` are kept in the domain of their own branch, because a NaN or infinity in the branch not taken
would still reach the gradient.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import torch
from torch import Tensor

_SWITCH = 4.0  # rad^2


def _inverse_factorials(offset: int) -> list[float]:
    return [(-1) ** k / math.factorial(2 * k + offset) for k in range(13)]


def _bernoulli_numbers(highest: int) -> list[Fraction]:
    """B_0 ... B_highest from the recurrence sum_{k<=n} C(n + 1, k) B_k = 0."""
    numbers = [Fraction(1)]
    for n in range(1, highest + 1):
        numbers.append(-sum(math.comb(n + 1, k) * b for k, b in enumerate(numbers)) / Fraction(n + 1))
    return numbers


_SINC = _inverse_factorials(1)
_VERSINE = _inverse_factorials(2)
_SINE_REMAINDER = _inverse_factorials(3)
_HALF_COTANGENT = [
    float(abs(b) / math.factorial(2 * k)) for k, b in enumerate(_bernoulli_numbers(42)[::2]) if k > 0
]
_ARCTANGENT = [(-1) ** k / (2 * k + 1) for k in range(14)]


def _polynomial(x: Tensor, coefficients: Sequence[float]) -> Tensor:
    value = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x + coefficient
    return value


def _switched(x: Tensor, coefficients: Sequence[float], closed_form: Callable[[Tensor], Tensor]) -> Tensor:
    """Series in x below the switch, closed form in t = sqrt(x) from there on."""
    small = x < _SWITCH
    near = torch.where(small, x, torch.zeros_like(x))
    far = torch.where(small, torch.full_like(x, _SWITCH), x)
    return torch.where(small, _polynomial(near, coefficients), closed_form(far.sqrt()))


def sinc(x: Tensor) -> Tensor:
    """sin(t) / t as a function of x = t^2 >= 0 [rad^2]."""
    return _switched(x, _SINC, lambda t: t.sin() / t)


def versine(x: Tensor) -> Tensor:
    """(1 - cos t) / t^2 as a function of x = t^2 >= 0 [rad^2]."""
    # 2 sin^2(t/2) = 1 - cos t, without the cancellation near multiples of 2 pi.
    return _switched(x, _VERSINE, lambda t: 2 * ((t / 2).sin() / t) ** 2)


def sine_remainder(x: Tensor) -> Tensor:
    """(t - sin t) / t^3 as a function of x = t^2 >= 0 [rad^2]."""
    return _switched(x, _SINE_REMAINDER, lambda t: (t - t.sin()) / t**3)


def half_cotangent(x: Tensor) -> Tensor:
    """(1 - (t/2) cot(t/2)) / t^2 as a function of x = t^2 in [0, (2 pi)^2) [rad^2]."""
    return _switched(x, _HALF_COTANGENT, lambda t: (1 - t / 2 * (t / 2).cos() / (t / 2).sin()) / t**2)


def arctangent_ratio(sine_squared: Tensor, cosine: Tensor) -> Tensor:
    """atan2(s, c) / s as a function of s^2 and c, for c >= 0.

    Args:
        sine_squared: s^2 rather than s, so that derivatives exist at zero.
        cosine: c, not negative; not zero where s is.
    """
    small = sine_squared < cosine**2 / 16
    safe_cosine = torch.where(small, cosine, torch.ones_like(cosine))
    near = torch.where(small, sine_squared, torch.zeros_like(cosine)) / safe_cosine**2
    far = torch.where(small, torch.ones_like(cosine), sine_squared).sqrt()
    return torch.where(small, _polynomial(near, _ARCTANGENT) / safe_cosine, torch.atan2(far, cosine) / far)


def angle_ratio(sine_squared: Tensor, cosine: Tensor) -> Tensor:
    """atan2(s, c) / s as a function of s^2 and c of either sign; s not zero where c is not positive."""
    behind = cosine < 0
    acute = arctangent_ratio(sine_squared, torch.where(behind, -cosine, cosine))
    sine = torch.where(behind, sine_squared, torch.ones_like(cosine)).sqrt()
    return torch.where(behind, torch.pi / sine - acute, acute)


def angle_squared(sine_squared: Tensor, cosine: Tensor) -> Tensor:
    """atan2(s, c)^2 as a function of s^2 and c of either sign; pi^2 with derivatives of zero at s = 0 > c."""
    # Not the square of s times the ratio, whose derivatives cancel to nothing as the angle approaches pi.
    behind = cosine < 0
    acute = arctangent_ratio(sine_squared, torch.where(behind, -cosine, cosine))
    sine = root(torch.where(behind, sine_squared, torch.zeros_like(cosine)))
    return torch.where(behind, (torch.pi - sine * acute) ** 2, sine_squared * acute**2)


def root(x: Tensor) -> Tensor:
    """sqrt(x), but zero with derivatives of zero where sqrt(x) is not above the rounding unit of the dtype.

    Above it even x^(-5/2), which second derivatives contain, does not overflow in float32.
    """
    positive = x > torch.finfo(x.dtype).eps ** 2
    return torch.where(positive, torch.where(positive, x, torch.ones_like(x)).sqrt(), torch.zeros_like(x))
