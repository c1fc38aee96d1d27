"""Rigid motions and the pinhole camera: float64, millimetres, transforms read a_from_b."""

from . import se3, so3, so4
from .camera import Camera
from .gantry import gantry_angles, gantry_poses, gantry_view
from .se3 import as_poses, perturb, perturbation, rotation_angle_deg

__all__ = [
    "Camera",
    "as_poses",
    "gantry_angles",
    "gantry_poses",
    "gantry_view",
    "perturb",
    "perturbation",
    "rotation_angle_deg",
    "se3",
    "so3",
    "so4",
]
