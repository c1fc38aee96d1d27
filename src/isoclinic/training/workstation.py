"""What detector and workstation make of an image: saturation, sharpening, and few grey levels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._draws import log_uniform, per_image, separable_filter, sometimes, uniform
from .randomization_config import WorkstationConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkstationParameters:
    """What happens to each image, in line integrals above the open beam [nats].

    Attributes:
        black: [B], what is denser saturates; infinite for none.
        white: [B], what is thinner saturates.
        sharpening: [B], share of what is finer than `sharpening_range` that is added; negative blurs.
        sharpening_range: [B], standard deviation of what it is told from, in widths of the image.
        levels: [B], grey levels between white and black; 0 for none.
    """

    black: Tensor
    white: Tensor
    sharpening: Tensor
    sharpening_range: Tensor
    levels: Tensor

    def applied(self, index: int) -> list[str]:
        """Names and sizes of what happens to one image, for people to read."""
        said = []
        if self.black[index].isfinite():
            said.append(f"black above {self.black[index]:.1f} nats")
        if self.white[index] > 0:
            said.append(f"white below {self.white[index]:.2f} nats")
        if self.sharpening[index] != 0:
            said.append(f"sharpening {self.sharpening[index]:+.1f}")
        return said


def draw_workstation(
    config: WorkstationConfig, generator: torch.Generator, batch: int
) -> WorkstationParameters:
    """Parameters for that many images, on the CPU."""

    def rarely(probability: float, drawn: Tensor, neutral: float) -> Tensor:
        return sometimes(probability, drawn, neutral, generator=generator)

    black = uniform(config.black, batch, generator=generator)
    white = uniform(config.white, batch, generator=generator)
    sharpening = uniform(config.sharpening, batch, generator=generator)
    return WorkstationParameters(
        black=rarely(config.black_probability, black, torch.inf),
        white=rarely(config.white_probability, white, 0.0),
        sharpening=rarely(config.sharpening_probability, sharpening, 0.0),
        sharpening_range=log_uniform(config.sharpening_range, batch, generator=generator),
        levels=rarely(config.levels_probability, torch.full((batch,), float(config.levels)), 0.0),
    )


def apply_workstation(image: Tensor, parameters: WorkstationParameters) -> Tensor:
    """Images [B, H, W] like line integrals, after detector and workstation."""
    p = parameters
    smooth = separable_filter(image, p.sharpening_range * image.shape[2])
    image = image + per_image(p.sharpening) * (image - smooth)
    white = per_image(p.white)
    image = image.maximum(white).minimum(white + per_image(p.black)) - white
    steps = per_image(p.levels)
    largest = image.amax((1, 2), keepdim=True).clamp(min=1e-3)
    rounded = (image / largest * steps).round() / steps.clamp(min=1) * largest
    return torch.where(steps > 0, rounded, image)
