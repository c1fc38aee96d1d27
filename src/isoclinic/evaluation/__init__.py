"""How far an estimated pose is from the true one, for one case and for a set of them."""

from .metrics import (
    PoseErrors,
    Summary,
    mean_projection_distance_mm,
    mean_reprojection_distance_mm,
    mean_target_registration_error_mm,
    pose_errors,
    success_rate,
    summary,
    translation_error_mm,
)

__all__ = [
    "PoseErrors",
    "Summary",
    "mean_projection_distance_mm",
    "mean_reprojection_distance_mm",
    "mean_target_registration_error_mm",
    "pose_errors",
    "success_rate",
    "summary",
    "translation_error_mm",
]
