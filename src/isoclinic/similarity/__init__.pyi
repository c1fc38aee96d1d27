from ._gradients import central_differences, gradient_weight
from ._local_kernel import standardize
from .canonical import CanonicalSimilarity, canonical_target
from .config import IntrinsicsRefinement, SimilarityConfig, SimilarityTerm, ViewRefinement
from .freed_geometry import FreedGeometry, Freedom, without_intrinsics
from .image_similarity import COVERAGE_MARGIN_PX, ImageSimilarity
from .joint import JointSimilarity
from .refinement import refined_camera
from .spherical import SphericalSimilarity, linearize_embedding, residual_and_slopes
from .tone import Tone, fit_tone

__all__ = [
    "COVERAGE_MARGIN_PX",
    "CanonicalSimilarity",
    "FreedGeometry",
    "Freedom",
    "ImageSimilarity",
    "IntrinsicsRefinement",
    "JointSimilarity",
    "SimilarityConfig",
    "SimilarityTerm",
    "SphericalSimilarity",
    "Tone",
    "ViewRefinement",
    "canonical_target",
    "central_differences",
    "fit_tone",
    "gradient_weight",
    "linearize_embedding",
    "refined_camera",
    "residual_and_slopes",
    "standardize",
    "without_intrinsics",
]
