"""What detector and workstation do to a finished picture: few quanta, sharpening, equalising, text."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..volumes import PreprocessConfig
from ._draws import inside_boxes, log_uniform, per_image, separable_filter, sometimes, uniform
from ._ranges import Range
from .hospital_config import ProcessingConfig

# The X-ray that registration sees has been through this.
_PREPROCESS = PreprocessConfig()
# Flat parts are not equalised: no noise there is raised to full contrast.
_FLAT = 0.02


@dataclass(frozen=True, kw_only=True, eq=False)
class ProcessingParameters:
    """What happens to each image; in brackets the value that leaves it alone. Lengths in widths of the image.

    Attributes:
        photons: [B], of the open beam per pixel of the detector (infinity).
        detector_pixels: [B], pixels of the detector along a side of one of the image.
        sharpening: [B] (0).
        sharpening_radius: [B].
        equalization: [B], share of the equalised picture (0).
        equalization_window: [B].
        bits: [B] (0).
        text: [B, T, 4], boxes (top, left, bottom, right) in shares of the image (0, 0, 0, 0).
        noise_seed: of the batch's noise and letters.
    """

    photons: Tensor
    detector_pixels: Tensor
    sharpening: Tensor
    sharpening_radius: Tensor
    equalization: Tensor
    equalization_window: Tensor
    bits: Tensor
    text: Tensor
    noise_seed: int

    def applied(self, index: int) -> list[str]:
        """Names and sizes of what happens to one image, for people to read."""
        blocks = int((self.text[index, :, 2] > 0).sum())
        said = {
            f"low dose, {self.photons[index]:.0f} quanta": self.photons[index].isfinite(),
            f"sharpened {self.sharpening[index]:.1f}": self.sharpening[index] > 0,
            f"equalised {self.equalization[index]:.0%}": self.equalization[index] > 0,
            f"{int(self.bits[index])} bits": self.bits[index] > 0,
            f"text x {blocks}": blocks > 0,
        }
        return [name for name, applied in said.items() if applied]

    @property
    def drawn_over(self) -> Tensor:
        """Numbers of the images to whose pictures something happens after the quanta have been counted."""
        changes = (self.sharpening > 0, self.equalization > 0, self.bits > 0)
        return torch.stack([*changes, (self.text[..., 2] > 0).any(dim=1)]).any(dim=0).nonzero()[:, 0]


def draw_processing(config: ProcessingConfig, generator: torch.Generator, batch: int) -> ProcessingParameters:
    """Parameters for that many images, on the CPU."""

    def often(probability: float, drawn: Tensor, neutral: float) -> Tensor:
        return sometimes(probability, drawn, neutral, generator=generator)

    def between(bounds: Range, *shape: int) -> Tensor:
        return uniform(bounds, batch, *shape, generator=generator)

    def whole(bounds: tuple[int, int]) -> Tensor:
        return torch.randint(bounds[0], bounds[1] + 1, (batch,), generator=generator)

    blocks = config.text_blocks
    size = torch.stack([between(config.text_height, blocks), between(config.text_width, blocks)], dim=2)
    # Most text stands near a rim.
    corner = (1 - size).clamp(min=0) * torch.special.expit(4 * between((-1.0, 1.0), blocks, 2))
    count = torch.randint(1, blocks + 1, (batch, 1, 1), generator=generator)
    text = torch.cat([corner, corner + size], dim=2) * (torch.arange(blocks)[:, None] < count)
    photons = log_uniform(config.low_dose_photons, batch, generator=generator)
    return ProcessingParameters(
        photons=often(config.low_dose_probability, photons, torch.inf),
        detector_pixels=whole(config.detector_pixels),
        sharpening=often(config.sharpening_probability, between(config.sharpening), 0.0),
        sharpening_radius=between(config.sharpening_radius),
        equalization=often(config.equalization_probability, between(config.equalization), 0.0),
        equalization_window=between(config.equalization_window),
        bits=often(config.quantization_probability, whole(config.bits), 0),
        text=often(config.text_probability, text, 0.0),
        noise_seed=int(torch.randint(2**62, (), generator=generator)),
    )


def apply_processing(image: Tensor, weight: Tensor, parameters: ProcessingParameters) -> Tensor:
    """Images like line integrals [B, H, W] after what is done to their pictures.

    Pixels of weight 0 stay as they are.

    Args:
        image: [B, H, W], as `apply_acquisition` makes them.
        weight: [B, H, W], 0 where the picture does not show the patient, else 1.
        parameters: of B images.
    """
    generator = torch.Generator(image.device).manual_seed(parameters.noise_seed)
    processed = image.clone()
    for index in parameters.photons.isfinite().nonzero()[:, 0].tolist():
        photons, pixels = parameters.photons[index], int(parameters.detector_pixels[index])
        processed[index] = _of_few_quanta(image[index], weight[index], photons, pixels, generator)
    which = parameters.drawn_over
    if len(which):
        signal = _drawn_over(torch.exp(-processed[which]), which, parameters, generator)
        # A percentile of so few pixels would be the text.
        brightest = torch.where(weight[which] > 0, signal, 0.0).amax(dim=(1, 2), keepdim=True)
        transmission = signal / brightest.clamp(min=_PREPROCESS.floor)
        processed[which] = -torch.log(transmission.clamp(min=_PREPROCESS.floor))
    return torch.where(weight > 0, processed, image)


def _of_few_quanta(
    image: Tensor, weight: Tensor, photons: Tensor, pixels: int, generator: torch.Generator
) -> Tensor:
    """An image like line integrals [H, W] where pixels of the detector count quanta by Poisson's law."""
    fine = torch.exp(-image).repeat_interleave(pixels, dim=0).repeat_interleave(pixels, dim=1)
    counted = torch.poisson(fine * photons, generator=generator) / photons
    shown = counted[(weight > 0).repeat_interleave(pixels, dim=0).repeat_interleave(pixels, dim=1)]
    above = max(1, round(shown.numel() * (1 - _PREPROCESS.open_beam_percentile / 100)))
    open_beam = shown.topk(above).values[-1].clamp(min=1 / photons) if len(shown) else 1.0
    counted_image = -torch.log((counted / open_beam).clamp(min=_PREPROCESS.floor))
    return avg_pool2d(counted_image[None], pixels)[0]


