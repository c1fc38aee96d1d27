"""Registration: initial poses, similarity as least squares, the solver, and the pipeline from CT to pose."""

from .config import RegistrationConfig, Stage
from .implicit import implicit_solution
from .initialize import PRESETS, InitialPose, initial_pose, view
from .pose_file import InputFile, PoseFile, read_initial_pose
from .problem import LeastSquares, Linearization, Problem, normal_equations
from .register import RegistrationResult, StageResult, register
from .robust import L2, Cauchy, GemanMcClure, Huber, PseudoHuber, RobustLoss
from .search import SearchConfig, search
from .similarity import ImageSimilarity, SimilarityConfig, SimilarityTerm
from .solve import LMConfig, Solution, Trace, levenberg_marquardt
from .termination import Reason, Status

__all__ = [
    "L2",
    "PRESETS",
    "Cauchy",
    "GemanMcClure",
    "Huber",
    "ImageSimilarity",
    "InitialPose",
    "InputFile",
    "LMConfig",
    "LeastSquares",
    "Linearization",
    "PoseFile",
    "Problem",
    "PseudoHuber",
    "Reason",
    "RegistrationConfig",
    "RegistrationResult",
    "RobustLoss",
    "SearchConfig",
    "SimilarityConfig",
    "SimilarityTerm",
    "Solution",
    "Stage",
    "StageResult",
    "Status",
    "Trace",
    "implicit_solution",
    "initial_pose",
    "levenberg_marquardt",
    "normal_equations",
    "read_initial_pose",
    "register",
    "search",
    "view",
]
