"""What lies between line integrals and a preprocessed X-ray: beam, tools, detector and collimator."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..volumes import PreprocessConfig
from ._draws import (
    inside_boxes,
    log_uniform,
    per_image,
    places,
    random_boxes,
    separable_filter,
    sometimes,
    uniform,
)
from ._ranges import Range
from .randomization_config import AcquisitionConfig

# The X-ray that registration sees has been through this.
_PREPROCESS = PreprocessConfig()
# A screw's thread is as long as its core is thick; its head is as long as that, and this much wider.
_HEAD_WIDTH = 1.7
_SHADING_TERMS = 5


@dataclass(frozen=True, kw_only=True, eq=False)
class AcquisitionParameters:
    """What happens to each image. Lengths and places are in widths of the image, from its centre.

    Attributes:
        materials: [B, 2], factors on soft tissue and bone.
        scatter: [B], scattered over primary signal.
        scatter_range: [B], standard deviation of its spread.
        photons: [B], of the open beam per pixel.
        blur: [B], standard deviation.
        shading: [B, 5], coefficients of x, y, x^2, x y and y^2 in the signal's logarithm, where x and y are
            -1 and 1 at the left and right rim.
        tone: [B], exponent.
        tools: [B, T, 7], each (x, y, direction [rad], length, radius, depth of the thread as a share of the
            radius, attenuation); an attenuation of 0 is no tool.
        field: [B, 3], (x, y, half size) of the collimated field; infinite for none.
        field_round: [B], whether the field is a disc, not a square cut at the image's rim.
        surroundings: [B], signal beside the field over that of the open beam.
        view: [B, 4], (top, left, bottom, right) of the part shown, in shares of the image.
        noise_seed: of the batch's noise.
    """

    materials: Tensor
    scatter: Tensor
    scatter_range: Tensor
    photons: Tensor
    blur: Tensor
    shading: Tensor
    tone: Tensor
    tools: Tensor
    field: Tensor
    field_round: Tensor
    surroundings: Tensor
    view: Tensor
    noise_seed: int

    def applied(self, index: int) -> list[str]:
        """Names and sizes of what happens to one image, for people to read."""
        soft_tissue, bone = self.materials[index].tolist()
        said = [
            f"soft x {soft_tissue:.2f}, bone x {bone:.2f}",
            f"scatter {self.scatter[index]:.2f}",
            f"{self.photons[index]:.1e} quanta",
            f"tone {self.tone[index]:.2f}",
        ]
        tools = int((self.tools[index, :, -1] > 0).sum())
        if tools:
            said.append("1 tool" if tools == 1 else f"{tools} tools")
        if self.field[index, 2].isfinite():
            said.append("round field" if self.field_round[index] else "square field")
        if self.view[index].tolist() != [0.0, 0.0, 1.0, 1.0]:
            said.append("part of the view")
        return said


def draw_acquisition(
    config: AcquisitionConfig, generator: torch.Generator, batch: int
) -> AcquisitionParameters:
    """Parameters for that many images, on the CPU."""

    def between(bounds: Range, *shape: int) -> Tensor:
        return uniform(bounds, batch, *shape, generator=generator)

    def share(size: float) -> Tensor:
        return torch.rand(batch, generator=generator) < size

    def field_within(shift: float, radius: Range) -> Tensor:
        return torch.cat([between((-shift, shift), 2), between(radius, 1)], dim=1)

    field = field_within(config.collimation_shift, config.collimation_radius)
    # Relative to the whole image, which is the neutral box.
    view = random_boxes(between(config.view_area), between(config.view_aspect), generator=generator)
    whole = torch.tensor([0.0, 0.0, 1.0, 1.0])
    parameters = AcquisitionParameters(
        materials=torch.stack([between(config.soft_tissue), between(config.bone)], dim=1),
        scatter=between(config.scatter),
        scatter_range=between(config.scatter_range),
        photons=log_uniform(config.photons, batch, generator=generator),
        blur=between(config.blur),
        shading=between((-config.shading, config.shading), _SHADING_TERMS),
        tone=between(config.tone),
        tools=_draw_tools(config, generator, batch),
        field=sometimes(config.collimation_probability, field, math.inf, generator=generator),
        field_round=share(config.collimation_round),
        surroundings=share(config.collimation_white).float(),
        view=whole + sometimes(config.view_probability, view - whole, 0.0, generator=generator),
        noise_seed=int(torch.randint(2**62, (), generator=generator)),
    )
    if not config.close_probability:
        return parameters  # so that the draws of older configurations remain what they were
    close = field_within(config.close_shift, config.close_radius)
    return replace(
        parameters, field=torch.where(share(config.close_probability)[:, None], close, parameters.field)
    )


def _draw_tools(config: AcquisitionConfig, generator: torch.Generator, batch: int) -> Tensor:
    def between(bounds: Range) -> Tensor:
        return uniform(bounds, batch, config.tools, generator=generator)

    screw = torch.rand(batch, config.tools, generator=generator) < config.tool_screws
    count = torch.randint(1, config.tools + 1, (batch, 1), generator=generator)
    attenuation = between(config.tool_attenuation) * (torch.arange(config.tools) < count)
    return torch.stack(
        [
            between((-0.5, 0.5)),
            between((-0.5, 0.5)),
            between((-math.pi, math.pi)),
            torch.where(screw, between(config.screw_length), between(config.wire_length)),
            torch.where(screw, between(config.screw_radius), between(config.wire_radius)),
            torch.where(screw, between((0.15, 0.4)), torch.zeros(())),
            sometimes(config.tools_probability, attenuation, 0.0, generator=generator),
        ],
        dim=-1,
    )


def apply_acquisition(materials: Tensor, parameters: AcquisitionParameters) -> tuple[Tensor, Tensor]:
    """The X-ray of line integrals of soft tissue and bone, turned back into line integrals.

    Scatter is the blurred primary signal behind patient and tools, as in `simulate_xray`; quanta arrive
    nearly by Poisson's law; detector blur, shading, the tone curve and the collimator's edge follow. At last
    the negative logarithm is taken, as `line_integrals` does with an X-ray.

    Args:
        materials: [B, 2, H, W], line integrals.
        parameters: of B images.

    Returns:
        (image [B, H, W], weight [B, H, W]): like line integrals, bright where dense; 0 and 1, whether a pixel
        shows the patient.
    """
    p = parameters
    height, width = materials.shape[2:]
    line_integrals = (p.materials[:, :, None, None] * materials).sum(dim=1)
    x, y = places(height, width, materials)
    signal = torch.exp(-line_integrals - tool_attenuation(p.tools, x, y))
    veil = separable_filter(signal, p.scatter_range * width)
    signal = signal + per_image(p.scatter) * veil
    photons = per_image(p.photons)
    generator = torch.Generator(signal.device).manual_seed(p.noise_seed)
    noise = torch.randn(signal.shape, generator=generator, device=signal.device)
    # The square root of a Poisson count is nearly normal with deviation 1/2 (Anscombe 1948, Biometrika
    # 35:246); the mean is exact, the variance off by 1/8 of a quantum. Ten times faster than drawing counts.
    signal = (((signal * photons).sqrt() + noise / 2).square() - 0.25).clamp(min=0) / photons
    signal = separable_filter(signal, p.blur * width)
    signal = (signal * shading(p.shading, x, y)) ** per_image(p.tone)
    shown = inside_boxes(p.view, height, width)
    in_field = inside_fields(p.field, p.field_round, x, y)
    brightest = _open_beam(torch.where(shown & in_field, signal, 0.0))
    signal = torch.where(in_field, signal, per_image(p.surroundings) * brightest)
    open_beam = _open_beam(torch.where(shown, signal, 0.0)).clamp(min=torch.finfo(signal.dtype).tiny)
    image = -torch.log((signal / open_beam).clamp(min=_PREPROCESS.floor))
    return torch.where(shown, image, 0.0), (shown & in_field).to(image.dtype)


def tool_attenuation(tools: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Line integrals [B, H, W] of tools [B, T, 7] (see `AcquisitionParameters`) at places [W] and [H, 1].

    A wire is a cylinder: its chord is longest in the middle. A screw's radius shrinks periodically along it,
    and its head is wider.
    """
    present = (tools[..., -1] > 0).any(dim=1)
    attenuation = tools.new_zeros(len(tools), y.shape[0], x.shape[0])
    if not present.any():
        return attenuation
    column, row, direction, length, radius, thread, peak = tools[present][..., None, None].unbind(2)
    radius = radius.clamp(min=torch.finfo(radius.dtype).eps)
    right, down = x - column, y - row
    along = right * direction.cos() + down * direction.sin()
    across = down * direction.cos() - right * direction.sin()
    grooved = radius * (1 - thread * (0.5 + 0.5 * torch.cos(math.pi * along / radius)))
    head = (thread > 0) & (along < 2 * radius)
    squared = (across / torch.where(head, _HEAD_WIDTH * radius, grooved)).square()
    chord = (1 - squared).clamp(min=0).sqrt() * ((along >= 0) & (along <= length))
    attenuation[present] = (peak * chord).sum(dim=1)
    return attenuation


def shading(coefficients: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Factor [B, H, W] on the signal, of `AcquisitionParameters.shading` [B, 5]."""
    x, y = torch.broadcast_tensors(2 * x, 2 * y)
    terms = torch.stack([x, y, x * x, x * y, y * y])
    return torch.exp(torch.einsum("bk,khw->bhw", coefficients, terms))


def inside_fields(fields: Tensor, is_round: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Which places lie in collimated fields [B, 3]: [B, H, W]; see `AcquisitionParameters.field`."""
    collimated = fields[:, 2].isfinite()
    column, row, half = (per_image(value) for value in torch.where(collimated[:, None], fields, 0.0).T)
    right, down = (x - column).abs(), (y - row).abs()
    distance = torch.where(per_image(is_round), torch.hypot(right, down), torch.maximum(right, down))
    return (distance <= half) | ~per_image(collimated)


def _open_beam(signal: Tensor) -> Tensor:
    """The percentile of the signal [B, H, W] that preprocessing takes for the open beam: [B, 1, 1]."""
    pixels = signal.flatten(1)
    above = max(1, round(pixels.shape[1] * (1 - _PREPROCESS.open_beam_percentile / 100)))
    return per_image(pixels.topk(above, dim=1).values[:, -1])
