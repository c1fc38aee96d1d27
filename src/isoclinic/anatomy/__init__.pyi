from .cohort import Cohort
from .config import CohortConfig, SkeletonConfig, VariationConfig
from .skeleton import synthetic_skeleton
from .variation import Variation, draw_variation, vary

__all__ = [
    "Cohort",
    "CohortConfig",
    "SkeletonConfig",
    "Variation",
    "VariationConfig",
    "draw_variation",
    "synthetic_skeleton",
    "vary",
]
