"""Local standardisation, in plain torch: what makes least squares on images local normalised correlation.

Every pixel is shifted and scaled by the weighted mean and deviation of the window around it. The sum of
squared differences of two images standardised over one common window is twice the number of pixels times
(1 - NCC); with a window sliding over every pixel it is the smooth, differentiable form of local NCC.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

# Sum of weights up to which a window counts as empty.
LEAST_MASS = 1e-3


def box_sum(image: Tensor, radius: int) -> Tensor:
    """Sum over the (2 radius + 1)^2 window around every pixel of [..., H, W]; what lies outside is 0."""
    for dim in (-1, -2):
        ends = (radius + 1, radius) if dim == -1 else (0, 0, radius + 1, radius)
        total = pad(image, ends).cumsum(dim)
        length = image.shape[dim]
        image = total.narrow(dim, 2 * radius + 1, length) - total.narrow(dim, 0, length)
    return image


def weighted_mean(image: Tensor, weight: Tensor) -> Tensor:
    """Mean [B] of images [B, H, W] under the weight [H, W] or [B, H, W]; 0 where there is none."""
    return (weight * image).sum(dim=(1, 2)) / weight.sum(dim=(-2, -1)).clamp(min=LEAST_MASS)


def standardize(
    image: Tensor, jacobian: Tensor, weight: Tensor, *, radius: int, floor: float
) -> tuple[Tensor, Tensor]:
    """Standardise an image and its derivatives within sliding windows.

    x = (I - m) / s with m and s^2 the weighted mean and variance of the window, s^2 raised by floor^2 so that
    flat windows stay flat; dx = (dI - dm - x ds) / s.

    Args:
        image: [B, H, W].
        jacobian: [B, P, H, W].
        weight: [H, W] for all images, or [B, H, W], not negative.
        radius: half width of the window [px].
        floor: deviation added in squares, in the units of the image.

    Returns:
        (x [B, H, W], dx [B, P, H, W]); both 0 where the whole window has no weight.
    """
    mass = box_sum(weight, radius)
    share = torch.where(mass > LEAST_MASS, 1 / mass.clamp(min=LEAST_MASS), torch.zeros_like(mass))
    # Subtracting one value per image changes nothing but the rounding of the variance.
    centred = image - weighted_mean(image, weight)[:, None, None]
    mean = box_sum(weight * centred, radius) * share
    variance = box_sum(weight * centred.square(), radius) * share - mean.square()
    deviation = (variance.clamp(min=0) + floor**2).sqrt()
    x = (centred - mean) / deviation * (share > 0)
    weight, share = weight.unsqueeze(-3), share.unsqueeze(-3)
    mean_change = box_sum(weight * jacobian, radius) * share
    covariance = box_sum(weight * jacobian * centred[:, None], radius) * share - mean[:, None] * mean_change
    deviation_change = covariance / deviation[:, None]
    dx = (jacobian - mean_change - x[:, None] * deviation_change) / deviation[:, None] * (share > 0)
    return x, dx
