"""What networks see of line integrals: they themselves, or the published preprocessing of X-rays."""

from __future__ import annotations

import math

from torch import Tensor

from .config import ImageDomain


def in_domain(image: Tensor, weight: Tensor, domain: ImageDomain) -> Tensor:
    """Images in the domain that networks see.

    "log_ratio" is equation (17) of Chen & Kong (WACV 2026, supplement), 1 - log(1 + I) / log(1 + I0), with
    the intensities I = exp(-L) of line integrals L normalised to their maximum and I0 that maximum: 0 where
    the beam is not weakened, 1 where nothing arrives. What L was measured against cancels out, so that
    X-rays and DRRs come to the same.

    Args:
        image: line integrals [B, H, W].
        weight: [B, H, W]; pixels of weight 0 do not count for the maximum.
        domain: which.
    """
    if domain == "line_integrals":
        return image
    relative = _above_least(image, weight)[0]
    return 1 - (-relative).exp().log1p() / math.log(2.0)


def jacobian_in_domain(
    image: Tensor, jacobian: Tensor, weight: Tensor, domain: ImageDomain
) -> tuple[Tensor, Tensor]:
    """`in_domain` of images, and its derivative [B, P, H, W] from that of the line integrals.

    The pixel of the least line integral moves the maximum, and so all others.
    """
    if domain == "line_integrals":
        return image, jacobian
    relative, least = _above_least(image, weight)
    intensity = (-relative).exp()
    slopes = jacobian.flatten(2)
    change = slopes - slopes.gather(2, least[:, None, None].expand(-1, slopes.shape[1], 1))
    slope = intensity / (1 + intensity) / math.log(2.0)
    return 1 - intensity.log1p() / math.log(2.0), slope[:, None] * change.unflatten(2, image.shape[1:])


def _above_least(image: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Line integrals above the least one that counts, and the index [B] of its pixel."""
    seen = image.masked_fill(weight <= 0, math.inf).flatten(1)
    seen = seen.where(seen.isfinite().any(1, keepdim=True), image.flatten(1))
    least = seen.argmin(1)
    return image - image.flatten(1).gather(1, least[:, None])[..., None], least
