"""Derivatives of images along their rows and columns."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d


def central_differences(image: Tensor) -> Tensor:
    """Half differences along u and v of [b, ..., H, W], interior only: [b, 2, ..., H - 2, W - 2]."""
    along_u = image[..., 1:-1, 2:] - image[..., 1:-1, :-2]
    along_v = image[..., 2:, 1:-1] - image[..., :-2, 1:-1]
    return torch.stack([along_u, along_v], dim=1) / 2


def gradient_weight(weight: Tensor) -> Tensor:
    """Least weight of the pixels a central difference touches: [..., H - 2, W - 2] of [..., H, W]."""
    planes = weight.reshape(-1, 1, *weight.shape[-2:])
    least = -max_pool2d(-planes, 3, stride=1)
    return least.reshape(*weight.shape[:-2], *least.shape[-2:])
