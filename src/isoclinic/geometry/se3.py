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
    "nearest_poses",
    "perturb",
    "perturbation",
    "point_jacobian",
    "rigid",
    "rotation_angle_deg",
    "transform_points",
]

_ORTHONORMAL_TOLERANCE = 1e-4
_LAST_ROW_TOLERANCE = 1e-6
# Largest deviations of an entry from the nearest rotation: by rounding in float64, and of what is still
# rounding (0.02 is 1.1 degrees), not another matrix.
_ROUNDING = 1e-9
_NEARLY_A_ROTATION = 0.02
# Axes that are all longer or shorter by this, and equally, are scaled rather than rounded.
_SCALED_BEYOND = 2e-3
_RAD_TO_DEG = 180.0 / torch.pi


def rigid(rotation: Tensor, translation: Tensor) -> Tensor:
    """Transform [..., 4, 4] x -> rotation x + translation, of [..., 3, 3] and [..., 3]."""
    # Not torch.broadcast_shapes, whose first call imports sympy.
    batch = np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    last = rotation.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*batch, 1, 4)
    upper = torch.cat([rotation.expand(*batch, 3, 3), translation[..., None].expand(*batch, 3, 1)], dim=-1)
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


def transform_points(a_from_b: Tensor, points_b: Tensor) -> Tensor:
    """Points [..., N, 3] of frame b in frame a, by transforms [..., 4, 4]; leading dimensions broadcast."""
    return points_b @ a_from_b[..., :3, :3].mT + a_from_b[..., None, :3, 3]


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


def point_jacobian(camera_from_world: Tensor, points_world: Tensor, isocentre_world: Tensor) -> Tensor:
    """Return how points [N, 3] move in the camera along the tangent of `perturb`, [..., N, 3, 6].

    The poses are [..., 4, 4].

    A small turn w moves a point at p from the isocentre by w x p = -hat(p) w, a shift all points alike.
    """
    arms = transform_points(camera_from_world, points_world)
    arms = arms - transform_points(camera_from_world, isocentre_world[None])
    turning = -hat(arms)
    shifting = torch.eye(3, dtype=arms.dtype, device=arms.device).expand_as(turning)
    return torch.cat([turning, shifting], dim=-1)


def as_poses(poses: Any, name: str) -> Tensor:
    """Rigid transforms as float64 [B, 4, 4], checked; `name` is what an error calls them.

    Args:
        poses: tensor, array or nested lists of shape [4, 4] or [B, 4, 4].
        name: the option, file or argument they come from.

    Raises:
        InputError: another shape, values that are not numbers or not finite, a last row other than
            (0, 0, 0, 1), or a rotation part that is not a proper rotation to 1e-4.
    """
    batch = _numbers(poses, name)
    _check_rigid(batch.detach(), name)
    return batch


def nearest_poses(poses: Any, name: str) -> tuple[Tensor, list[float]]:
    """Rigid transforms nearest to matrices written with few digits; see `as_poses`.

    The nearest rotation, in the sum of squared differences, is U V^T of the singular value decomposition
    U S V^T (Kabsch 1976; Higham 1989, "Matrix nearness problems and applications").

    Args:
        poses: tensor, array or nested lists of shape [4, 4] or [B, 4, 4].
        name: the option, file or argument they come from.

    Returns:
        Transforms, float64 [B, 4, 4]; and by how much an entry of each rotation was changed at most. Three
        decimals leave 5e-4.

    Raises:
        InputError: as for `as_poses`, but rotations only where an entry is off by more than 0.02, about one
            degree, or where all axes are scaled alike.
    """
    batch = _numbers(poses, name).detach().cpu().clone()
    changes = []
    for index, pose in enumerate(batch):
        rotation = _nearest_rotation(pose)
        if rotation is None:
            which = f"{name}[{index}]" if len(batch) > 1 else name
            raise InputError(
                f"{which} is not a rigid transform: {_what_is_not_rigid(pose)}", code="pose.not-rigid"
            )
        changes.append(float((rotation - pose[:3, :3]).abs().max()))
        if changes[-1] > _ROUNDING:
            pose[:3, :3] = rotation
    return batch, changes


def _apply(transform: Tensor, point: Tensor) -> Tensor:
    return (transform[..., :3, :3] @ point[..., None]).squeeze(-1) + transform[..., :3, 3]


