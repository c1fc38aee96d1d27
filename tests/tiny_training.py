"""A training that takes seconds: few pixels, small networks, a small phantom."""

from __future__ import annotations

from dataclasses import replace

import torch

import phantoms
from isoclinic.networks import (
    CanonicalConfig,
    CTConditionedRegressorConfig,
    PoseRegressorConfig,
    PoseSpace,
    SphericalEncoderConfig,
)
from isoclinic.training import (
    CanonicalPhase,
    CTRegressorPhase,
    EncoderPhase,
    PoseConfig,
    RegressorPhase,
    SimulationStream,
    StreamConfig,
    Subject,
    TrainConfig,
    Trainer,
    TrainingData,
)
from isoclinic.training.config import PhaseConfig
from isoclinic.training.objectives import Objective, moving_for, objective
from isoclinic.training.phase import network_of
from tiny_networks import BACKBONE

CAMERA = phantoms.CAMERA.resize(height=16, width=16)
CPU = torch.device("cpu")
ENCODER = SphericalEncoderConfig(backbone=BACKBONE, elements=2, dense_level=1)
POSES = PoseConfig(source_isocentre_mm=670.0, lateral_reach_mm=10.0, depth_reach_mm=30.0)
REGRESSOR = RegressorPhase(batch=4, copies=2, network=PoseRegressorConfig(width=8))
GLOBAL = EncoderPhase(batch=4, network=ENCODER)
DENSE = EncoderPhase(batch=4, network=replace(ENCODER, head="dense"))
MOTION = EncoderPhase(
    batch=4, around=2, motion=1.0, value=0.0, direction=0.0, network=replace(ENCODER, head="motion")
)
CANONICAL = CanonicalPhase(batch=4, network=CanonicalConfig(backbone=BACKBONE, window_px=9))
CT_REGRESSOR = CTRegressorPhase(
    batch=4,
    network=CTConditionedRegressorConfig(
        image_px=16,
        cube_voxels=16,
        feature_px=8,
        image_features=(4,),
        volume_features=(4, 4),
        depth_features=1,
        fused_features=4,
        stages=(4,),
        hidden=(8,),
    ),
)
CONFIG = TrainConfig(
    images=32,
    networks=("pose_regressor", "canonical"),
    pixels=16,
    validations=1,
    validation_images=1,
    poses=POSES,
    pose_regressor=replace(REGRESSOR, share=1.0),
    coarse_encoder=GLOBAL,
    fine_encoder=DENSE,
    canonical=CANONICAL,
    ct_regressor=CT_REGRESSOR,
)


def subject(seed: int = 0) -> Subject:
    digest = f"{seed:064x}"
    return Subject(volume=phantoms.phantom(seed, (32, 32, 32)), sha256=digest)


def data() -> TrainingData:
    """One patient."""
    return TrainingData(subjects=(subject(),), camera=phantoms.CAMERA)


def trainer(**changes) -> Trainer:
    return Trainer(data(), replace(CONFIG, **changes), CPU)


def weights(made: Trainer) -> dict[str, torch.Tensor]:
    """Copies of everything in the networks."""
    return {
        f"{phase.kind}.{name}": value.clone()
        for phase in made.phases
        for name, value in phase.network.state_dict().items()
    }


def stream(phase: PhaseConfig, batch: int = 4, copies: int = 2) -> SimulationStream:
    config = StreamConfig(
        batch=batch,
        copies=copies,
        moving=moving_for(phase),
        around=phase.around if isinstance(phase, EncoderPhase) else 1,
        voxel_mm="full",
        poses=POSES,
        backend="cpu",
    )
    return SimulationStream([subject().volume], CAMERA, config, seed=0)


def space() -> PoseSpace:
    volume = subject().volume
    return PoseSpace.about(phantoms.true_pose(volume, (0.0,) * 6), volume.isocentre_world, 100.0)


def objective_of(phase: PhaseConfig) -> Objective:
    return objective(network_of(phase, seed=0), phase, space(), torch.float32)
