"""A volume at one resolution in front of one camera: what an optimiser renders again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..geometry import Camera, se3
from ..volumes import Volume
from . import _cpu
from ._autograd import Kernel, differentiable_render, moved
from ._memory import Memory, Rendering
from ._pack import PackedVolume
from ._rays import cast_rays, pose_tangents
from ._render import kernel_for, packed_for
from .config import RenderConfig

# Parameters of a pose.
_POSE = 6
# Step over which Jacobians are compared for their derivative, as a multiple of the voxel: much shorter ones
# see the voxels' edges, much longer ones smooth the body. On a CT of Gaussian blobs, whose derivatives are
# known, the error of this one is below a tenth (tests/rendering/test_projector.py).
_STEP_VOXELS = 1.5
# Millimetres at the isocentre that a turn by one radian counts as: half of a trunk.
_ARM_MM = 100.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Projector:
    """Renders poses without checking them or choosing anything anew; make one with `of`.

    Images, and Jacobians with them, carry their derivatives by poses that require a gradient (reverse mode,
    once). That of the Jacobian is the second derivative of a sum over voxels, which has jumps wherever a ray
    crosses from voxel to voxel and says nothing between them; so it is the central difference of the smoother
    of the two methods, trilinear, over one and a half voxels: 12 renderings in the backward pass.

    Attributes:
        packed: the volume at its resolution.
        camera: intrinsics of the image.
        isocentre_world: [3] float64 [mm], the point that perturbations of the pose turn about.
        kernel: the backend's renderer of `packed`.
        smooth_kernel: the kernel of the trilinear method, for the derivative of the Jacobian.
        memory: the last rendering; None where it is not kept.
    """

    packed: PackedVolume
    camera: Camera
    isocentre_world: Tensor
    kernel: Kernel
    smooth_kernel: Kernel
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
            smooth_kernel=kernel_for(packed, replace(config, method="trilinear")),
        )

    def of_border(self, config: RenderConfig) -> Projector:
        """A projector of the volume's outermost layers of voxels alone, as `config` says where and how."""
        packed = self.packed.border()
        memory = None if self.memory is None else Memory()
        smooth = kernel_for(packed, replace(config, method="trilinear"))
        kernel = kernel_for(packed, config)
        return replace(self, packed=packed, kernel=kernel, smooth_kernel=smooth, memory=memory)

    def remembering(self) -> Projector:
        """The same projector, which keeps its last rendering instead of rendering it again.

        Only the processor's kernel gives the same bits with derivatives and without; others keep nothing.
        """
        same = getattr(self.kernel, "func", None) is _cpu.render_rays
        return replace(self, memory=Memory()) if same else self

    def recalled(self, camera_from_world: Tensor) -> Rendering | None:
        """What is still known of a pose [1, 4, 4], for another projector; None where it would be rendered."""
        found = None
        if self.memory is not None:
            found = self.memory.recall(self.camera, camera_from_world, _POSE)
        if found is None:
            return None
        image, jacobian = found
        return Rendering(
            packed=self.packed,
            exact=self._exact,
            camera=self.camera,
            camera_from_world=camera_from_world,
            image=image,
            jacobian=jacobian,
        )

    def remember(self, rendering: Rendering) -> None:
        """Keep what another projector has rendered, if this one would render the same."""
        same = rendering.packed is self.packed and rendering.exact is self._exact
        if self.memory is not None and same:
            pose = rendering.camera_from_world
            self.memory.keep(rendering.camera, pose, rendering.image, rendering.jacobian)

    @property
    def _exact(self) -> bool:
        """Whether a kernel that is remembered is Siddon's."""
        return bool(getattr(self.kernel, "keywords", {}).get("exact"))

    def forget(self) -> None:
        """Release the memory of the last rendering."""
        if self.memory is not None:
            self.memory.clear()

    def image(self, camera_from_world: Tensor, camera: Camera | None = None) -> Tensor:
        """Line integrals [B, H, W] of poses [B, 4, 4] float64, in this camera or another one."""
        camera = camera or self.camera
        if _tracked(camera_from_world):
            return differentiable_render(cast_rays(self.packed, camera, camera_from_world), self.kernel)
        found = None if self.memory is None else self.memory.recall(camera, camera_from_world.detach(), 0)
        if found is not None:
            return found[0]
        made = self.kernel(cast_rays(self.packed, camera, camera_from_world))
        self._keep(camera, camera_from_world, made)
        return made[0]

    def image_and_jacobian(
        self, camera_from_world: Tensor, camera: Camera | None = None
    ) -> tuple[Tensor, Tensor]:
        """Line integrals [B, H, W] and their derivative [B, 6, H, W] along the tangent of `se3.perturb`."""
        camera, here = camera or self.camera, camera_from_world.detach()
        found = None if self.memory is None else self.memory.recall(camera, here, _POSE)
        if found is None:
            found = self._linearized(self.kernel, here, camera)
            self._keep(camera, here, found)
        image, jacobian = found
        if not _tracked(camera_from_world):
            return image, jacobian

        def curvature(weights: Tensor) -> Tensor:
            return self._jacobian_derivative(here, camera, weights)

        tangent = se3.perturbation(here, camera_from_world, self.isocentre_world)
        return moved(tangent, image, jacobian, curvature)

    def _keep(self, camera: Camera, poses: Tensor, made: tuple[Tensor, Tensor]) -> None:
        if self.memory is not None:
            self.memory.keep(camera, poses.detach(), *made)

    def _linearized(self, kernel: Kernel, poses: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
        rays = cast_rays(self.packed, camera, poses)
        tangents = pose_tangents(self.packed, camera, poses, self.isocentre_world)
        return kernel(rays.with_tangents(tangents))

    def _jacobian_derivative(self, poses: Tensor, camera: Camera, weights: Tensor) -> Tensor:
        """Derivative [B, 6] by the tangent of sums of Jacobians, weighted by [B, 6, H, W]."""
        world_from_voxel = np.linalg.inv(self.packed.voxel_from_world)
        step_mm = _STEP_VOXELS * float(np.linalg.norm(world_from_voxel[:3, :3], axis=0).mean())
        columns = []
        for axis in range(6):
            step = step_mm / _ARM_MM if axis < 3 else step_mm
            offset = poses.new_zeros(6)
            offset[axis] = step
            ends = torch.cat([se3.perturb(poses, sign * offset, self.isocentre_world) for sign in (1, -1)])
            _, jacobian = self._linearized(self.smooth_kernel, ends, camera)
            ahead, behind = jacobian.chunk(2)
            columns.append(((ahead - behind) * weights.to(jacobian)).sum((1, 2, 3)).double() / (2 * step))
        return torch.stack(columns, -1)


def _tracked(poses: Tensor) -> bool:
    """Whether derivatives by the poses are asked for."""
    return poses.requires_grad and torch.is_grad_enabled()


def intrinsics_jacobian(jacobian: Tensor, camera: Camera, isocentre_camera: Tensor) -> Tensor:
    """Derivative of line integrals by the intrinsics, from that by the pose: [B, 3, H, W], no rendering.

    A line integral depends on the direction of its ray, d = (x, y, 1), and not on its length while the CT
    lies before the detector. Changing d by e is turning the ray about the source by w = d x e / |d|^2, which
    to the CT is its own turn about the source by -w; about the isocentre c that is the tangent (-w, -w x c).

    Args:
        jacobian: [B, 6, H, W] along the tangent of `se3.perturb`.
        camera: the camera of the images.
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
