"""Rotations: matrices, unit quaternions (w, x, y, z) and rotation vectors [rad]: batched, differentiable."""

from __future__ import annotations

import torch
from torch import Tensor

from . import _series


def hat(omega: Tensor) -> Tensor:
    """Skew matrices [..., 3, 3] of vectors [..., 3]: a x b as the product of a matrix and b."""
    x, y, z = omega.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(*omega.shape[:-1], 3, 3)


def exp(omega: Tensor) -> Tensor:
    """Rotation [..., 3, 3] by |omega| rad about omega [..., 3] (Rodrigues' formula)."""
    angle_squared = omega.square().sum(-1)[..., None, None]
    skew = hat(omega)
    return (
        torch.eye(3, dtype=omega.dtype, device=omega.device)
        + _series.sinc(angle_squared) * skew
        + _series.versine(angle_squared) * (skew @ skew)
    )


def log(rotation: Tensor) -> Tensor:
    """Rotation vector [..., 3] of angle at most pi, of rotations [..., 3, 3].

    It goes through the unit quaternion, whose arctangent is well conditioned from angle 0 to pi, unlike the
    arc cosine of the trace. At exactly pi either of the two opposite vectors is returned.
    """
    quaternion = quaternion_from_matrix(rotation)
    scalar, vector = quaternion[..., :1], quaternion[..., 1:]
    return 2 * _series.arctangent_ratio(vector.square().sum(-1, keepdim=True), scalar) * vector


def quaternion_from_matrix(rotation: Tensor) -> Tensor:
    """Unit quaternion (w, x, y, z), w >= 0, [..., 4], of rotations [..., 3, 3].

    The symmetric matrix 4 q q^T is linear in the rotation; its column of largest diagonal, |4 q_i| >= 2,
    is normalised (Shepperd 1978, J. Guidance and Control 1(3)), which is stable at every angle.
    """
    m = rotation
    wx = m[..., 2, 1] - m[..., 1, 2]
    wy = m[..., 0, 2] - m[..., 2, 0]
    wz = m[..., 1, 0] - m[..., 0, 1]
    xy = m[..., 0, 1] + m[..., 1, 0]
    xz = m[..., 0, 2] + m[..., 2, 0]
    yz = m[..., 1, 2] + m[..., 2, 1]
    a, b, c = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    diagonal = torch.stack([1 + a + b + c, 1 + a - b - c, 1 - a + b - c, 1 - a - b + c], dim=-1)
    outer = torch.stack(
        [
            *(diagonal[..., 0], wx, wy, wz),
            *(wx, diagonal[..., 1], xy, xz),
            *(wy, xy, diagonal[..., 2], yz),
            *(wz, xz, yz, diagonal[..., 3]),
        ],
        dim=-1,
    ).reshape(*diagonal.shape[:-1], 4, 4)
    largest = diagonal.argmax(-1)[..., None, None].expand(*diagonal.shape[:-1], 1, 4)
    column = outer.gather(-2, largest).squeeze(-2)
    column = torch.where(column[..., :1] < 0, -column, column)
    return column / torch.linalg.vector_norm(column, dim=-1, keepdim=True)


def matrix_from_quaternion(quaternion: Tensor) -> Tensor:
    """Rotation [..., 3, 3] of quaternions (w, x, y, z) [..., 4] of any non-zero length."""
    scalar, vector = quaternion[..., :1], quaternion[..., 1:]
    skew = hat(vector)
    scale = 2 / quaternion.square().sum(-1)[..., None, None]
    rotation = scale * (scalar[..., None] * skew + skew @ skew)
    return rotation + torch.eye(3, dtype=quaternion.dtype, device=quaternion.device)
