"""A volume at one resolution in front of one camera: what an optimiser renders again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from ..geometry import Camera
from ..volumes import Volume
from . import _cpu
from ._autograd import Kernel
from ._memory import Memory
from ._pack import PackedVolume
from ._rays import cast_rays, pose_tangents
from ._render import kernel_for, packed_for
from .config import RenderConfig

# Parameters of a pose.
_POSE = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Projector:
    """Renders poses without checking them or choosing anything anew; make one with `of`.

    Attributes:
        packed: the volume at its resolution.
        camera: intrinsics of the image.
        isocentre_world: [3] float64 [mm], the point that perturbations of the pose turn about.
        kernel: the backend's renderer of `packed`.
        memory: of what was rendered last; None where nothing is kept.
    """

    packed: PackedVolume
    camera: Camera
    isocentre_world: Tensor
    kernel: Kernel
    memory: Memory | None = None

    @classmethod
    def of(
        cls,
        volume: Volume,
        camera: Camera,
        camera_from_world: Tensor,
        config: RenderConfig,
        *,
        isocentre_world: Any = None,
    ) -> Projector:
        """Projector at the resolution `config` means for poses [B, 4, 4].

        Perturbations turn about `isocentre_world` [3] [mm], the centre of the CT when None.

        Raises:
            UsageError: as for `render`.
        """
        packed = packed_for(volume, camera, camera_from_world, config)
        centre = volume.isocentre_world if isocentre_world is None else isocentre_world
        return cls(
            packed=packed,
            camera=camera,
            isocentre_world=torch.as_tensor(centre, dtype=torch.float64),
            kernel=kernel_for(packed, config),
        )

    def of_border(self, config: RenderConfig) -> Projector:
        """Of nothing but the volume's outermost layers of voxels, as `config` says where and how."""
        packed = self.packed.border()
        memory = None if self.memory is None else Memory()
        return replace(self, packed=packed, kernel=kernel_for(packed, config), memory=memory)

    def remembering(self) -> Projector:
        """The same, which keeps what it rendered last and does not render it again.

        Only the processor's kernel gives the same bits with derivatives and without; others keep nothing.
        """
        same = getattr(self.kernel, "func", None) is _cpu.render_rays
        return replace(self, memory=Memory()) if same else self

    def forget(self) -> None:
        """Give back the memory of what was rendered last."""
        if self.memory is not None:
            self.memory.clear()

    def image(self, camera_from_world: Tensor, camera: Camera | None = None) -> Tensor:
        """Line integrals [B, H, W] of poses [B, 4, 4] float64, in this camera or another one."""
        camera = camera or self.camera
        found = None if self.memory is None else self.memory.recall(camera, camera_from_world, 0)
        return self._rendered(camera, camera_from_world)[0] if found is None else found[0]

    def image_and_jacobian(
        self, camera_from_world: Tensor, camera: Camera | None = None
    ) -> tuple[Tensor, Tensor]:
        """Line integrals [B, H, W] and their derivative [B, 6, H, W] along the tangent of `se3.perturb`."""
        camera = camera or self.camera
        found = None if self.memory is None else self.memory.recall(camera, camera_from_world, _POSE)
        if found is not None:
            return found
        return self._rendered(
            camera,
            camera_from_world,
            pose_tangents(self.packed, camera, camera_from_world, self.isocentre_world),
        )

    def _rendered(
        self, camera: Camera, camera_from_world: Tensor, tangents: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        rays = cast_rays(self.packed, camera, camera_from_world)
        made = self.kernel(rays if tangents is None else rays.with_tangents(tangents))
        if self.memory is not None:
            self.memory.keep(camera, camera_from_world, *made)
        return made


def intrinsics_jacobian(jacobian: Tensor, camera: Camera, isocentre_camera: Tensor) -> Tensor:
    """Derivative of line integrals by the intrinsics, from that by the pose: [B, 3, H, W], no rendering.

    A line integral depends on the direction of its ray, d = (x, y, 1), and not on its length while the CT
    lies before the detector. Changing d by e is turning the ray about the source by w = d x e / |d|^2, which
    to the CT is its own turn about the source by -w; about the isocentre c that is the tangent (-w, -w x c).

    Args:
        jacobian: [B, 6, H, W] along the tangent of `se3.perturb`.
        camera: of the images.
        isocentre_camera: [B, 3] [mm], where the pose puts the isocentre.

    Returns:
        Per relative change of the focal length (1 doubles it: `fx`, `fy` and `sdd_mm` alike), and per
        millimetre on the detector by which the principal point moves along the camera's x and y.
    """
    ray = camera.rays() / camera.sdd_mm
    zero = torch.zeros_like(ray[..., 0])
    moved = torch.full_like(zero, -1 / camera.sdd_mm)
    change = torch.stack(
        [
            torch.stack([-ray[..., 0], -ray[..., 1], zero], dim=-1),
            torch.stack([moved, zero, zero], dim=-1),
            torch.stack([zero, moved, zero], dim=-1),
        ]
    )
    turn = -torch.linalg.cross(ray.expand_as(change), change) / ray.square().sum(-1, keepdim=True)
    centre = isocentre_camera[:, None, None, None].to(turn)
    turn = turn.expand(len(centre), *turn.shape)
    tangent = torch.cat([turn, torch.linalg.cross(turn, centre.expand_as(turn))], dim=-1)
    return torch.einsum("bphwk,bkhw->bphw", tangent.to(jacobian), jacobian)
