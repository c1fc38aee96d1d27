"""From a CT and an X-ray to a pose: where to start, where to search, coarse to fine, and the pose file."""

from .config import RegistrationConfig, Stage
from .initialize import PRESETS, InitialPose, initial_pose, view
from .pose_file import InputFile, PoseFile, read_initial_pose
from .register import RegistrationResult, StageResult, register
from .search import SearchConfig, search

__all__ = [
    "PRESETS",
    "InitialPose",
    "InputFile",
    "PoseFile",
    "RegistrationConfig",
    "RegistrationResult",
    "SearchConfig",
    "Stage",
    "StageResult",
    "initial_pose",
    "read_initial_pose",
    "register",
    "search",
    "view",
]
