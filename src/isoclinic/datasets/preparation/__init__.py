"""CTSpine1K prepared for registration: quality control, lumbar spine, surface, landmarks, DRRs."""

from .case import PreparationConfig
from .drrs import DrrConfig
from .landmarks import LandmarkConfig, find_landmarks
from .lumbar import LumbarConfig, extract_lumbar
from .prepare import Preparation, prepare_ctspine1k
from .quality import Finding, QualityConfig, Reason
from .surface import Surface, SurfaceConfig, surface_of

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
