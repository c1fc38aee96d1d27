"""Networks that learn from renderings of a CT: pose regressor, spherical encoder, canonical image."""

from ._blocks import BackboneConfig
from ._bounded_pose import BoundedPoseConfig
from .canonical import CanonicalConfig, CanonicalImage, CanonicalNetwork
from .checkpoint import Checkpoint, Network, TrainingRecord
from .ct_conditioned import CTConditionedRegressor, CTConditionedRegressorConfig, conditioning_cube
from .embedding import Embedding, Metric
from .image_domain import ImageDomain, in_domain, jacobian_in_domain
from .masking import masked
from .pose_regressor import PoseRegressor, PoseRegressorConfig
from .pose_space import PoseSpace
from .prediction import Regressor, predicted_motion
from .spherical_encoder import SphericalEncoder, SphericalEncoderConfig

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
