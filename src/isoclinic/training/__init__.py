"""Networks trained on simulated, domain-randomised X-rays of CTs, whose poses are known."""

from .acquisition import AcquisitionConfig, AcquisitionParameters, apply_acquisition, draw_acquisition
from .adaptation import adaptation
from .config import (
    CanonicalPhase,
    CTRegressorPhase,
    EncoderPhase,
    NetworkKind,
    PhaseConfig,
    RegressorPhase,
    TrainConfig,
)
from .losses import (
    CanonicalLoss,
    DirectionLoss,
    StepLoss,
    UnrolledLoss,
    ValueLoss,
    network_gradient,
    pose_loss,
)
from .phase import Course, Phase
from .poses import PoseConfig, draw_perturbations, draw_poses
from .randomization import Parameters, RandomizationConfig, apply, draw
from .schedule import OptimizerConfig
from .stream import Batch, SimulationStream, StreamConfig
from .tone import ToneConfig, ToneParameters, apply_tone, draw_tone
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
    "UnrolledLoss",
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
