"""How alike an X-ray and a DRR are, as least squares that the solver can minimise."""

from ._local_kernel import standardize
from .image_similarity import ImageSimilarity, SimilarityConfig, SimilarityTerm

__all__ = ["ImageSimilarity", "SimilarityConfig", "SimilarityTerm", "standardize"]
