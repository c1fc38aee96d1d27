"""Anatomies that nobody has: variations of real CTs, skeletons made up, and an endless cohort of both."""

from .cohort import Cohort, CohortConfig
from .skeleton import SkeletonConfig, synthetic_skeleton
from .variation import Variation, VariationConfig, draw_variation, vary

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
