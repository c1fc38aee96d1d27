"""Standard layers of convolutional networks and Transformers, of plain torch modules.

Their submodules have the names, the order and the initial weights of the blocks of MONAI 1.4 and later
(https://monai.io, Apache 2.0) that the networks used to be built from, so that existing model files fit. The
tests compare the two. Networks that come with isoclinic thereby need no package besides torch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_CONVOLUTIONS = {2: nn.Conv2d, 3: nn.Conv3d}
_ACTIVATIONS: dict[str, type[nn.Module]] = {"gelu": nn.GELU, "relu": nn.ReLU}


class Convolution(nn.Sequential):
    """Convolution, group normalisation and activation.

    Args:
        dimensions: of the images, 2 or 3.
        below: channels of the input.
        here: channels of the output.
        norm_groups: channel groups of the normalisation; they divide `here`.
        activation: "gelu", "relu", or None for none.
        kernel_size: of the convolution, odd; its output is as large as its input, divided by `stride`.
        settings: further ones of the convolution, such as `stride`, `groups` and `bias`.
    """

    def __init__(
        self,
        dimensions: int,
        below: int,
        here: int,
        *,
        norm_groups: int,
        activation: str | None,
        kernel_size: int = 3,
        **settings: Any,
    ) -> None:
        super().__init__()
        convolution = _CONVOLUTIONS[dimensions]
        self.conv = convolution(below, here, kernel_size, padding=kernel_size // 2, **settings)
        self.adn = nn.Sequential()
        self.adn.add_module("N", nn.GroupNorm(norm_groups, here))
        if activation is not None:
            self.adn.add_module("A", _ACTIVATIONS[activation]())


class ResidualUnit(nn.Module):
    """Two convolutions of 2-D images with GELU, and a convolution or nothing beside them (He et al. 2016).

    Args:
        below: channels of the input.
        here: channels of the output.
        stride: of the first convolution and of the one beside it.
        norm_groups: channel groups of the normalisation.
    """

    def __init__(self, below: int, here: int, *, stride: int, norm_groups: int) -> None:
        super().__init__()
        self.conv = nn.Sequential()
        for index, (channels, step) in enumerate(((below, stride), (here, 1))):
            unit = Convolution(2, channels, here, norm_groups=norm_groups, activation="gelu", stride=step)
            self.conv.add_module(f"unit{index}", unit)
        self.residual: nn.Module = nn.Identity()
        if stride != 1:
            self.residual = nn.Conv2d(below, here, 3, stride=stride, padding=1)
        elif below != here:
            self.residual = nn.Conv2d(below, here, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Features [B, C, h, w] of features [B, C', H, W]."""
        beside = self.residual(x)
        within: Tensor = self.conv(x)
        return within + beside


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in elementary operations.

    The fused one drops the derivatives of its mean and deviation when a forward-mode derivative is
    differentiated backwards (torch 2.13), as the step loss does: its gradients are silently wrong.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Tokens [..., C] with mean 0 and deviation 1 each, scaled and shifted."""
        centred = x - x.mean(-1, keepdim=True)
        scale = (centred.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return centred * scale * self.weight + self.bias


class TransformerBlock(nn.Module):
    """Self-attention and two dense layers, each after a normalisation (Dosovitskiy et al. 2021, figure 1).

    Args:
        channels: of a token.
        heads: of the attention; they divide `channels`.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.mlp = _DenseLayers(channels, 4 * channels)
        self.norm1 = LayerNorm(channels)
        self.attn = _SelfAttention(channels, heads)
        self.norm2 = LayerNorm(channels)
        # It has never taken part; model files hold its weights.
        self.norm_cross_attn = LayerNorm(channels)

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N, C] of tokens [B, N, C]."""
        tokens = tokens + self.attn(self.norm1(tokens))
        changed: Tensor = tokens + self.mlp(self.norm2(tokens))
        return changed


class _DenseLayers(nn.Module):
    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, hidden)
        self.linear2 = nn.Linear(hidden, channels)
        self.fn = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.linear2(self.fn(self.linear1(x)))
        return changed


class _SelfAttention(nn.Module):
    """Attention of every token to every other one (Vaswani et al. 2017, section 3.2.2).

    It consists of elementary operations, whose forward-mode derivatives can be differentiated backwards.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.out_proj = nn.Linear(channels, channels)
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = torch.einsum("blxd,blyd->blxy", query, key) * query.shape[-1] ** -0.5
        attended = torch.einsum("bhxy,bhyd->bhxd", weights.softmax(-1), value)
        projected: Tensor = self.out_proj(attended.transpose(1, 2).flatten(2))
        return projected


class Enlargement(nn.Sequential):
    """A convolution to other channels, then twice the size by linear interpolation.

    Args:
        below: channels of the input.
        here: channels of the output; where they are the same there is no convolution.
    """

    def __init__(self, below: int, here: int) -> None:
        super().__init__()
        if below != here:
            self.preconv = nn.Conv2d(below, here, 1)
        self.upsample = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
