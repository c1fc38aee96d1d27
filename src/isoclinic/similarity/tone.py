"""Tone curves: the effect of scatter, beam hardening and detectors on line integrals."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._gradients import central_differences, gradient_weight

# Of the line integrals in the image: what lies beyond is too little to fit anything to.
_KNOT_QUANTILES = (0.02, 0.98)
_KNOTS = 8
# Squared gradient, relative to its mean, of a pixel where the DRR is all but flat, such as air.
_LEAST_ENERGY = 1e-4
# Neighbouring slopes are drawn to each other as by this share of the pixels between two knots.
_SMOOTHNESS = 0.01
_SLOPES = (0.15, 4.0)
_REWEIGHTINGS = 3
# Pixels that are off by more median residuals pull less (Cauchy): tools, and what lies elsewhere.
_OUTLIER = 2.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Tone:
    """An increasing curve whose slope is linear between knots, and the last knot's beyond them.

    Attributes:
        knots: line integrals [K], increasing, float32.
        slopes: the slopes of the curve there [K], positive, float32.
    """

    knots: Tensor
    slopes: Tensor

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The curve and its slope at line integrals of any shape."""
        below, share, width = _place(image, self.knots)
        rise = self.slopes[1:] - self.slopes[:-1]
        heights = (self.slopes[:-1] + rise / 2) * (self.knots[1:] - self.knots[:-1])
        before = torch.cat([heights.new_zeros(1), heights.cumsum(0)])
        slope = self.slopes[below] + share * rise[below]
        within = width * share * (self.slopes[below] + share * rise[below] / 2)
        beyond = image - self.knots[below] - width * share
        return before[below] + within + beyond * slope, slope


def fit_tone(fixed: Tensor, image: Tensor, weight: Tensor) -> Tone | None:
    """The tone curve T with fixed = T(image) up to shading, None where no such curve increases.

    Least squares on gradients, grad fixed = T'(image) grad image, which smooth shading hardly touches. The
    DRR is free of noise, so that noise in the X-ray does not flatten the curve, least of all where it is
    strongest (it would the other way round).

    Args:
        fixed: X-ray as line integrals up to tone and shading [H, W].
        image: DRR at about the right pose [H, W].
        weight: the weight of the X-ray's pixels [H, W] in 0..1.
    """
    inner = image[1:-1, 1:-1]
    seen = gradient_weight(weight)
    shown, rendered = central_differences(torch.stack([fixed, image]))
    energy, product = rendered.square().sum(0), (shown * rendered).sum(0)
    telling = (seen > 0) & (energy > _LEAST_ENERGY * (seen * energy).mean())
    if not telling.any():
        return None
    knots = inner[telling].quantile(torch.linspace(*_KNOT_QUANTILES, _KNOTS))
    if not (knots.diff() > 0).all():
        return None
    below, share, _ = _place(inner, knots)
    basis = inner.new_zeros(*inner.shape, len(knots))
    basis.scatter_(2, below[..., None], (1 - share)[..., None])
    basis.scatter_(2, below[..., None] + 1, share[..., None])
    differences = torch.eye(len(knots)).diff(dim=0)
    pull = seen
    for _ in range(_REWEIGHTINGS):
        normal = torch.einsum("hw,hwk,hwl->kl", pull * energy, basis, basis)
        smooth = _SMOOTHNESS * normal.diagonal().mean() * differences.mT @ differences
        right = torch.einsum("hw,hwk->k", pull * product, basis)
        mean = right.sum() / normal.sum()
        slopes = torch.linalg.solve(normal + smooth, right)
        residual = (shown - rendered * (basis @ slopes)).square().sum(0).sqrt()
        scale = _OUTLIER * residual[telling].median().clamp(min=1e-12)
        pull = seen / (1 + (residual / scale).square())
    if not mean > 0:
        return None
    return Tone(knots=knots, slopes=(slopes / mean).clamp(*_SLOPES))


def _place(image: Tensor, knots: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Knot below, how far on to the next (0 to 1), and their distance."""
    below = (torch.searchsorted(knots, image.contiguous(), right=True) - 1).clamp(0, len(knots) - 2)
    width = knots.diff()[below]
    return below, ((image - knots[below]) / width).clamp(0, 1), width
