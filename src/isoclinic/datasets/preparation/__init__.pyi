from .config import DrrConfig, LandmarkConfig, LumbarConfig, PreparationConfig, QualityConfig, SurfaceConfig
from .landmarks import find_landmarks
from .lumbar import extract_lumbar
from .prepare import Preparation, prepare_ctspine1k
from .quality import Finding, Reason
from .surface import Surface, surface_of

__all__ = [
    "DrrConfig",
    "Finding",
    "LandmarkConfig",
    "LumbarConfig",
    "Preparation",
    "PreparationConfig",
    "QualityConfig",
    "Reason",
    "Surface",
    "SurfaceConfig",
    "extract_lumbar",
    "find_landmarks",
    "prepare_ctspine1k",
    "surface_of",
]
