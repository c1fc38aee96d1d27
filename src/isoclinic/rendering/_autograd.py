"""Rendering as a differentiable torch operation: reverse and forward mode from the one-pass derivatives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ._rays import Rays, ray_tangents

Kernel = Callable[[Rays], tuple[Tensor, Tensor]]


class _Render(torch.autograd.Function):
    """Image as a function of the rays; the kernel returns dI/d source and dI/d direction with it."""

    @staticmethod
    def forward(source: Tensor, direction: Tensor, rays: Rays, kernel: Kernel) -> tuple[Tensor, Tensor]:
        here = replace(rays, source=source.detach(), direction=direction.detach())
        return kernel(here.with_tangents(ray_tangents(here)))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
        source, _, rays, _ = inputs
        _, by_ray = output
        ctx.mark_non_differentiable(by_ray)
        ctx.save_for_backward(by_ray)
        ctx.save_for_forward(by_ray)
        ctx.pixels = rays.pixels.to(by_ray)
        ctx.like_rays = {"dtype": source.dtype, "device": source.device}

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (by_ray,) = ctx.saved_tensors
        weighted = by_ray * grads[0][:, None]
        source = weighted[:, :3].sum(dim=(2, 3))
        direction = torch.einsum("bihw,hwj->bij", weighted[:, 3:], ctx.pixels)
        return source.to(**ctx.like_rays), direction.to(**ctx.like_rays), None, None

    @staticmethod
    def jvp(ctx: Any, source: Tensor, direction: Tensor, *_: None) -> tuple[Tensor, None]:
        (by_ray,) = ctx.saved_tensors
        turn = torch.einsum("bij,hwj->bihw", direction.to(by_ray), ctx.pixels)
        shift = source.to(by_ray)[:, :, None, None]
        return (by_ray[:, :3] * shift + by_ray[:, 3:] * turn).sum(dim=1), None

    @staticmethod
    def vmap(*_: Any) -> None:
        # torch.func.jacfwd maps over tangents, not rays, and yet asks whether there is a rule.
        raise UsageError(
            "render takes a batch of poses [B, 4, 4]; torch.func.vmap cannot map over it",
            code="rendering.not-supported",
        )


def differentiable_render(rays: Rays, kernel: Kernel) -> Tensor:
    """Image [B, H, W] of the rays, differentiable once with respect to their source and direction."""
    image: Tensor = _Render.apply(rays.source, rays.direction, rays, kernel)[0]  # type: ignore[no-untyped-call]
    return image
