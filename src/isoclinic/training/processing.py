"""What detector and workstation do to a finished picture: few quanta, sharpening, equalising, text."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..volumes import PreprocessConfig
from ._draws import inside_boxes, log_uniform, per_image, separable_filter, sometimes, uniform
from ._ranges import Range
from .hospital_config import ProcessingConfig

# The X-ray that registration sees has been through this.
_PREPROCESS = PreprocessConfig()
# Flat parts are not equalised: no noise there is raised to full contrast.
_FLAT = 0.02
# Transmissions at which few quanta are tabulated, and up to how many deviations above their mean.
_TABLE, _DEVIATIONS = 48, 8.0
# The 99.9th percentile of a normal distribution, which preprocessing takes for the open beam.
_OPEN_BEAM_DEVIATIONS = 3.1


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
        photons, pixels = float(parameters.photons[index]), int(parameters.detector_pixels[index])
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
    image: Tensor, weight: Tensor, photons: float, pixels: int, generator: torch.Generator
) -> Tensor:
    """An image like line integrals [H, W] where pixels of the detector count quanta by Poisson's law.

    The logarithm of a pixel of the detector is limited by preprocessing's floor, so that few quanta do not
    only add noise. Of so many pixels on average it is nearly normal, with the mean and the deviation that
    Poisson's law gives: that is as good as counting, and independent of their number.
    """
    mean, deviation = counted_logarithm(photons, image.device)
    # Position in the table, from the floor to the open beam.
    place = ((1 + image / math.log(_PREPROCESS.floor)).clamp(0, 1)) * (len(mean) - 1)
    lower = place.long().clamp(max=len(mean) - 2)
    share = place - lower
    expected, spread = ((1 - share) * each[lower] + share * each[lower + 1] for each in (mean, deviation))
    noise = torch.randn(image.shape, generator=generator, device=image.device)
    counted = expected + spread / pixels * noise
    # The open beam is a percentile of the detector's pixels, which noise raises.
    shown = image[weight > 0]
    brightest = photons * math.exp(-float(shown.min())) if len(shown) else photons
    raised = (brightest + _OPEN_BEAM_DEVIATIONS * math.sqrt(brightest)) / photons
    return counted + math.log(raised)


def counted_logarithm(photons: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of -log max(N / photons, floor), N quanta by Poisson's law.

    Args:
        photons: of the open beam.
        device: of the results.

    Returns:
        [T] each, at transmissions whose logarithms are evenly spaced from that of preprocessing's floor to 0.
    """
    expected = photons * torch.logspace(math.log10(_PREPROCESS.floor), 0, _TABLE, device=device)[:, None]
    most = photons + _DEVIATIONS * math.sqrt(photons)
    count = torch.arange(math.ceil(most) + 1, device=device, dtype=torch.float32)
    share = torch.exp(count * expected.log() - expected - torch.lgamma(count + 1))
    value = -(count / photons).clamp(min=_PREPROCESS.floor).log()
    mean = share @ value
    return mean, (share @ value.square() - mean.square()).clamp(min=0).sqrt()


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