def _numbers(poses: Any, name: str) -> Tensor:
    """Matrices as float64 [B, 4, 4]."""
    if isinstance(poses, Tensor):
        batch = poses.to(torch.float64)
    else:
        try:
            batch = torch.from_numpy(np.array(poses, dtype=np.float64))
        except (OverflowError, TypeError, ValueError) as error:
            raise InputError(
                f"{name} must be a 4x4 matrix of numbers: {error}", code="geometry.invalid-value"
            ) from error
        # True equals 1 in Python, but a truth value in a file is a mistake.
        if any(isinstance(entry, bool) for entry in np.array(poses, dtype=object).flat):
            raise InputError(
                f"{name} must be a 4x4 matrix of numbers, but contains a truth value",
                code="geometry.invalid-value",
            )
    if batch.shape[-2:] != (4, 4) or batch.ndim not in (2, 3) or batch.numel() == 0:
        raise InputError(
            f"{name} must have shape [4, 4] or [B, 4, 4], not {list(batch.shape)}",
            code="geometry.wrong-shape",
        )
    return batch.reshape(-1, 4, 4)


def _check_rigid(poses: Tensor, name: str) -> None:
    """Raise the error of `as_poses` about [B, 4, 4]; tensor operations only, so that torch.func works."""
    rotation = poses[:, :3, :3]
    # Comparisons with NaN are false.
    rigid_poses = (
        (_off_last_row(poses[:, 3]) <= _LAST_ROW_TOLERANCE)
        & (_off_identity(rotation @ rotation.mT) <= _ORTHONORMAL_TOLERANCE)
        & (torch.linalg.det(rotation) > 0)
        & poses[:, :3, 3].isfinite().all(dim=-1)
    )
    if not rigid_poses.all():
        index = int(rigid_poses.logical_not().nonzero()[0])
        which = f"{name}[{index}]" if len(poses) > 1 else name
        raise InputError(
            f"{which} is not a rigid transform: {_what_is_not_rigid(poses[index])}", code="pose.not-rigid"
        )


def _nearest_rotation(pose: Tensor) -> Tensor | None:
    """Rotation [3, 3] nearest to that of a pose [4, 4]; None if it is something else than rounded."""
    block = pose[:3, :3]
    if not pose.isfinite().all() or block.abs().max() > 2 or _off_last_row(pose[3]) > _LAST_ROW_TOLERANCE:
        return None
    left, lengths, right = torch.linalg.svd(block)
    rotation = left @ right
    longer = lengths - 1
    least = longer.abs().min()
    scaled = least > _SCALED_BEYOND and longer.max() - longer.min() < 0.1 * least
    off = (rotation - block).abs().max()
    return None if scaled or off > _NEARLY_A_ROTATION or torch.linalg.det(rotation) < 0 else rotation


def _off_last_row(row: Tensor) -> Tensor:
    """Largest deviation [...] of rows [..., 4] from (0, 0, 0, 1)."""
    return (row - row.new_tensor([0.0, 0.0, 0.0, 1.0])).abs().amax(dim=-1)


def _off_identity(gram: Tensor) -> Tensor:
    """Largest deviation [...] of matrices [..., 3, 3] from the identity."""
    return (gram - torch.eye(3, dtype=gram.dtype, device=gram.device)).abs().amax(dim=(-2, -1))


def _what_is_not_rigid(pose: Tensor) -> str:
    if not pose.isfinite().all():
        return "it contains NaN or infinite values"
    if _off_last_row(pose[3]) > _LAST_ROW_TOLERANCE:
        if _off_last_row(pose[:, 3]) <= _LAST_ROW_TOLERANCE:
            return "its translation is in the last row; transpose it, so that the last row is (0, 0, 0, 1)"
        return f"its last row must be (0, 0, 0, 1), not {tuple(entry.item() for entry in pose[3])}"
    gram = pose[:3, :3] @ pose[:3, :3].mT
    mirrored = torch.linalg.det(pose[:3, :3]) < 0 and _off_identity(gram) <= 2 * _NEARLY_A_ROTATION
    if not mirrored and _off_identity(gram) > _ORTHONORMAL_TOLERANCE:
        scale_squared = gram.trace() / 3
        rounding = min(0.1 * abs(scale_squared.item() - 1), _NEARLY_A_ROTATION)
        if _off_identity(gram / scale_squared) <= max(_ORTHONORMAL_TOLERANCE, rounding):
            return f"its rotation part is scaled by {scale_squared.sqrt().item():.6g}; divide it by that"
        lengths = ", ".join(f"{length:.4g}" for length in gram.diagonal().sqrt().tolist())
        return (
            "its upper left 3x3 block is not orthonormal but stretched or sheared: its rows have lengths"
            f" {lengths}, and their products are up to {_off_identity(gram).item():.2g} off a rotation's"
        )
    return "it mirrors space (determinant -1): one axis has the wrong sign; a pose only turns and moves"
