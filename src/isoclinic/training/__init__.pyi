from .config import CanonicalPhase, CTRegressorPhase, EncoderPhase, RegressorPhase, TrainConfig
from .hospital_config import ObjectsConfig, ProcessingConfig
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
    "ObjectsConfig",
    "OptimizerConfig",
    "PoseConfig",
    "ProcessingConfig",
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
