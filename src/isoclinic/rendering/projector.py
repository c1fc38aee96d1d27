"""A volume at one resolution in front of one camera: what an optimiser renders again and again."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import Camera
from ..volumes import Volume
from ._autograd import Kernel
from ._pack import PackedVolume
from ._rays import cast_rays, pose_tangents
from .render import RenderConfig, kernel_for, packed_for


@dataclass(frozen=True, kw_only=True, eq=False)
class Projector:
    """Renders poses without checking them or choosing anything anew; make one with `of`.

    Attributes:
        packed: the volume at its resolution.
        camera: intrinsics of the image.
        isocentre_world: [3] float64 [mm], the point that perturbations of the pose turn about.
        kernel: the backend's renderer of `packed`.
    """

    packed: PackedVolume
    camera: Camera
    isocentre_world: Tensor
    kernel: Kernel

    @classmethod
    def of(cls, volume: Volume, camera: Camera, camera_from_world: Tensor, config: RenderConfig) -> Projector:
        """Projector at the resolution `config` means for poses [B, 4, 4], turning about the CT's centre.

        Raises:
            UsageError: as for `render`.
        """
        packed = packed_for(volume, camera, camera_from_world, config)
        return cls(
            packed=packed,
            camera=camera,
            isocentre_world=torch.as_tensor(volume.isocentre_world, dtype=torch.float64),
            kernel=kernel_for(packed, config),
        )

    def image(self, camera_from_world: Tensor, camera: Camera | None = None) -> Tensor:
        """Line integrals [B, H, W] of poses [B, 4, 4] float64, in this camera or another one."""
        return self.kernel(cast_rays(self.packed, camera or self.camera, camera_from_world))[0]

    def image_and_jacobian(self, camera_from_world: Tensor) -> tuple[Tensor, Tensor]:
        """Line integrals [B, H, W] and their derivative [B, 6, H, W] along the tangent of `se3.perturb`."""
        rays = cast_rays(self.packed, self.camera, camera_from_world)
        tangents = pose_tangents(self.packed, self.camera, camera_from_world, self.isocentre_world)
        return self.kernel(rays.with_tangents(tangents))
