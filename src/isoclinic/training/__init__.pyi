from .config import CanonicalPhase, CTRegressorPhase, EncoderPhase, RegressorPhase, TrainConfig
from .pose_config import PoseConfig
from .randomization_config import AcquisitionConfig, RandomizationConfig, ToneConfig
from .schedule import OptimizerConfig
from .stream import Batch, SimulationStream, StreamConfig
from .trainer import Subject, Trainer, TrainingData

__all__ = [
    "AcquisitionConfig",
    "Batch",
    "CTRegressorPhase",
    "CanonicalPhase",
    "EncoderPhase",
    "OptimizerConfig",
    "PoseConfig",
    "RandomizationConfig",
    "RegressorPhase",
    "SimulationStream",
    "StreamConfig",
    "Subject",
    "ToneConfig",
    "TrainConfig",
    "Trainer",
    "TrainingData",
]
