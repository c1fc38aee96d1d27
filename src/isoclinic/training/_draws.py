"""What the randomisations share: checked ranges, draws, and the coordinates of an image."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ._ranges import Range


def batch_generator(seed: int, index: int) -> torch.Generator:
    """The generator of a batch, independent of those of other indices and seeds, however close."""
    state = np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0] >> 1))


def copied(of_pairs: Tensor, copies: int) -> Tensor:
    """What belongs to pairs [B, ...], once for each copy of them [B * copies, ...]."""
    return of_pairs.repeat_interleave(copies, dim=0) if copies > 1 else of_pairs


def uniform(bounds: Range, *shape: int, generator: torch.Generator) -> Tensor:
    """Uniform between two bounds, float32."""
    lower, upper = bounds
    return lower + (upper - lower) * torch.rand(shape, generator=generator)


def log_uniform(bounds: Range, *shape: int, generator: torch.Generator) -> Tensor:
    """Uniform in the logarithm between two positive bounds, float32."""
    lower, upper = bounds
    return uniform((math.log(lower), math.log(upper)), *shape, generator=generator).exp()


def sometimes(probability: float, drawn: Tensor, neutral: float, *, generator: torch.Generator) -> Tensor:
    """`drawn` [B, ...] for a share of the batch, `neutral` for the rest.

    What else is drawn does not depend on the probability: values are drawn for the rest, too.
    """
    applied = torch.rand(len(drawn), generator=generator) < probability
    return torch.where(per_image(applied, drawn.ndim), drawn, torch.full_like(drawn, neutral))


def per_image(values: Tensor, dimensions: int = 3) -> Tensor:
    """Values [B] as [B, 1, ...], to go with arrays of that many dimensions."""
    return values.reshape(-1, *[1] * (dimensions - 1))


def random_boxes(area: Tensor, aspect: Tensor, *, generator: torch.Generator) -> Tensor:
    """Boxes (top, left, bottom, right) [B, 4] inside the unit square, by area and height over width [B].

    A box that would be wider than the square keeps its area: its aspect is raised to what fits.
    """
    aspect = torch.maximum(aspect, area)
    size = torch.stack([(area * aspect).sqrt(), (area / aspect).sqrt()], dim=1)
    corner = (1 - size) * torch.rand(len(area), 2, generator=generator)
    return torch.cat([corner, corner + size], dim=1)


def inside_boxes(boxes: Tensor, height: int, width: int) -> Tensor:
    """[B, H, W], which pixel centres lie in boxes (top, left, bottom, right) [B, 4], shares of the image."""
    top, left, bottom, right = boxes.T[..., None]
    row = (torch.arange(height, device=boxes.device) + 0.5) / height
    column = (torch.arange(width, device=boxes.device) + 0.5) / width
    in_rows, in_columns = (row >= top) & (row < bottom), (column >= left) & (column < right)
    return in_rows[:, :, None] & in_columns[:, None, :]


def places(height: int, width: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Right and down of the image's centre, in widths of the image: [W] and [H, 1]."""
    column = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5) / width - 0.5
    row = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5 - height / 2) / width
    return column, row[:, None]


def separable_filter(images: Tensor, half_width_px: Tensor, *, box: bool = False) -> Tensor:
    """Images [B, H, W] averaged over windows of their own sizes; at the rim over what lies inside.

    Products with banded matrices: two small matrix multiplications for the whole batch, whatever the sizes.

    Args:
        images: [B, H, W].
        half_width_px: [B], standard deviation of a Gaussian, or half the side of a box less half a pixel.
        box: which of the two.
    """

    def band(length: int) -> Tensor:
        place = torch.arange(length, device=images.device, dtype=images.dtype)
        distance = (place[:, None] - place).abs()
        reach = half_width_px.to(images)[:, None, None]
        if box:
            window = (distance <= reach).to(images.dtype)
        else:
            window = torch.exp(-0.5 * (distance / reach.clamp(min=1e-3)).square())
        return window / window.sum(dim=-1, keepdim=True)

    return band(images.shape[1]) @ images @ band(images.shape[2]).mT