def _drawn_over(
    signal: Tensor, which: Tensor, parameters: ProcessingParameters, generator: torch.Generator
) -> Tensor:
    """Pictures [b, H, W], those of numbers [b], after sharpening, equalising, quantising and text."""
    p, (height, width) = parameters, signal.shape[1:]
    if (p.sharpening[which] > 0).any():
        blurred = separable_filter(signal, p.sharpening_radius[which] * width)
        signal = (signal + per_image(p.sharpening[which]) * (signal - blurred)).clamp(min=0)
    share = per_image(p.equalization[which])
    if (share > 0).any():
        signal = torch.where(share > 0, _equalized(signal, p.equalization_window[which], share), signal)
    bits = per_image(p.bits[which])
    if (bits > 0).any():
        levels = 2.0**bits - 1
        peak = signal.amax(dim=(1, 2), keepdim=True).clamp(min=_PREPROCESS.floor)
        signal = torch.where(bits > 0, peak * torch.round(levels * signal / peak) / levels, signal)
    text = p.text[which]
    if (text[..., 2] > 0).any():
        letters = torch.rand(signal.shape, generator=generator, device=signal.device) > 0.5
        boxes = torch.stack([inside_boxes(each, height, width) for each in text.unbind(1)]).any(dim=0)
        signal = torch.where(boxes & letters, signal.amax(dim=(1, 2), keepdim=True), signal)
    return signal


def _equalized(signal: Tensor, window: Tensor, share: Tensor) -> Tensor:
    """Pictures [b, H, W] mixed with themselves, equalised within windows [b] by shares [b, 1, 1].

    The rank of a pixel within its window is that of a normal distribution of the window's mean and deviation.
    """
    peak = signal.amax(dim=(1, 2), keepdim=True).clamp(min=_PREPROCESS.floor)
    half_px = window * signal.shape[2] / 2
    mean, squares = (separable_filter(each, half_px, box=True) for each in (signal, signal.square()))
    deviation = (squares - mean.square()).clamp(min=0).sqrt() + _FLAT * peak
    return (1 - share) * signal + share * peak * torch.special.ndtr((signal - mean) / deviation)
