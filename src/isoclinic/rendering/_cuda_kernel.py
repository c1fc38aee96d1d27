"""The kernel of `_cuda`, in a module of its own because importing numba's CUDA target takes half a second."""

from __future__ import annotations

from numba import cuda

from ._ray import render_pixel


@cuda.jit(fastmath=True)
def render(words, layout, detector, rays, tangents, exact, image, jacobian):
    """`render_pixel` for all pixels of all poses, one thread a ray."""
    batch, height, width = image.shape
    ray = cuda.grid(1)
    if ray < batch * height * width:
        pixel = ray % (height * width)
        item = ray // (height * width)
        u = pixel % width
        v = pixel // width
        render_pixel(words, layout, detector, rays, tangents, exact, image, jacobian, item, u, v)
