from ._fixed import FixedImage
from ._inputs import identity_findings, input_doubts
from ._register import Model, register, register_views
from ._search import SearchView, search
from .confidence import expected_errors_mm
from .confidence_config import ConfidenceConfig
from .config import (
    IntrinsicsRefinement,
    LearnedConfig,
    PartialConfig,
    RegistrationConfig,
    Stage,
    ViewRefinement,
)
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
from .pose_file import PoseFile, read_initial_pose
from .result import (
    Attempt,
    Confidence,
    GeometryCheck,
    ImageStageResult,
    RegistrationResult,
    StageResult,
    ViewGeometry,
)
from .search_config import AnyViewConfig, SearchConfig
from .structures import StructureResult, check_structures, register_structures
from .structures_config import StructuresConfig
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
