"""The computation of the kernels in plain torch: the specification that they are tested against."""

from __future__ import annotations

import torch
from torch import Tensor

from ._pack import PackedVolume
from ._rays import Rays


def render_rays(
    packed: PackedVolume, rays: Rays, *, exact: bool, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor]:
    """Line integrals and their derivatives along `rays.tangents`; same signature as the kernels.

    Args:
        packed: the volume.
        rays: B poses of one camera, P tangents.
        exact: Siddon's method when true, else trilinear interpolation.
        dtype: type of the arithmetic and the result.

    Returns:
        (image [B, H, W], jacobian [B, P, H, W]).
    """
    mu = packed.dense(dtype)
    pixels = rays.pixels.to(dtype)
    direction = torch.einsum("bij,hwj->bhwi", rays.direction.detach().to(dtype), pixels)
    source = rays.source.detach().to(dtype)[:, None, None].expand_as(direction)
    total, by_source, by_direction = (_siddon if exact else _trilinear)(mu, source, direction)

    tangents = rays.tangents.detach().to(dtype)
    direction_change = torch.einsum("bpij,hwj->bphwi", tangents[..., :3], pixels)
    source_change = tangents[..., None, None, :, 3]
    jacobian = (by_source[:, None] * source_change + by_direction[:, None] * direction_change).sum(dim=-1)
    length_mm = (pixels @ rays.detector_from_pixel.to(dtype).T).norm(dim=-1)
    return total * length_mm, jacobian * length_mm


def _value(mu: Tensor, index: Tensor) -> Tensor:
    """Attenuation at integer voxels [..., 3]; zero outside."""
    size = torch.tensor(mu.shape)
    inside = ((index >= 0) & (index < size)).all(dim=-1)
    i, j, k = index.clamp(min=torch.zeros(3, dtype=torch.long), max=size - 1).unbind(-1)
    return torch.where(inside, mu[i, j, k], mu.new_zeros(()))


def _siddon(mu: Tensor, source: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Exact integral over a in [0, 1]: every boundary crossing of every axis, sorted along the ray.

    The value is the sum of mu times segment length; the derivatives are the sums over crossings of the jump
    of mu over direction_j, and of that times a (differentiate the two segment lengths that meet there).
    """
    crossings = []
    axes = []
    for j, voxels in enumerate(mu.shape):
        boundaries = torch.arange(voxels + 1, dtype=mu.dtype) - 0.5
        a = (boundaries - source[..., j, None]) / direction[..., j, None]
        crossings.append(torch.where((a > 0) & (a < 1), a, torch.ones_like(a)))
        axes.append(torch.full_like(a, j, dtype=torch.long))
    a, order = torch.cat(crossings, dim=-1).sort(dim=-1)
    axis = torch.cat(axes, dim=-1).gather(-1, order)
    edges = torch.cat([torch.zeros_like(a[..., :1]), a, torch.ones_like(a[..., :1])], dim=-1)
    middle = (edges[..., 1:] + edges[..., :-1]) / 2
    points = source[..., None, :] + middle[..., None] * direction[..., None, :]
    segment = _value(mu, (points + 0.5).floor().long())
    total = (segment * edges.diff(dim=-1)).sum(dim=-1)

    jump = segment.diff(dim=-1)[..., None]
    # A crossing clamped to a = 1 lies beyond the ray; its jump is not real.
    real = (a < 1)[..., None] & torch.nn.functional.one_hot(axis, 3).bool()
    share = torch.where(real, jump / direction[..., None, :], torch.zeros_like(jump))
    return total, share.sum(dim=-2), (share * a[..., None]).sum(dim=-2)


def _trilinear(mu: Tensor, source: Tensor, direction: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Joseph's sum: mu, interpolated between four voxels, on the voxel planes of the ray's steepest axis."""
    total = torch.zeros_like(source[..., 0])
    by_source = torch.zeros_like(source)
    by_direction = torch.zeros_like(source)
    steepest = direction.abs().argmax(dim=-1)
    for axis in range(3):
        planes = torch.arange(1, mu.shape[axis] - 1, dtype=mu.dtype)
        along = direction[..., axis, None]
        a = (planes - source[..., axis, None]) / along
        others = [other for other in range(3) if other != axis]
        points = source[..., None, :] + a[..., None] * direction[..., None, :]
        points[..., axis] = planes
        corner = points.floor()
        fraction = points - corner
        value = torch.zeros_like(a)
        slopes = [torch.zeros_like(a), torch.zeros_like(a)]
        for first in (0, 1):
            for second in (0, 1):
                index = corner.clone()
                index[..., others[0]] += first
                index[..., others[1]] += second
                mu_corner = _value(mu, index.long())
                weights = [
                    fraction[..., other] if upper else 1 - fraction[..., other]
                    for other, upper in zip(others, (first, second), strict=True)
                ]
                value = value + mu_corner * weights[0] * weights[1]
                slopes[0] = slopes[0] + mu_corner * weights[1] * (1 if first else -1)
                slopes[1] = slopes[1] + mu_corner * weights[0] * (1 if second else -1)
        counted = (a >= 0) & (a <= 1) & (steepest == axis)[..., None]
        value = torch.where(counted, value, torch.zeros_like(value))
        thickness = 1 / along[..., 0].abs()
        ray_total = value.sum(dim=-1) * thickness
        total = total + torch.where(steepest == axis, ray_total, torch.zeros_like(ray_total))
        # A plane keeps its place along `axis`, so moving the ray along `axis` slides it across: chain rule.
        change = torch.zeros_like(by_source)
        change_with_a = torch.zeros_like(by_source)
        for other, slope in zip(others, slopes, strict=True):
            slope = torch.where(counted, slope, torch.zeros_like(slope))
            tilt = direction[..., other] / direction[..., axis]
            across = slope.sum(dim=-1) * thickness
            across_with_a = torch.where(counted, slope * a, torch.zeros_like(a)).sum(dim=-1) * thickness
            change[..., other] = across
            change[..., axis] -= across * tilt
            change_with_a[..., other] = across_with_a
            change_with_a[..., axis] -= across_with_a * tilt
        change_with_a[..., axis] -= ray_total / direction[..., axis]
        chosen = (steepest == axis)[..., None]
        by_source = torch.where(chosen, change, by_source)
        by_direction = torch.where(chosen, change_with_a, by_direction)
    return total, by_source, by_direction
