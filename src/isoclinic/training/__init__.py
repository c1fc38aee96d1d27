"""Training data for networks: simulated, domain-randomised X-rays of CTs with their poses, without end."""

from .acquisition import AcquisitionConfig, AcquisitionParameters, apply_acquisition, draw_acquisition
from .losses import CanonicalLoss, DirectionLoss, StepLoss, ValueLoss, network_gradient, pose_loss
from .poses import PoseConfig, draw_perturbations, draw_poses
from .randomization import Parameters, RandomizationConfig, apply, draw
from .stream import Batch, SimulationStream, StreamConfig
from .tone import ToneConfig, ToneParameters, apply_tone, draw_tone

__all__ = [
    "AcquisitionConfig",
    "AcquisitionParameters",
    "Batch",
    "CanonicalLoss",
    "DirectionLoss",
    "Parameters",
    "PoseConfig",
    "RandomizationConfig",
    "SimulationStream",
    "StepLoss",
    "StreamConfig",
    "ToneConfig",
    "ToneParameters",
    "ValueLoss",
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
