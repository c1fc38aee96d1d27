"""Registration errors at landmarks, in float64.

mTRE, mPD and mRPD are those of van de Kraats, Penney, Tomazevic, van Walsum & Niessen 2005, "Standardized
evaluation methodology for 2-D-3-D registration", IEEE Trans. Med. Imaging 24(9). All are in millimetres and
none can stand for another: mTRE is measured in space, mPD on the detector, mRPD in space but blind to depth.
(Some papers call a detector distance times a pixel size mTRE.)

Poses are camera_from_world [..., 4, 4], landmarks are world points [..., N, 3] in mm; leading dimensions
broadcast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from .se3 import rotation_angle_deg, transform_points


@dataclass(frozen=True, kw_only=True)
class PoseErrors:
    """Errors of one pose or a batch of them.

    Attributes:
        mtre_mm: mean target registration error [...].
        mpd_mm: mean projection distance on the detector [...].
        mrpd_mm: mean reprojection distance [...].
        rotation_deg: angle of the rotation between the poses [...], 0 to 180.
        translation_mm: displacement of the landmarks' centroid along the camera's x, y and z (depth),
            signed [..., 3].
    """

    mtre_mm: Tensor
    mpd_mm: Tensor
    mrpd_mm: Tensor
    rotation_deg: Tensor
    translation_mm: Tensor


def mean_target_registration_error_mm(
    estimate_camera_from_world: Tensor, true_camera_from_world: Tensor, landmarks_world: Tensor
) -> Tensor:
    """MTRE [...] [mm]: mean distance of a landmark's positions in the camera frame under the two poses."""
    estimate = _in_camera(estimate_camera_from_world, landmarks_world)
    truth = _in_camera(true_camera_from_world, landmarks_world)
    return torch.linalg.vector_norm(estimate - truth, dim=-1).mean(-1)


def mean_projection_distance_mm(
    estimate_camera_from_world: Tensor,
    true_camera_from_world: Tensor,
    landmarks_world: Tensor,
    *,
    sdd_mm: float,
) -> Tensor:
    """MPD [...] [mm]: mean distance between a landmark's two projections, measured on the detector.

    Infinite where a pose puts a landmark on or behind the source's plane, from where nothing is projected.

    Args:
        sdd_mm: distance from the source to the detector [mm].
    """
    estimate = _on_detector(_in_camera(estimate_camera_from_world, landmarks_world), sdd_mm)
    truth = _on_detector(_in_camera(true_camera_from_world, landmarks_world), sdd_mm)
    distance = torch.linalg.vector_norm(estimate - truth, dim=-1)
    return torch.nan_to_num(distance, nan=math.inf).mean(-1)


def mean_reprojection_distance_mm(
    estimate_camera_from_world: Tensor, true_camera_from_world: Tensor, landmarks_world: Tensor
) -> Tensor:
    """MRPD [...] [mm]: mean distance of an estimated landmark position to the ray of its true projection."""
    estimate = _in_camera(estimate_camera_from_world, landmarks_world)
    ray = torch.nn.functional.normalize(_in_camera(true_camera_from_world, landmarks_world), dim=-1)
    beside = estimate - (estimate * ray).sum(-1, keepdim=True) * ray
    return torch.linalg.vector_norm(beside, dim=-1).mean(-1)


def translation_error_mm(
    estimate_camera_from_world: Tensor, true_camera_from_world: Tensor, landmarks_world: Tensor
) -> Tensor:
    """Displacement [..., 3] [mm] of the landmarks' centroid along the camera's axes, estimate minus truth.

    The last entry is depth. The centroid stands for the patient because the matrices' own translations are
    those of the world's origin, which may lie anywhere and picks up the rotation error.
    """
    centroid = landmarks_world.mean(-2, keepdim=True)
    estimate = _in_camera(estimate_camera_from_world, centroid)
    return (estimate - _in_camera(true_camera_from_world, centroid)).squeeze(-2)


def pose_errors(
    estimate_camera_from_world: Tensor,
    true_camera_from_world: Tensor,
    landmarks_world: Tensor,
    *,
    sdd_mm: float,
) -> PoseErrors:
    """Compute all errors of this module at once, for poses [..., 4, 4] and landmarks [..., N, 3] [mm].

    Args:
        sdd_mm: distance from the source to the detector [mm].
    """
    poses = estimate_camera_from_world, true_camera_from_world
    return PoseErrors(
        mtre_mm=mean_target_registration_error_mm(*poses, landmarks_world),
        mpd_mm=mean_projection_distance_mm(*poses, landmarks_world, sdd_mm=sdd_mm),
        mrpd_mm=mean_reprojection_distance_mm(*poses, landmarks_world),
        rotation_deg=rotation_angle_deg(poses[0].to(torch.float64), poses[1].to(torch.float64)),
        translation_mm=translation_error_mm(*poses, landmarks_world),
    )


def _in_camera(camera_from_world: Tensor, points_world: Tensor) -> Tensor:
    return transform_points(camera_from_world.to(torch.float64), points_world.to(torch.float64))


def _on_detector(points_camera: Tensor, sdd_mm: float) -> Tensor:
    """(x, y) [mm] on the detector; NaN for points that no ray reaches."""
    depth = points_camera[..., 2:]
    return torch.where(depth > 0, sdd_mm / depth, math.nan) * points_camera[..., :2]
