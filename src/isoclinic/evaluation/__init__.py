"""How far estimated poses are from the true ones: errors, cases to measure them on, and their table."""

from .calibration import Calibration, calibration, calibration_figure
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
from .protocol import Case, Measurement, errors_of, find_cases
from .report import summaries, summary_document, summary_figure, write_report

__all__ = [
    "Calibration",
    "Case",
    "Measurement",
    "PoseErrors",
    "Summary",
    "calibration",
    "calibration_figure",
    "errors_of",
    "find_cases",
    "mean_projection_distance_mm",
    "mean_reprojection_distance_mm",
    "mean_target_registration_error_mm",
    "pose_errors",
    "success_rate",
    "summaries",
    "summary",
    "summary_document",
    "summary_figure",
    "translation_error_mm",
    "write_report",
]
