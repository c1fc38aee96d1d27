"""How alike an X-ray and a DRR are, as least squares that the solver can minimise."""

from ._local_kernel import standardize
from .image_similarity import ImageSimilarity, SimilarityConfig, SimilarityTerm
from .joint import JointSimilarity
from .refinement import IntrinsicsRefinement, ViewRefinement, refined_camera

__all__ = [
    "ImageSimilarity",
    "IntrinsicsRefinement",
    "JointSimilarity",
    "SimilarityConfig",
    "SimilarityTerm",
    "ViewRefinement",
    "refined_camera",
    "standardize",
]
