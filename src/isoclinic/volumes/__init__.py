"""CT volumes and X-rays with their place in the world, and what becomes of their values."""

from ._warnings import GeometryWarning
from .attenuation import AttenuationConfig, Material, mu_from_hu, split_materials
from .correction import CTCorrection
from .findings import Finding, gathered, tell
from .identity import Identity, compare_identities
from .masks import MaskConfig, Masks, find_masks
from .points import bone_points, target_points
from .preprocess import PreprocessConfig, line_integrals
from .readers import find_volumes
from .volume import Structures, Volume
from .written_poses import written_poses
from .xray import POLARITY_GUESSED, XRay, XRayOptions

__all__ = [
    "POLARITY_GUESSED",
    "AttenuationConfig",
    "CTCorrection",
    "Finding",
    "GeometryWarning",
    "Identity",
    "MaskConfig",
    "Masks",
    "Material",
    "PreprocessConfig",
    "Structures",
    "Volume",
    "XRay",
    "XRayOptions",
    "bone_points",
    "compare_identities",
    "find_masks",
    "find_volumes",
    "gathered",
    "line_integrals",
    "mu_from_hu",
    "split_materials",
    "target_points",
    "tell",
    "written_poses",
]
