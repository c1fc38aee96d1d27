from ._adaptation import adaptation
from .acquisition import AcquisitionParameters, apply_acquisition, draw_acquisition
from .config import (
    CanonicalPhase,
    CTRegressorPhase,
    EncoderPhase,
    NetworkKind,
    PhaseConfig,
    RegressorPhase,
    TrainConfig,
)
from .losses import CanonicalLoss, DirectionLoss, StepLoss, ValueLoss, network_gradient, pose_loss
from .phase import Course, Phase
from .pose_config import PoseConfig
from .poses import draw_perturbations, draw_poses
from .randomization import Parameters, apply, draw
from .randomization_config import AcquisitionConfig, RandomizationConfig, ToneConfig
from .schedule import OptimizerConfig
from .stream import Batch, SimulationStream, StreamConfig
from .tone import ToneParameters, apply_tone, draw_tone
from .trainer import MODEL_FILE, STATE_FILE, Progress, Subject, Trainer, TrainingData
from .validation import Validation

__all__ = [
    "MODEL_FILE",
    "STATE_FILE",
    "AcquisitionConfig",
    "AcquisitionParameters",
    "Batch",
    "CTRegressorPhase",
    "CanonicalLoss",
    "CanonicalPhase",
    "Course",
    "DirectionLoss",
    "EncoderPhase",
    "NetworkKind",
    "OptimizerConfig",
    "Parameters",
    "Phase",
    "PhaseConfig",
    "PoseConfig",
    "Progress",
    "RandomizationConfig",
    "RegressorPhase",
    "SimulationStream",
    "StepLoss",
    "StreamConfig",
    "Subject",
    "ToneConfig",
    "ToneParameters",
    "TrainConfig",
    "Trainer",
    "TrainingData",
    "Validation",
    "ValueLoss",
    "adaptation",
    "apply",
    "apply_acquisition",
    "apply_tone",
    "draw",
    "draw_acquisition",
    "draw_perturbations",
    "draw_poses",
    "draw_tone",
    "network_gradient",
    "pose_loss",
]
