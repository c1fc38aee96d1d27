"""Digitally reconstructed radiographs: the public functions and their options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd import forward_ad

from ..errors import UsageError
from ..geometry import Camera, as_poses
from ..volumes import Material, Volume
from . import _cpu, _cuda, reference
from ._autograd import Kernel, differentiable_render
from ._pack import PackedVolume, pack
from ._rays import Rays, cast_rays, pose_tangents


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """How a DRR is made.

    Attributes:
        method: "trilinear" (Joseph's sum over interpolated voxels, smooth in the pose) or "siddon" (exact for
            piecewise constant voxels).
        voxel_mm: voxel size to render at [mm]: "full" for the CT's own, "auto" for the largest that does not
            lose detail (that of a detector pixel seen at the isocentre), or a number.
        structures: labels or names of the structures to render; all tissue when None.
        material: all of the attenuation, or its soft-tissue or bone component.
        backend: "cpu" (threads), "cuda" (GPU), "reference" (plain torch, float64, slow), or "auto": a GPU if
            there is one.
    """

    method: Literal["trilinear", "siddon"] = "trilinear"
    voxel_mm: Literal["auto", "full"] | float = "auto"
    structures: tuple[int | str, ...] | None = None
    material: Material = "all"
    backend: Literal["auto", "cpu", "cuda", "reference"] = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.voxel_mm, str) and not self.voxel_mm > 0:
            raise UsageError(f"voxel_mm must be positive, 'auto' or 'full', not {self.voxel_mm}")


_DEFAULT = RenderConfig()


def render(
    volume: Volume, camera: Camera, camera_from_world: Any, config: RenderConfig = _DEFAULT
) -> Tensor:
    """Line integrals of the CT's attenuation along the ray to every pixel (no exponential, no noise).

    Differentiable with respect to `camera_from_world` when that is a tensor that requires a gradient
    (reverse mode) or carries a tangent (forward mode); once, not twice.

    Args:
        volume: the CT.
        camera: intrinsics of the X-ray.
        camera_from_world: [4, 4] or [B, 4, 4].
        config: method, resolution, structures, backend.

    Returns:
        [B, H, W], float32 (float64 from the reference backend), dimensionless.

    Raises:
        InputError: a pose that is not rigid, or a structure the volume does not have.
        UsageError: a backend that is not there.
    """
    poses = as_poses(camera_from_world, "camera_from_world")
    packed = packed_for(volume, camera, poses, config)
    rays, kernel = cast_rays(packed, camera, poses), _kernel(packed, config)
    tracked = poses.requires_grad or forward_ad.unpack_dual(poses).tangent is not None
    return differentiable_render(rays, kernel) if tracked else kernel(rays)[0]


def render_with_jacobian(
    volume: Volume,
    camera: Camera,
    camera_from_world: Any,
    config: RenderConfig = _DEFAULT,
    *,
    isocentre_world: Any = None,
) -> tuple[Tensor, Tensor]:
    """As `render`, and the change of every pixel with the six degrees of freedom of the pose, in one pass.

    Args:
        volume: the CT.
        camera: intrinsics of the X-ray.
        camera_from_world: [4, 4] or [B, 4, 4].
        config: method, resolution, structures, backend.
        isocentre_world: [3] [mm], the point the pose turns about; the centre of the CT when None.

    Returns:
        (image [B, H, W], jacobian [B, H, W, 6]): derivative with respect to the tangent of `se3.perturb`,
        rotation vector [rad] first, then translation [mm], in camera axes. The Jacobian is a view of memory
        laid out [B, 6, H, W].

    Raises:
        InputError: a pose that is not rigid, or a structure the volume does not have.
        UsageError: a backend that is not there.
    """
    poses = as_poses(camera_from_world, "camera_from_world").detach()
    packed = packed_for(volume, camera, poses, config)
    centre = volume.isocentre_world if isocentre_world is None else isocentre_world
    centre = torch.as_tensor(centre, dtype=torch.float64)
    rays = cast_rays(packed, camera, poses)
    image, jacobian = _kernel(packed, config)(
        rays.with_tangents(pose_tangents(packed, camera, poses, centre))
    )
    return image, jacobian.movedim(1, -1)


def render_structures(
    volume: Volume,
    camera: Camera,
    camera_from_world: Any,
    structures: Sequence[int | str],
    config: RenderConfig = _DEFAULT,
) -> Tensor:
    """One image per structure: [B, S, H, W]; arguments and errors as for `render`."""
    images = [
        render(volume, camera, camera_from_world, replace(config, structures=(structure,)))
        for structure in structures
    ]
    return torch.stack(images, dim=1)


def packed_for(volume: Volume, camera: Camera, camera_from_world: Tensor, config: RenderConfig) -> PackedVolume:
    """The packed level of the volume that `config` asks for, for this camera and these poses [B, 4, 4]."""
    if config.voxel_mm == "full":
        factors = (1, 1, 1)
    else:
        voxel_mm = (
            _pixel_at_isocentre_mm(volume, camera, camera_from_world)
            if config.voxel_mm == "auto"
            else float(config.voxel_mm)
        )
        i, j, k = (max(1, round(voxel_mm / float(spacing))) for spacing in volume.spacing_mm)
        factors = (i, j, k)
    return pack(volume, factors, structures=config.structures, material=config.material)


def _pixel_at_isocentre_mm(volume: Volume, camera: Camera, camera_from_world: Tensor) -> float:
    isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
    depth = camera_from_world.detach()[:, 2, :3] @ isocentre + camera_from_world.detach()[:, 2, 3]
    magnification = camera.sdd_mm / float(depth.median().clamp(1.0, camera.sdd_mm))
    return min(camera.pixel_spacing_mm) / magnification


def _kernel(packed: PackedVolume, config: RenderConfig) -> Kernel:
    backend = config.backend
    if backend == "auto":
        backend = "cuda" if _cuda.available() else "cpu"
    module = {"cpu": _cpu, "cuda": _cuda, "reference": reference}[backend]
    return partial(_call, module.render_rays, packed, config.method == "siddon")


def _call(function: Any, packed: PackedVolume, exact: bool, rays: Rays) -> tuple[Tensor, Tensor]:
    image, jacobian = function(packed, rays, exact=exact)
    return image, jacobian
