from ._warnings import GeometryWarning, warn_geometry
from ._written_poses import written_poses
from .attenuation import AttenuationConfig, mu_from_hu, split_materials
from .config import MaskConfig, Material, PreprocessConfig, XRayOptions
from .correction import CTCorrection
from .dicom_run import DicomRun
from .extent import OpenFace, open_faces, tissue_points
from .findings import Finding, gathered, tell
from .identity import Identity, compare_identities
from .masks import Masks, find_masks
from .points import bone_points, target_points
from .preprocess import line_integrals
from .readers import find_volumes
from .symmetry import MirrorPlane, mirror_plane
from .volume import Structures, Volume
from .voxel_identity import VoxelIdentity, looks_like_labels
from .xray import POLARITY_BY_MATCH, POLARITY_GUESSED, XRay
from .xray_readers import images_in

__all__ = [
    "POLARITY_BY_MATCH",
    "POLARITY_GUESSED",
    "AttenuationConfig",
    "CTCorrection",
    "DicomRun",
    "Finding",
    "GeometryWarning",
    "Identity",
    "MaskConfig",
    "Masks",
    "Material",
    "MirrorPlane",
    "OpenFace",
    "PreprocessConfig",
    "Structures",
    "Volume",
    "VoxelIdentity",
    "XRay",
    "XRayOptions",
    "bone_points",
    "compare_identities",
    "find_masks",
    "find_volumes",
    "gathered",
    "images_in",
    "line_integrals",
    "looks_like_labels",
    "mirror_plane",
    "mu_from_hu",
    "open_faces",
    "split_materials",
    "target_points",
    "tell",
    "tissue_points",
    "warn_geometry",
    "written_poses",
]
