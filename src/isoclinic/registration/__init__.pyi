from ._register import register, register_views
from .confidence_config import ConfidenceConfig
from .config import (
    IntrinsicsRefinement,
    LearnedConfig,
    PartialConfig,
    RegistrationConfig,
    Stage,
    ViewRefinement,
)
from .initialize import PRESETS, InitialPose
from .intrinsics import IntrinsicsConfig
from .landmarks import LandmarkPairs, LandmarkPose, pose_from_landmark_files, pose_from_landmarks
from .pose_file import PoseFile, read_initial_pose
from .result import Confidence, RegistrationResult
from .search_config import AnyViewConfig, SearchConfig
from .session import Session
from .session_config import FollowConfig
from .structures import StructureResult, register_structures
from .structures_config import StructuresConfig
from .track import TrackedFrame, Tracker
from .track_config import TrackConfig
from .views import View, views_from_angles, views_from_file, views_from_poses

__all__ = [
    "PRESETS",
    "AnyViewConfig",
    "Confidence",
    "ConfidenceConfig",
    "FollowConfig",
    "InitialPose",
    "IntrinsicsConfig",
    "IntrinsicsRefinement",
    "LandmarkPairs",
    "LandmarkPose",
    "LearnedConfig",
    "PartialConfig",
    "PoseFile",
    "RegistrationConfig",
    "RegistrationResult",
    "SearchConfig",
    "Session",
    "Stage",
    "StructureResult",
    "StructuresConfig",
    "TrackConfig",
    "TrackedFrame",
    "Tracker",
    "View",
    "ViewRefinement",
    "pose_from_landmark_files",
    "pose_from_landmarks",
    "read_initial_pose",
    "register",
    "register_structures",
    "register_views",
    "views_from_angles",
    "views_from_file",
    "views_from_poses",
]
