"""What networks see of an image of which not every pixel shows the patient."""

from __future__ import annotations

from torch import Tensor

# Of the weight of all pixels: an image with less shows nothing.
_LEAST_WEIGHT = 1e-6


def masked(image: Tensor, weight: Tensor) -> Tensor:
    """Images about their weighted mean, and zero where they do not show the patient.

    Linear in the image, so that derivatives of an image are masked alike. Moving images are masked like the
    fixed one they are compared with: both then show the same field of view.

    Args:
        image: [..., H, W], or derivatives of images.
        weight: [..., H, W], 0 where a pixel does not show the patient, 1 where it does.
    """
    total = weight.sum((-2, -1), keepdim=True).clamp(min=_LEAST_WEIGHT)
    return weight * (image - (weight * image).sum((-2, -1), keepdim=True) / total)
