from .canonical import CanonicalImage, CanonicalNetwork
from .checkpoint import Checkpoint, Network, TrainingRecord
from .config import (
    BackboneConfig,
    BoundedPoseConfig,
    CanonicalConfig,
    CTConditionedRegressorConfig,
    ImageDomain,
    Metric,
    PoseRegressorConfig,
    SphericalEncoderConfig,
)
from .ct_conditioned import CTConditionedRegressor, conditioning_cube
from .embedding import Embedding
from .image_domain import in_domain, jacobian_in_domain
from .masking import masked
from .pose_regressor import PoseRegressor
from .pose_space import PoseSpace
from .prediction import Regressor, predicted_motion
from .spherical_encoder import SphericalEncoder

__all__ = [
    "BackboneConfig",
    "BoundedPoseConfig",
    "CTConditionedRegressor",
    "CTConditionedRegressorConfig",
    "CanonicalConfig",
    "CanonicalImage",
    "CanonicalNetwork",
    "Checkpoint",
    "Embedding",
    "ImageDomain",
    "Metric",
    "Network",
    "PoseRegressor",
    "PoseRegressorConfig",
    "PoseSpace",
    "Regressor",
    "SphericalEncoder",
    "SphericalEncoderConfig",
    "TrainingRecord",
    "conditioning_cube",
    "in_domain",
    "jacobian_in_domain",
    "masked",
    "predicted_motion",
]
