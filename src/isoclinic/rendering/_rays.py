"""All rays of a batch of poses in the coordinates of a packed volume, and how they move with the pose."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Camera, se3
from ._pack import PackedVolume


@dataclass(frozen=True, kw_only=True, eq=False)
class Rays:
    """Rays source + a * direction(u, v), 0 <= a <= 1, and P directions in which they may move.

    Attributes:
        source: [B, 3] voxel coordinates, float64.
        direction: [B, 3, 3]: direction(u, v) = direction @ (u, v, 1), voxel coordinates, float64.
        detector_from_pixel: [3, 3], see `Camera`; its length is the ray's length in mm, which no rigid
            motion changes.
        tangents: [B, P, 3, 4]: per parameter the change of `direction` (three columns) and `source` (last).
        height: rows [px].
        width: columns [px].
    """

    source: Tensor
    direction: Tensor
    detector_from_pixel: Tensor
    tangents: Tensor
    height: int
    width: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.source.shape[0], self.height, self.width

    @property
    def pixels(self) -> Tensor:
        """(u, v, 1) of every pixel, [H, W, 3], float64."""
        v, u = torch.meshgrid(
            torch.arange(self.height, dtype=torch.float64, device=self.source.device),
            torch.arange(self.width, dtype=torch.float64, device=self.source.device),
            indexing="ij",
        )
        return torch.stack([u, v, torch.ones_like(u)], dim=-1)

    def with_tangents(self, tangents: Tensor) -> Rays:
        """Return the same rays with other motions."""
        return replace(self, tangents=tangents)


def cast_rays(packed: PackedVolume, camera: Camera, camera_from_world: Tensor) -> Rays:
    """Rays of all pixels for every pose, without tangents; differentiable with respect to the poses.

    Args:
        packed: the volume.
        camera: intrinsics.
        camera_from_world: [B, 4, 4], float64, rigid.
    """
    rotation = camera_from_world[:, :3, :3]
    voxel_from_world = torch.as_tensor(packed.voxel_from_world, dtype=torch.float64)
    voxel_from_camera = voxel_from_world[:3, :3] @ rotation.transpose(1, 2)
    source_camera = -camera_from_world[:, :3, 3]
    detector_from_pixel = camera.detector_from_pixel
    return Rays(
        source=(voxel_from_camera @ source_camera[:, :, None])[..., 0] + voxel_from_world[:3, 3],
        direction=voxel_from_camera @ detector_from_pixel,
        detector_from_pixel=detector_from_pixel,
        tangents=camera_from_world.new_zeros(len(camera_from_world), 0, 3, 4),
        height=camera.height,
        width=camera.width,
    )


def pose_tangents(
    packed: PackedVolume, camera: Camera, camera_from_world: Tensor, isocentre_world: Tensor
) -> Tensor:
    """Return how rays move under `se3.perturb`, [B, 6, 3, 4]: rotation vector [rad], then translation [mm].

    Moving the patient by (w, v) about the isocentre c, all in camera axes, is moving a ray by the inverse:
    to first order the source changes by w x c - v and a pixel's direction r by -w x r.
    """
    rotation, translation = camera_from_world[:, :3, :3], camera_from_world[:, :3, 3]
    centre = rotation @ isocentre_world + translation
    axes = torch.eye(3, dtype=torch.float64)
    turn = se3.hat(axes)
    tangents = camera_from_world.new_zeros(len(camera_from_world), 6, 3, 4)
    tangents[:, :3, :, :3] = -turn @ camera.detector_from_pixel
    tangents[:, :3, :, 3] = (turn @ centre[:, None, :, None])[..., 0]
    tangents[:, 3:, :, 3] = -axes
    voxel_from_world = torch.as_tensor(packed.voxel_from_world[:3, :3], dtype=torch.float64)
    return (voxel_from_world @ rotation.transpose(1, 2))[:, None] @ tangents


def ray_tangents(rays: Rays) -> Tensor:
    """Tangents that make the kernels return G = dI/d source and H = dI/d direction: [B, 6, 3, 4]."""
    tangents = torch.zeros(6, 3, 4, dtype=torch.float64)
    for axis in range(3):
        tangents[axis, axis, 3] = 1.0
        tangents[3 + axis, axis, 2] = 1.0
    return tangents.expand(len(rays.source), -1, -1, -1)


def kernel_arguments(packed: PackedVolume, rays: Rays) -> tuple[NDArray[Any], ...]:
    """(words, layout, detector, rays, tangents) as `_ray.render_pixel` takes them."""
    _, ny, row = packed.words.shape
    layout = np.array([(ny * row, row, 1), packed.size], dtype=np.uint32)
    return (
        packed.words.ravel(),
        layout,
        rays.detector_from_pixel.numpy() * packed.scale_per_mm,
        torch.cat([rays.direction, rays.source[..., None]], dim=-1).detach().contiguous().numpy(),
        rays.tangents.to(torch.float32).contiguous().numpy(),
    )
