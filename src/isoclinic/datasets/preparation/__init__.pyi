from .config import DrrConfig, LandmarkConfig, LumbarConfig, PreparationConfig, QualityConfig, SurfaceConfig
from .landmarks import find_landmarks
from .lumbar import extract_lumbar
from .prepare import Preparation, prepare_ctspine1k
from .quality import CaseFinding, Exclusion
from .surface import Surface, surface_of

__all__ = [
    "CaseFinding",
    "DrrConfig",
    "Exclusion",
    "LandmarkConfig",
    "LumbarConfig",
    "Preparation",
    "PreparationConfig",
    "QualityConfig",
    "Surface",
    "SurfaceConfig",
    "extract_lumbar",
    "find_landmarks",
    "prepare_ctspine1k",
    "surface_of",
]
