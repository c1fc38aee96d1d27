from .document import document_of
from .files import (
    check_not_diverged,
    pose_file,
    structure_pose_file,
    write_document,
    write_pose,
    write_report,
    write_result,
    write_result_files,
    write_structures,
    write_transform,
)
from .names import RESULT_FILES
from .pictures import ViewPictures, drr, picture_of, view_pictures, write_course, write_overlays
from .registered import Registered, verdict
from .report import report_of
from .targets import Target, targets_of

__all__ = [
    "RESULT_FILES",
    "Registered",
    "Target",
    "ViewPictures",
    "check_not_diverged",
    "document_of",
    "drr",
    "picture_of",
    "pose_file",
    "report_of",
    "structure_pose_file",
    "targets_of",
    "verdict",
    "view_pictures",
    "write_course",
    "write_document",
    "write_overlays",
    "write_pose",
    "write_report",
    "write_result",
    "write_result_files",
    "write_structures",
    "write_transform",
]
