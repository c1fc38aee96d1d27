"""Rigid motions as 4x4 matrices: exponential, logarithm, adjoint and the isocentric perturbation of a pose.

Tangents are ordered (rotation vector [rad], translation [mm]) and belong to the exponential of SE(3): the
translation part is the velocity of the screw motion, not its end point (Murray, Li & Sastry 1994, section
2.3; Sola, Deray & Atchuthan 2018, arXiv:1812.01537, appendix D). All functions are batched over leading
dimensions, keep the dtype they are given, and have finite first and second derivatives, at zero too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError
from . import _series, so3
from .so3 import hat

__all__ = [
    "adjoint",
    "as_poses",
    "exp",
    "hat",
    "inverse",
    "log",
    "perturb",
    "perturbation",
    "rigid",
    "rotation_angle_deg",
]

_ORTHONORMAL_TOLERANCE = 1e-4
_RAD_TO_DEG = 180.0 / torch.pi


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Transform [..., 4, 4] x -> rotation x + translation, of [..., 3, 3] and [..., 3] of the same batch."""
    upper = torch.cat([rotation, translation[..., None]], dim=-1)
    last = upper.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*upper.shape[:-2], 1, 4)
    return torch.cat([upper, last], dim=-2)


def exp(tangent: Tensor) -> Tensor:
    """Exponential [..., 4, 4] of tangents [..., 6]; exact to rounding at every angle, however small."""
    rotation_vector, velocity = tangent[..., :3], tangent[..., 3:]
    angle_squared = rotation_vector.square().sum(-1, keepdim=True)
    curl = torch.linalg.cross(rotation_vector, velocity)
    translation = (
        velocity
        + _series.versine(angle_squared) * curl
        + _series.sine_remainder(angle_squared) * torch.linalg.cross(rotation_vector, curl)
    )
    return rigid(so3.exp(rotation_vector), translation)


def log(transform: Tensor) -> Tensor:
    """Tangent [..., 6] of rotation angle at most pi with exp(tangent) = transform [..., 4, 4]."""
    rotation_vector, translation = so3.log(transform[..., :3, :3]), transform[..., :3, 3]
    angle_squared = rotation_vector.square().sum(-1, keepdim=True)
    curl = torch.linalg.cross(rotation_vector, translation)
    velocity = (
        translation
        - curl / 2
        + _series.half_cotangent(angle_squared) * torch.linalg.cross(rotation_vector, curl)
    )
    return torch.cat([rotation_vector, velocity], dim=-1)


def inverse(transform: Tensor) -> Tensor:
    """Inverse [..., 4, 4] of a rigid transform."""
    rotation = transform[..., :3, :3].transpose(-1, -2)
    return rigid(rotation, -(rotation @ transform[..., :3, 3:]).squeeze(-1))


def adjoint(transform: Tensor) -> Tensor:
    """Adjoint [..., 6, 6]: transform exp(x) transform^-1 = exp(adjoint(transform) x)."""
    rotation = transform[..., :3, :3]
    coupling = hat(transform[..., :3, 3]) @ rotation
    upper = torch.cat([rotation, torch.zeros_like(rotation)], dim=-1)
    return torch.cat([upper, torch.cat([coupling, rotation], dim=-1)], dim=-2)


def perturb(camera_from_world: Tensor, tangent: Tensor, isocentre_world: Tensor) -> Tensor:
    """Pose after moving the patient about the isocentre, as seen by the camera.

    camera_from_world <- T(c) exp(tangent) T(-c) camera_from_world, with c the isocentre in the camera frame
    of the pose that is perturbed. The tangent is in camera axes: its last entry moves the patient towards
    the detector.

    Args:
        camera_from_world: [..., 4, 4].
        tangent: [..., 6], (rotation vector [rad], translation [mm]), camera axes.
        isocentre_world: [3] or [..., 3] [mm].
    """
    motion = exp(tangent)
    centre = _apply(camera_from_world, isocentre_world)
    rotation = motion[..., :3, :3]
    shift = motion[..., :3, 3] + centre - (rotation @ centre[..., None]).squeeze(-1)
    return rigid(rotation, shift) @ camera_from_world


