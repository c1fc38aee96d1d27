"""Networks that learn from renderings of a CT: pose regressor, spherical encoder, canonical image."""

from ._blocks import BackboneConfig
from .canonical import CanonicalConfig, CanonicalImage, CanonicalNetwork
from .checkpoint import Checkpoint, Network, TrainingRecord
from .embedding import Embedding, Metric
from .masking import masked
from .pose_regressor import PoseRegressor, PoseRegressorConfig
from .pose_space import PoseSpace
from .spherical_encoder import SphericalEncoder, SphericalEncoderConfig

__all__ = [
    "BackboneConfig",
    "CanonicalConfig",
    "CanonicalImage",
    "CanonicalNetwork",
    "Checkpoint",
    "Embedding",
    "Metric",
    "Network",
    "PoseRegressor",
    "PoseRegressorConfig",
    "PoseSpace",
    "SphericalEncoder",
    "SphericalEncoderConfig",
    "TrainingRecord",
    "masked",
]
