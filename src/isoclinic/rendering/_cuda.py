"""The renderer on an NVIDIA GPU (or numba's simulator of one): one thread a ray, by `_ray`."""

from __future__ import annotations

import warnings
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..errors import UsageError
from ._pack import PackedVolume
from ._rays import Rays, kernel_arguments

_THREADS = 128
_on_device: WeakKeyDictionary[PackedVolume, Any] = WeakKeyDictionary()


def available() -> bool:
    """Tell whether there is a GPU that both torch and numba can use."""
    if not torch.cuda.is_available():
        return False
    try:
        _kernel()
    except UsageError:
        return False
    return True


def _kernel() -> tuple[Any, Any]:
    """Numba's CUDA target and the kernel for it."""
    try:
        from numba import cuda

        from ._cuda_kernel import render
    except ImportError as error:
        raise UsageError(
            "backend 'cuda' needs numba's CUDA target: pip install 'isoclinic[cuda]'",
            code="installation.package-missing",
        ) from error
    if not cuda.is_available():
        raise UsageError(
            "backend 'cuda' finds no GPU; use backend 'cpu' or 'auto'", code="installation.no-gpu"
        )
    return cuda, render


def render_rays(packed: PackedVolume, rays: Rays, *, exact: bool) -> tuple[Tensor, Tensor]:
    """Line integrals and their derivatives along `rays.tangents`; same signature as the reference.

    The volume is copied to the GPU once; the result stays there.

    Returns:
        (image [B, H, W], jacobian [B, P, H, W]), float32, on the GPU (on the CPU where torch has none).

    Raises:
        UsageError: no GPU, or numba's CUDA target is not installed.
    """
    cuda, kernel = _kernel()
    words, *geometry = kernel_arguments(packed, rays)
    if packed not in _on_device:
        _on_device[packed] = cuda.to_device(words)
    batch, height, width = rays.image_shape
    device = "cuda" if torch.cuda.is_available() else "cpu"
    image = torch.empty(batch, height, width, dtype=torch.float32, device=device)
    jacobian = torch.empty(batch, rays.tangents.shape[1], height, width, dtype=torch.float32, device=device)
    outputs = [cuda.as_cuda_array(t) if t.is_cuda else t.numpy() for t in (image, jacobian)]
    on_device = [cuda.to_device(array) for array in geometry]
    blocks = -(-image.numel() // _THREADS)
    with warnings.catch_warnings():
        # A small image cannot fill a GPU, and without a GPU build of torch the result must be copied.
        warnings.filterwarnings("ignore", message="Grid size|Host array")
        kernel[blocks, _THREADS](_on_device[packed], *on_device, exact, *outputs)
    cuda.synchronize()
    return image, jacobian