def perturbation(camera_from_world: Tensor, perturbed: Tensor, isocentre_world: Tensor) -> Tensor:
    """Tangent [..., 6] that takes one pose to another: the inverse of `perturb`, for poses [..., 4, 4]."""
    motion = perturbed @ inverse(camera_from_world)
    centre = _apply(camera_from_world, isocentre_world)
    # T(-c) motion T(c) moves the origin by where the perturbed pose takes the isocentre, relative to c.
    return log(rigid(motion[..., :3, :3], _apply(perturbed, isocentre_world) - centre))


def rotation_angle_deg(a: Tensor, b: Tensor) -> Tensor:
    """Angle [...] in [0, 180] deg between the rotations of the transforms a and b, [..., 4, 4]."""
    quaternion = so3.quaternion_from_matrix(a[..., :3, :3].transpose(-1, -2) @ b[..., :3, :3])
    sine = torch.linalg.vector_norm(quaternion[..., 1:], dim=-1)
    return 2 * _RAD_TO_DEG * torch.atan2(sine, quaternion[..., 0])


def as_poses(poses: Any, name: str) -> Tensor:
    """Rigid transforms as float64 [B, 4, 4], checked; `name` is what an error calls them.

    Args:
        poses: tensor, array or nested lists of shape [4, 4] or [B, 4, 4].
        name: the option, file or argument they come from.

    Raises:
        InputError: another shape, values that are not numbers or not finite, a last row other than
            (0, 0, 0, 1), or a rotation part that is not a proper rotation to 1e-4.
    """
    if isinstance(poses, Tensor):
        batch = poses.to(torch.float64)
    else:
        try:
            batch = torch.from_numpy(np.array(poses, dtype=np.float64))
        except (TypeError, ValueError) as error:
            raise InputError(f"{name} must be a 4x4 matrix of numbers: {error}") from error
    if batch.shape[-2:] != (4, 4) or batch.ndim not in (2, 3) or batch.numel() == 0:
        raise InputError(f"{name} must have shape [4, 4] or [B, 4, 4], not {list(batch.shape)}")
    batch = batch.reshape(-1, 4, 4)
    for index, pose in enumerate(batch.detach().cpu().numpy()):
        problem = _not_rigid(pose)
        if problem:
            which = f"{name}[{index}]" if len(batch) > 1 else name
            raise InputError(f"{which} is not a rigid transform: {problem}")
    return batch


def _apply(transform: Tensor, point: Tensor) -> Tensor:
    return (transform[..., :3, :3] @ point[..., None]).squeeze(-1) + transform[..., :3, 3]


def _not_rigid(pose: np.ndarray) -> str | None:
    """What is wrong with a 4x4 matrix, or None."""
    if not np.isfinite(pose).all():
        return "it contains NaN or infinite values"
    homogeneous = np.array([0.0, 0.0, 0.0, 1.0])
    if not np.allclose(pose[3], homogeneous, rtol=0, atol=1e-6):
        if np.allclose(pose[:, 3], homogeneous, rtol=0, atol=1e-6):
            return "its translation is in the last row; transpose it, so that the last row is (0, 0, 0, 1)"
        return f"its last row must be (0, 0, 0, 1), not {tuple(pose[3].tolist())}"
    rotation = pose[:3, :3]
    gram = rotation @ rotation.T
    scale = float(np.sqrt(np.trace(gram) / 3))
    if np.abs(gram - np.eye(3)).max() > _ORTHONORMAL_TOLERANCE:
        if scale > 0 and np.abs(gram / scale**2 - np.eye(3)).max() <= _ORTHONORMAL_TOLERANCE:
            return f"its rotation part is scaled by {scale:.6g}; divide it by that"
        return "its upper left 3x3 block is not orthonormal"
    if np.linalg.det(rotation) < 0:
        return "it mirrors space (determinant -1): one axis has the wrong sign; a pose only turns and moves"
    return None
