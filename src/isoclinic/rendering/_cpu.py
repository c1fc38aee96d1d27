"""The renderer on processor threads: `_ray` over all pixels of all poses."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ._pack import PackedVolume
from ._ray import render_all
from ._rays import Rays, kernel_arguments


def render_rays(packed: PackedVolume, rays: Rays, *, exact: bool) -> tuple[Tensor, Tensor]:
    """Line integrals and their derivatives along `rays.tangents`; same signature as the reference.

    Args:
        packed: the volume.
        rays: B poses of one camera, P tangents.
        exact: Siddon's method when true, else trilinear interpolation.

    Returns:
        (image [B, H, W], jacobian [B, P, H, W]), float32.
    """
    batch, height, width = rays.image_shape
    image = np.empty((batch, height, width), dtype=np.float32)
    jacobian = np.empty((batch, rays.tangents.shape[1], height, width), dtype=np.float32)
    # Rays next to each other along the volume's contiguous axis read the same cache lines: walk that way.
    along_u, along_v = rays.direction[:, 2, :2].abs().sum(dim=0).tolist()
    render_all(*kernel_arguments(packed, rays), exact, along_v > along_u, image, jacobian)
    return torch.from_numpy(image), torch.from_numpy(jacobian)
