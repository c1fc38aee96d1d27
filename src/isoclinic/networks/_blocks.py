"""What the image-to-image networks share: a CNN pyramid, Transformer blocks at its top, a decoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from ..errors import UsageError
from ._layers import Convolution, Enlargement, LayerNorm, ResidualUnit, TransformerBlock
from .config import BackboneConfig

# Of an image's intensities: below it an image counts as empty.
_FLAT = 1e-6
# Deviation within a window, as a share of the image's, below which the window counts as flat.
_LOCALLY_FLAT = 0.05


class Backbone(nn.Module):
    """Features [B, C, h, w] of images [B, H, W], at the level `output_level` of the pyramid.

    Tokens know where in the field of view they are by sines and cosines of their position, which makes the
    network independent of the number of pixels. `further` images of the same size may come with each; they
    are taken as they are.
    """

    def __init__(self, config: BackboneConfig, output_level: int, further: int = 0) -> None:
        super().__init__()
        channels, groups = config.channels, config.norm_groups
        self.stride = config.stride
        self.output_channels = channels[output_level]
        self._contrast_px = config.contrast_px
        inputs = (2 if config.contrast_px else 1) + further
        self.levels = nn.ModuleList(
            ResidualUnit(below, here, stride=config.first_stride if level == 0 else 2, norm_groups=groups)
            for level, (below, here) in enumerate(zip((inputs, *channels), channels, strict=False))
        )
        self.transformer = nn.Sequential(
            *(TransformerBlock(channels[-1], config.heads) for _ in range(config.transformer_blocks)),
            LayerNorm(channels[-1]),
        )
        ascending = range(len(channels) - 2, output_level - 1, -1)
        self.enlarge = nn.ModuleList(Enlargement(channels[level + 1], channels[level]) for level in ascending)
        self.merge = nn.ModuleList(
            Convolution(2, 2 * channels[level], channels[level], norm_groups=groups, activation="gelu")
            for level in ascending
        )

    def forward(self, image: Tensor, *further: Tensor) -> Tensor:
        """Features [B, C, h, w] of images [B, H, W], float32 or float64, and further ones of that shape.

        Raises:
            UsageError: sides that are no multiples of the stride.
        """
        if any(side % self.stride for side in image.shape[-2:]):
            height, width = image.shape[-2:]
            raise UsageError(
                f"networks take images of sides in multiples of {self.stride} px, not {width} by {height}",
                code="model.wrong-shape",
            )
        x = standardized(image)[:, None]
        if self._contrast_px:
            x = torch.cat([x, local_contrast(x, self._contrast_px)], 1)
        if further:
            x = torch.cat([x, *(each[:, None] for each in further)], 1)
        skips = []
        for level in self.levels:
            x = level(x)
            skips.append(x)
        x = x + self._transformed(x)
        skips.pop()
        for enlarge, merge in zip(self.enlarge, self.merge, strict=True):
            x = merge(torch.cat([enlarge(x), skips.pop()], 1))
        return x

    def _transformed(self, x: Tensor) -> Tensor:
        tokens = (x + position_code(x)).flatten(2).mT
        return self.transformer(tokens).mT.unflatten(2, x.shape[-2:])


def position_code(features: Tensor) -> Tensor:
    """Sines and cosines [C, h, w] of where in the field of view each of features [B, C, h, w] is.

    C / 4 frequencies from half a period to 16 across the image, along each axis (after Vaswani et al. 2017).
    """
    channels, height, width = features.shape[1:]
    frequency = math.pi * torch.logspace(0, 5, channels // 4, base=2, device=features.device)
    codes = []
    for axis, side in enumerate((height, width)):
        centres = (torch.arange(side, device=features.device) + 0.5) / side
        phase = frequency[:, None] * centres
        code = torch.cat([phase.sin(), phase.cos()])
        codes.append((code[:, :, None] if axis == 0 else code[:, None]).expand(-1, height, width))
    return torch.cat(codes).to(features.dtype)


def standardized(image: Tensor) -> Tensor:
    """Images [B, H, W] with mean 0 and deviation 1 each: line integrals come in any scale."""
    centred = image - image.mean((-2, -1), keepdim=True)
    return centred / (centred.square().mean((-2, -1), keepdim=True) + _FLAT).sqrt()


def local_contrast(image: Tensor, window_px: int) -> Tensor:
    """Standardised images [B, 1, H, W] standardised once more, within windows that end at the image's rim."""

    def mean(of: Tensor) -> Tensor:
        # A mean over a rectangle is one of means over its rows, and takes a seventh of the time at 15 pixels.
        for window in ((window_px, 1), (1, window_px)):
            margin = (window[0] // 2, window[1] // 2)
            of = avg_pool2d(of, window, 1, margin, count_include_pad=False)
        return of

    average = mean(image)
    variance = (mean(image.square()) - average.square()).clamp(min=0)
    return (image - average) / (variance + _LOCALLY_FLAT**2).sqrt()


def wide(x: Tensor) -> Tensor:
    """At least float32: what comes out of a half-precision network is too coarse for geometry."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
