"""What a registration leaves: pose files, transforms, pictures, a report, a JSON document, a verdict.

Everything that states a result, in a file or on a screen, reads the same properties of the same objects:
`stated_error_mm` and `doubts` of `Confidence` and of `StructureResult`, and `Registered.doubts` of them all.
"""

from .document import document_of, residuals
from .files import (
    check_not_diverged,
    pose_file,
    structure_pose_file,
    write_poses,
    write_structures,
)
from .geometry_check import depth_note, geometry_rows
from .pictures import convergence_stages, drr, picture_of, write_pictures
from .registered import (
    POSE,
    REPORT,
    RESULT_FILES,
    STRUCTURES,
    TRANSFORM,
    Origin,
    Registered,
    ct_text,
    expected_error_text,
    fallback_text,
    geometry,
    model_parts,
    moved_text,
    rescue_tried,
    text,
    verdict,
)
from .report import report_of
from .targets import Target, targets_document, targets_of

__all__ = [
    "POSE",
    "REPORT",
    "RESULT_FILES",
    "STRUCTURES",
    "TRANSFORM",
    "Origin",
    "Registered",
    "Target",
    "check_not_diverged",
    "convergence_stages",
    "ct_text",
    "depth_note",
    "document_of",
    "drr",
    "expected_error_text",
    "fallback_text",
    "geometry",
    "geometry_rows",
    "model_parts",
    "moved_text",
    "picture_of",
    "pose_file",
    "report_of",
    "rescue_tried",
    "residuals",
    "structure_pose_file",
    "targets_document",
    "targets_of",
    "text",
    "verdict",
    "write_pictures",
    "write_poses",
    "write_structures",
]
