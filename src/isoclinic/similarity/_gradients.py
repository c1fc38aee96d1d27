"""Derivatives of images along their rows and columns."""

from __future__ import annotations

import torch
from torch import Tensor


def central_differences(image: Tensor) -> Tensor:
    """Half differences along u and v of [b, ..., H, W], interior only: [b, 2, ..., H - 2, W - 2]."""
    along_u = image[..., 1:-1, 2:] - image[..., 1:-1, :-2]
    along_v = image[..., 2:, 1:-1] - image[..., :-2, 1:-1]
    return torch.stack([along_u, along_v], dim=1) / 2


def gradient_weight(weight: Tensor) -> Tensor:
    """Least weight of the pixels a central difference touches: [..., H - 2, W - 2] of [..., H, W]."""
    # Row by row and column by column: much faster than pooling over squares.
    rows = torch.minimum(torch.minimum(weight[..., :-2, :], weight[..., 1:-1, :]), weight[..., 2:, :])
    return torch.minimum(torch.minimum(rows[..., :-2], rows[..., 1:-1]), rows[..., 2:])
