"""Digitally reconstructed radiographs: the public functions and their options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd import forward_ad

from ..geometry import Camera, as_poses
from ..volumes import Volume
from . import _cpu, _cuda, reference
from ._autograd import Kernel, differentiable_render
from ._pack import PackedVolume, pack
from ._rays import cast_rays, pose_tangents
from .config import RenderConfig

_DEFAULT = RenderConfig()


def render(volume: Volume, camera: Camera, camera_from_world: Any, config: RenderConfig = _DEFAULT) -> Tensor:
    """Line integrals of the CT's attenuation along the ray to every pixel (no exponential, no noise).

    Differentiable with respect to `camera_from_world` when that is a tensor that requires a gradient
    (reverse mode) or carries a tangent (forward mode); once, not twice.

    Args:
        volume: the CT.
        camera: intrinsics of the X-ray.
        camera_from_world: [4, 4] or [B, 4, 4].
        config: method, resolution, structures, backend.

    Returns:
        [B, H, W], float32 (float64 from the reference backend), dimensionless; on the GPU if made there.

    Raises:
        InputError: a pose that is not rigid.
        UsageError: a structure or material the volume does not have, or a backend that is not there.
    """
    poses = as_poses(camera_from_world, "camera_from_world").cpu()
    packed = packed_for(volume, camera, poses, config)
    rays, kernel = cast_rays(packed, camera, poses), kernel_for(packed, config)
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
    """Render as `render` does, with every pixel's derivatives by the six degrees of freedom of the pose.

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
        InputError: a pose that is not rigid.
        UsageError: a structure or material the volume does not have, or a backend that is not there.
    """
    poses = as_poses(camera_from_world, "camera_from_world").detach().cpu()
    packed = packed_for(volume, camera, poses, config)
    centre = volume.isocentre_world if isocentre_world is None else isocentre_world
    centre = torch.as_tensor(centre, dtype=torch.float64)
    rays = cast_rays(packed, camera, poses)
    image, jacobian = kernel_for(packed, config)(
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


def packed_for(
    volume: Volume, camera: Camera, camera_from_world: Tensor, config: RenderConfig
) -> PackedVolume:
    """The packed level of the volume that `config` asks for, for this camera and these poses [B, 4, 4]."""
    if config.voxel_mm == "full":
        largest_mm = np.zeros(3)
    elif config.voxel_mm == "auto":
        largest_mm = _unseen_mm(volume, camera, camera_from_world.detach())
    else:
        largest_mm = np.full(3, float(config.voxel_mm))
    i, j, k = np.clip(np.rint(largest_mm / volume.spacing_mm).astype(int), 1, volume.shape).tolist()
    return pack(volume, (i, j, k), structures=config.structures, material=config.material)


def _unseen_mm(volume: Volume, camera: Camera, camera_from_world: Tensor) -> NDArray[np.float64]:
    """Voxel size along each axis of the volume that no pixel would notice [3] [mm].

    Averaging over b mm along an axis at an angle t to the rays smears the image by b sin(t): at most half a
    pixel, seen at the isocentre. Along the rays themselves the integral averages anyway; there two pixels are
    allowed, because rays diverge.
    """
    isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
    depth = camera_from_world[:, 2, :3] @ isocentre + camera_from_world[:, 2, 3]
    magnification = camera.sdd_mm / float(depth.median().clamp(1.0, camera.sdd_mm))
    pixel_mm = min(camera.pixel_spacing_mm) / magnification
    axes = volume.world_from_voxel[:3, :3] / volume.spacing_mm
    along = np.abs(camera_from_world[:, 2, :3].numpy() @ axes).min(axis=0)
    across = np.sqrt(np.maximum(1 - along**2, 0.0))
    smear: NDArray[np.float64] = np.minimum(0.5 * pixel_mm / np.maximum(across, 1e-6), 2 * pixel_mm)
    return smear


def kernel_for(packed: PackedVolume, config: RenderConfig) -> Kernel:
    """The renderer of `packed` that `config` asks for.

    Raises:
        UsageError: a backend that is not there, when it is first called.
    """
    backend = config.backend
    if backend == "auto":
        backend = "cuda" if _cuda.available() else "cpu"
    module: Any = {"cpu": _cpu, "cuda": _cuda, "reference": reference}[backend]
    return partial(module.render_rays, packed, exact=config.method == "siddon")
