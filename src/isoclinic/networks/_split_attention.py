"""Split attention: branches of a convolution weighed against each other by what the whole image shows."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor, nn

from ._layers import Convolution

# Zhang et al. 2020: the attention is computed in a quarter of the channels, but in no fewer than 32.
_REDUCTION = 4
_LEAST_ATTENTION_CHANNELS = 32


def convolution(dimensions: int, below: int, here: int, norm_groups: int, **settings: Any) -> nn.Module:
    """Convolution from `below` to `here` channels, group norm, ReLU; 3 wide unless `settings` say otherwise.

    Normalises in `norm_groups` groups, or as many of them as divide the channels.
    """
    groups = math.gcd(here, norm_groups)
    return Convolution(
        dimensions, below, here, norm_groups=groups, **{"activation": "relu", "bias": False, **settings}
    )


class SplitAttention(nn.Module):
    """Split-attention convolution (Zhang et al. 2020, ResNeSt, section 3 and its radix-major layout).

    Each of `cardinality` groups of channels has `radix` branches. Their weights, a softmax over the branches
    for every channel, come from the mean of their sum over the image. That mean is not normalised: it is one
    number per channel.
    """

    def __init__(self, channels: int, radix: int, cardinality: int, norm_groups: int) -> None:
        super().__init__()
        self.radix, self.cardinality = radix, cardinality
        branches = radix * channels
        self.branches = convolution(2, channels, branches, norm_groups, groups=radix * cardinality)
        inner = max(branches // _REDUCTION, _LEAST_ATTENTION_CHANNELS) // cardinality * cardinality
        self.attention = nn.Sequential(
            nn.Conv2d(channels, inner, 1, groups=cardinality),
            nn.ReLU(),
            nn.Conv2d(inner, branches, 1, groups=cardinality),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, C, h, w] of features [B, C, h, w]."""
        branches = self.branches(x).unflatten(1, (self.radix, -1))
        raw = self.attention(branches.sum(1).mean((-2, -1), keepdim=True))
        weights = raw.unflatten(1, (self.cardinality, self.radix, -1)).softmax(2)
        return (weights.transpose(1, 2).flatten(2, 3) * branches).sum(1)


class SplitAttentionBottleneck(nn.Module):
    """Residual block: a 1x1 convolution, split attention, another 1x1 convolution, all equally wide."""

    def __init__(self, channels: int, radix: int, cardinality: int, norm_groups: int) -> None:
        super().__init__()
        self.change = nn.Sequential(
            convolution(2, channels, channels, norm_groups, kernel_size=1),
            SplitAttention(channels, radix, cardinality, norm_groups),
            convolution(2, channels, channels, norm_groups, kernel_size=1, activation=None),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, C, h, w] of features [B, C, h, w]."""
        return (x + self.change(x)).relu()
