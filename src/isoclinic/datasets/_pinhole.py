"""Intrinsics and extrinsics of any sign convention to one camera and a proper pose."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import InputError
from ..geometry import Camera, as_poses, se3, so3

Array = NDArray[np.float64]

RAS_FROM_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def posed_camera(
    intrinsic: Array,
    extrinsic: Array,
    *,
    size: tuple[int, ...],
    pixel_spacing_mm: tuple[float, float],
    centre_world: Array,
    label: str,
) -> tuple[Camera, Tensor]:
    """Camera and camera_from_world of what a file calls intrinsic and extrinsic matrix.

    A pixel follows from `intrinsic @ extrinsic` up to scale, so the signs of focal lengths and the direction
    of the file's z axis mean nothing by themselves. What decides is that the patient lies in front of the
    source (z of our camera), that rows grow downwards (y, so fy is positive) and that a pose is a proper
    motion (x); an image seen from the detector thus gets a negative fx.

    Args:
        intrinsic: [3, 3], camera frame of the file to homogeneous pixels (u, v), centres at integers.
        extrinsic: [4, 4], RAS world [mm] to that camera frame, up to mirrored axes.
        size: (rows, columns) of the image.
        pixel_spacing_mm: (row, column) spacing of the detector's pixels [mm].
        centre_world: [3], a point inside the patient [mm].
        label: what an error calls the extrinsic matrix.

    Raises:
        InputError: intrinsics with skew or without focal lengths, or extrinsics that are not rigid.
    """
    intrinsic = intrinsic / (intrinsic[2, 2] or np.nan)
    (fx, skew, cx), (zero, fy, cy), last = intrinsic
    if not np.isfinite(intrinsic).all() or fx * fy == 0 or np.any([skew, zero, *last[:2]]):
        raise InputError(
            f"{label}: its intrinsic matrix must be [fx 0 cx; 0 fy cy; 0 0 1], not\n{intrinsic}",
            code="dataset.invalid-value",
        )
    depth = extrinsic[2, :3] @ centre_world + extrinsic[2, 3]
    z = 1.0 if depth > 0 else -1.0
    y = z * np.sign(fy)
    x = y * z * np.sign(np.linalg.det(extrinsic[:3, :3]))
    pose = as_poses(np.diag([x, y, z, 1.0]) @ extrinsic, label)[0]
    rotation = so3.matrix_from_quaternion(so3.quaternion_from_matrix(pose[:3, :3]))  # undoes float32
    row_mm, column_mm = pixel_spacing_mm
    rows, columns = size
    camera = Camera(
        width=columns,
        height=rows,
        fx=fx * x * z,
        fy=fy * y * z,
        cx=cx,
        cy=cy,
        sdd_mm=(abs(fx) * column_mm + abs(fy) * row_mm) / 2,
    )
    return camera, se3.rigid(rotation, pose[:3, 3])


def translation(offset: Array) -> Array:
    """The motion [4, 4] x -> x + offset."""
    matrix = np.eye(4)
    matrix[:3, 3] = offset
    return matrix


def turned(camera: Camera, camera_from_world: Tensor) -> tuple[Camera, Tensor]:
    """The same image and scene, described in axes turned by 180 degrees about the principal axis."""
    half_turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
    mirrored = Camera(
        width=camera.width,
        height=camera.height,
        fx=-camera.fx,
        fy=-camera.fy,
        cx=camera.cx,
        cy=camera.cy,
        sdd_mm=camera.sdd_mm,
    )
    return mirrored, half_turn @ camera_from_world
