"""The renderer on an NVIDIA GPU (or numba's simulator of one): one thread a ray, the same `_ray` functions."""

from __future__ import annotations

from functools import cache
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ..errors import UsageError
from ._pack import PackedVolume
from ._ray import render_pixel
from ._rays import Rays, kernel_arguments

_THREADS = 128
_on_device: WeakKeyDictionary[PackedVolume, Any] = WeakKeyDictionary()


def available() -> bool:
    """Whether numba finds a GPU (or its simulator is switched on) that torch can share memory with."""
    try:
        from numba import cuda
    except ImportError:
        return False
    return bool(cuda.is_available())


@cache
def _kernel() -> Any:
    try:
        from numba import cuda
    except ImportError as error:
        raise UsageError("backend 'cuda' needs numba's CUDA target: pip install 'isoclinic[cuda]'") from error
    if not cuda.is_available():
        raise UsageError("backend 'cuda' finds no GPU; use backend 'cpu' or 'auto'")

    @cuda.jit(fastmath=True)
    def render(words, layout, detector, rays, tangents, exact, image, jacobian):
        batch, height, width = image.shape
        ray = cuda.grid(1)
        if ray < batch * height * width:
            pixel = ray % (height * width)
            item = ray // (height * width)
            u = pixel % width
            v = pixel // width
            render_pixel(words, layout, detector, rays, tangents, exact, image, jacobian, item, u, v)

    return render


def render_rays(packed: PackedVolume, rays: Rays, *, exact: bool) -> tuple[Tensor, Tensor]:
    """Line integrals and their derivatives along `rays.tangents`; same signature as the reference.

    The volume is copied to the GPU once; the result stays there.

    Returns:
        (image [B, H, W], jacobian [B, P, H, W]), float32, on the GPU (on the CPU in the simulator).

    Raises:
        UsageError: no GPU, or numba's CUDA target is not installed.
    """
    kernel = _kernel()
    from numba import cuda

    words, *geometry = kernel_arguments(packed, rays)
    if packed not in _on_device:
        _on_device[packed] = cuda.to_device(words)
    batch, height, width = rays.image_shape
    device = "cuda" if torch.cuda.is_available() else "cpu"
    image = torch.empty(batch, height, width, dtype=torch.float32, device=device)
    jacobian = torch.empty(batch, rays.tangents.shape[1], height, width, dtype=torch.float32, device=device)
    outputs = [cuda.as_cuda_array(t) if t.is_cuda else t.numpy() for t in (image, jacobian)]
    blocks = int(np.ceil(image.numel() / _THREADS))
    on_device = [cuda.to_device(array) for array in geometry]
    kernel[blocks, _THREADS](_on_device[packed], *on_device, exact, *outputs)
    cuda.synchronize()
    return image, jacobian
