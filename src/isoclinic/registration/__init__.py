"""From a CT and an X-ray to a pose: where to start, where to search, coarse to fine, and the pose file."""

from ..similarity import IntrinsicsRefinement, ViewRefinement
from ._any_view import AnyViewConfig
from ._fixed import FixedImage
from ._inputs import identity_findings, input_doubts
from .confidence import ConfidenceConfig, expected_errors_mm
from .config import LearnedConfig, PartialConfig, RegistrationConfig, Stage
from .initialize import PRESETS, InitialPose, initial_pose, view
from .intrinsics import IntrinsicsConfig
from .landmarks import (
    LandmarkPairs,
    LandmarkPose,
    pose_from_landmark_files,
    pose_from_landmarks,
    read_landmark_pairs,
    read_pixel_points,
    read_world_points,
)
from .pose_file import InputFile, PoseFile, read_initial_pose
from .register import Model, register, register_views
from .result import (
    Attempt,
    Confidence,
    GeometryCheck,
    ImageStageResult,
    RegistrationResult,
    StageResult,
    ViewGeometry,
)
from .search import SearchConfig, SearchView, search
from .structures import StructureResult, StructuresConfig, check_structures, register_structures
from .views import View, views_from_angles, views_from_file, views_from_poses

__all__ = [
    "PRESETS",
    "AnyViewConfig",
    "Attempt",
    "Confidence",
    "ConfidenceConfig",
    "FixedImage",
    "GeometryCheck",
    "ImageStageResult",
    "InitialPose",
    "InputFile",
    "IntrinsicsConfig",
    "IntrinsicsRefinement",
    "LandmarkPairs",
    "LandmarkPose",
    "LearnedConfig",
    "Model",
    "PartialConfig",
    "PoseFile",
    "RegistrationConfig",
    "RegistrationResult",
    "SearchConfig",
    "SearchView",
    "Stage",
    "StageResult",
    "StructureResult",
    "StructuresConfig",
    "View",
    "ViewGeometry",
    "ViewRefinement",
    "check_structures",
    "expected_errors_mm",
    "identity_findings",
    "initial_pose",
    "input_doubts",
    "pose_from_landmark_files",
    "pose_from_landmarks",
    "read_initial_pose",
    "read_landmark_pairs",
    "read_pixel_points",
    "read_world_points",
    "register",
    "register_structures",
    "register_views",
    "search",
    "view",
    "views_from_angles",
    "views_from_file",
    "views_from_poses",
]
