"""Limits of a detector: everything is equally black above one, and equally white below another."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._draws import per_image, sometimes, uniform
from .hospital_config import SaturationConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class SaturationParameters:
    """Limits of each image [nats].

    Attributes:
        black: [B], line integral above that of white from which an image is black; infinite for none.
        white: [B], line integral up to which an image is white; 0 for none.
    """

    black: Tensor
    white: Tensor

    def applied(self, index: int) -> list[str]:
        """Names and sizes of what happens to one image, for people to read."""
        said = []
        if self.black[index].isfinite():
            said.append(f"black above {self.black[index]:.1f} nats")
        if self.white[index] > 0:
            said.append(f"white below {self.white[index]:.2f} nats")
        return said


def draw_saturation(config: SaturationConfig, generator: torch.Generator, batch: int) -> SaturationParameters:
    """Parameters for that many images, on the CPU."""
    black = uniform(config.black, batch, generator=generator)
    white = uniform(config.white, batch, generator=generator)
    return SaturationParameters(
        black=sometimes(config.black_probability, black, torch.inf, generator=generator),
        white=sometimes(config.white_probability, white, 0.0, generator=generator),
    )


def apply_saturation(image: Tensor, parameters: SaturationParameters) -> Tensor:
    """Images [B, H, W] like line integrals between the limits of the detector; what is white becomes 0."""
    white = per_image(parameters.white)
    return image.maximum(white).minimum(white + per_image(parameters.black)) - white
