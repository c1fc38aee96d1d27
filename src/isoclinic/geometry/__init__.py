"""Rigid motions and the pinhole camera: float64, millimetres, transforms read a_from_b."""

from . import se3, so3, so4
from .camera import Camera, roll
from .distortion import Distortion, distortion_jacobian, sampled
from .gantry import gantry_angles, gantry_poses, gantry_view
from .patient_sides import PatientSides
from .pose_errors import (
    PoseErrors,
    mean_projection_distance_mm,
    mean_reprojection_distance_mm,
    mean_target_registration_error_mm,
    pose_errors,
    translation_error_mm,
)
from .se3 import as_poses, nearest_poses, perturb, perturbation, rotation_angle_deg, transform_points

__all__ = [
    "Camera",
    "Distortion",
    "PatientSides",
    "PoseErrors",
    "as_poses",
    "distortion_jacobian",
    "gantry_angles",
    "gantry_poses",
    "gantry_view",
    "mean_projection_distance_mm",
    "mean_reprojection_distance_mm",
    "mean_target_registration_error_mm",
    "nearest_poses",
    "perturb",
    "perturbation",
    "pose_errors",
    "roll",
    "rotation_angle_deg",
    "sampled",
    "se3",
    "so3",
    "so4",
    "transform_points",
    "translation_error_mm",
]
