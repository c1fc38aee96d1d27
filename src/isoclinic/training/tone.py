"""The published domain randomisation: smoothing, noise, tone and erasing of a finished image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ._draws import inside_boxes, per_image, random_boxes, separable_filter, sometimes, uniform
from ._ranges import Range
from .randomization_config import ToneConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class ToneParameters:
    """What happens to each image; in brackets the value that leaves it alone.

    Attributes:
        smoothing_px: [B], side of the window [px] (1).
        noise: [B], standard deviation (0).
        noise_mean: [B] (0).
        lower: [B], becomes 0 (0).
        upper: [B], becomes 1 (1).
        scaling: [B], factor (1).
        gamma: [B], power (1).
        sine: [B, 3], amplitude, frequency and phase (0, 0, 0).
        erased: [B, 4], (top, left, bottom, right) in shares of the image (0, 0, 0, 0).
        noise_seed: of the batch's noise.
    """

    smoothing_px: Tensor
    noise: Tensor
    noise_mean: Tensor
    lower: Tensor
    upper: Tensor
    scaling: Tensor
    gamma: Tensor
    sine: Tensor
    erased: Tensor
    noise_seed: int

    def applied(self, index: int) -> list[str]:
        """Names and sizes of what happens to one image, for people to read."""
        top, left, bottom, right = self.erased[index].tolist()
        said = {
            f"smoothed {int(self.smoothing_px[index])} px": self.smoothing_px[index] > 1,
            f"noise {self.noise[index]:.2f}{_of_mean(self.noise_mean[index])}": self.noise[index] > 0,
            f"stretched {self.lower[index]:.2f}..{self.upper[index]:.2f}": self.lower[index] != 0,
            f"x {self.scaling[index]:.2f}": self.scaling[index] != 1,
            f"gamma {self.gamma[index]:.2f}": self.gamma[index] != 1,
            "sine": self.sine[index, 0] != 0,
            f"erased {(bottom - top) * (right - left):.0%}": bottom > top,
        }
        return [name for name, applied in said.items() if applied]


def _of_mean(mean: Tensor) -> str:
    return f" about {float(mean):.2f}" if mean != 0 else ""


def draw_tone(config: ToneConfig, generator: torch.Generator, batch: int) -> ToneParameters:
    """Parameters for that many images, on the CPU."""

    def often(probability: float, drawn: Tensor, neutral: float) -> Tensor:
        return sometimes(probability, drawn, neutral, generator=generator)

    def between(bounds: Range) -> Tensor:
        return uniform(bounds, batch, generator=generator)

    window = torch.randint(len(config.smoothing_px), (batch,), generator=generator)
    limits = torch.stack([between(config.normalization_lower), between(config.normalization_upper) - 1], 1)
    lower, above_one = often(config.normalization_probability, limits, 0.0).T
    waves = (config.sine_amplitude, config.sine_frequency, config.sine_phase)
    boxes = random_boxes(between(config.erasing_area), between(config.erasing_aspect), generator=generator)
    smoothing_px = often(config.smoothing_probability, torch.tensor(config.smoothing_px)[window], 1)
    magnitude = between(config.noise)
    if config.noise_reading == "mean":
        parts = torch.stack([torch.full_like(magnitude, config.noise_deviation), magnitude], 1)
    else:
        parts = torch.stack([magnitude.abs(), torch.zeros_like(magnitude)], 1)
    noise, noise_mean = often(config.noise_probability, parts, 0.0).T
    return ToneParameters(
        smoothing_px=smoothing_px,
        noise=noise,
        noise_mean=noise_mean,
        lower=lower,
        upper=1 + above_one,
        scaling=often(config.scaling_probability, between(config.scaling), 1.0),
        gamma=often(config.gamma_probability, between(config.gamma), 1.0),
        sine=often(config.sine_probability, torch.stack([between(bounds) for bounds in waves], 1), 0.0),
        erased=often(config.erasing_probability, boxes, 0.0),
        noise_seed=int(torch.randint(2**62, (), generator=generator)),
    )


def apply_tone(images: Tensor, parameters: ToneParameters) -> Tensor:
    """Images [B, H, W] after the transforms; their largest value is the unit from first to last."""
    p = parameters
    peak = images.amax(dim=(1, 2), keepdim=True).clamp(min=torch.finfo(images.dtype).tiny)
    x = images / peak
    if (p.smoothing_px > 1).any():
        x = separable_filter(x, (p.smoothing_px - 1) / 2, box=True)
    x = x + per_image(p.noise_mean)
    if (p.noise > 0).any():
        generator = torch.Generator(x.device).manual_seed(p.noise_seed)
        x = x + per_image(p.noise) * torch.randn(x.shape, generator=generator, device=x.device)
    x = (x - per_image(p.lower)) / per_image(p.upper - p.lower) * per_image(p.scaling)
    gamma = per_image(p.gamma)
    x = torch.where(gamma != 1, x.clamp(min=0) ** gamma, x)
    amplitude, frequency, phase = map(per_image, p.sine.T)
    x = torch.where(amplitude != 0, amplitude * torch.sin(frequency * x + phase), x)
    erased = inside_boxes(p.erased, *x.shape[1:])
    return torch.where(erased, x.mean(dim=(1, 2), keepdim=True), x) * peak
