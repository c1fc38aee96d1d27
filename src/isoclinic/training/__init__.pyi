from .config import CanonicalPhase, CTRegressorPhase, EncoderPhase, RegressorPhase, TrainConfig
from .part_config import PartConfig, SurroundingsConfig
from .pose_config import PoseConfig
from .randomization_config import (
    AcquisitionConfig,
    RandomizationConfig,
    ToneConfig,
    WorkstationConfig,
)
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
    "PartConfig",
    "PoseConfig",
    "RandomizationConfig",
    "RegressorPhase",
    "SimulationStream",
    "StreamConfig",
    "Subject",
    "SurroundingsConfig",
    "ToneConfig",
    "TrainConfig",
    "Trainer",
    "TrainingData",
    "WorkstationConfig",
]
