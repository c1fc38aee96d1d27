"""Similarities of X-rays and DRRs, as least-squares problems that the solver can minimise."""

from ._gradients import central_differences
from ._local_kernel import standardize
from .canonical import CanonicalSimilarity, canonical_target
from .freed_geometry import FreedGeometry, Freedom, without_intrinsics
from .image_similarity import COVERAGE_MARGIN_PX, ImageSimilarity, SimilarityConfig, SimilarityTerm
from .joint import JointSimilarity
from .refinement import IntrinsicsRefinement, ViewRefinement, refined_camera
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
    "linearize_embedding",
    "refined_camera",
    "residual_and_slopes",
    "standardize",
    "without_intrinsics",
]
