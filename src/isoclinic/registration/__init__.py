"""From a CT and an X-ray to a pose: where to start, where to search, coarse to fine, and the pose file."""

from ..similarity import IntrinsicsRefinement, ViewRefinement
from .config import RegistrationConfig, Stage
from .initialize import PRESETS, InitialPose, gantry_view, initial_pose, view
from .pose_file import InputFile, PoseFile, read_initial_pose
from .register import register, register_views
from .result import RegistrationResult, StageResult
from .search import SearchConfig, SearchView, search
from .views import View, views_from_angles, views_from_file, views_from_poses

__all__ = [
    "PRESETS",
    "InitialPose",
    "InputFile",
    "IntrinsicsRefinement",
    "PoseFile",
    "RegistrationConfig",
    "RegistrationResult",
    "SearchConfig",
    "SearchView",
    "Stage",
    "StageResult",
    "View",
    "ViewRefinement",
    "gantry_view",
    "initial_pose",
    "read_initial_pose",
    "register",
    "register_views",
    "search",
    "view",
    "views_from_angles",
    "views_from_file",
    "views_from_poses",
]
