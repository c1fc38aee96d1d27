"""Synthetic anatomies: variations of real CTs, synthetic skeletons, and an endless cohort of both."""

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
