"""Rendering as differentiable torch operations: reverse and forward mode from the one-pass derivatives.

`differentiable_render` is the image as a function of its rays. `moved` is the image together with its
Jacobian as functions of the pose: what derivatives through an optimiser need, whose steps are made of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..errors import UsageError
from ._rays import Rays, ray_tangents

Kernel = Callable[[Rays], tuple[Tensor, Tensor]]
# From weights [B, 6, H, W] of a Jacobian's entries to the derivative [B, 6] of their sum by the pose.
Curvature = Callable[[Tensor], Tensor]


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


class _Moved(torch.autograd.Function):
    """Image and Jacobian as functions of the tangent [B, 6] that moves the pose, at tangent zero."""

    @staticmethod
    def forward(
        ctx: Any, tangent: Tensor, image: Tensor, jacobian: Tensor, curvature: Curvature
    ) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(jacobian)
        ctx.set_materialize_grads(False)
        ctx.curvature = curvature
        ctx.like_tangent = {"dtype": tangent.dtype, "device": tangent.device}
        return image.clone(), jacobian.clone()

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, by_image: Tensor | None, by_jacobian: Tensor | None
    ) -> tuple[Tensor, None, None, None]:
        (jacobian,) = ctx.saved_tensors
        gradient = torch.zeros(len(jacobian), 6, **ctx.like_tangent)
        if by_image is not None:
            gradient += torch.einsum("bphw,bhw->bp", jacobian, by_image).to(gradient)
        if by_jacobian is not None:
            gradient += ctx.curvature(by_jacobian).to(gradient)
        return gradient, None, None, None


def moved(tangent: Tensor, image: Tensor, jacobian: Tensor, curvature: Curvature) -> tuple[Tensor, Tensor]:
    """Image [B, H, W] and Jacobian [B, 6, H, W] as functions of the tangent of `se3.perturb`.

    They are differentiable in reverse mode, once.

    Args:
        tangent: [B, 6], zero in value, whose graph leads to what moves the pose.
        image: the image at tangent zero.
        jacobian: its derivative by the tangent.
        curvature: function from weights [B, 6, H, W] of the Jacobian's entries to the derivative [B, 6] of
            their weighted sum by the tangent. It is called in the backward pass, and only if something there
            depends on the Jacobian.
    """
    result: tuple[Tensor, Tensor] = _Moved.apply(  # type: ignore[no-untyped-call]
        tangent, image, jacobian, curvature
    )
    return result
