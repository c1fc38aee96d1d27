"""Settings for fine-tuning general networks for one CT."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import torch

from ..geometry import gantry_angles
from ..networks import Checkpoint, TrainingRecord
from .config import NetworkKind, TrainConfig
from .pose_config import PoseConfig

# They would take most of a few minutes.
_VALIDATIONS = 2


def adaptation(model: Checkpoint, minutes: float = 3.0, learning_rate: float = 5e-4) -> TrainConfig:
    """A training of a model's networks, for the views they know, on one CT.

    Args:
        model: to start from; see `Trainer.start_from`.
        minutes: of training.
        learning_rate: the highest one, lower than that of a training from nothing.
    """
    config, record = TrainConfig(), model.record
    phases: dict[str, Any] = {}
    for kind, network in model.networks.items():
        phase = config.phase(cast(NetworkKind, kind))
        optimizer = replace(phase.optimizer, learning_rate=learning_rate)
        phases[kind] = replace(phase, network=network.config, optimizer=optimizer)  # type: ignore[call-arg]
    return replace(
        config,
        minutes=minutes,
        images=None,
        validations=_VALIDATIONS,
        networks=cast(tuple[NetworkKind, ...], tuple(model.networks)),
        pixels=max(record.camera.width, record.camera.height),
        length_mm=record.space.length_mm,
        domain=record.domain,
        renderer=record.renderer,
        poses=poses_of(record),
        **phases,
    )


def poses_of(record: TrainingRecord) -> PoseConfig:
    """The views of a training, as far as its record tells: perturbations are the usual ones."""
    nominal = torch.tensor(record.space.nominal_camera_from_world, dtype=torch.float64)
    primary_deg, secondary_deg = gantry_angles(nominal)
    depth_mm = float(nominal[2, :3] @ record.space.isocentre + nominal[2, 3])
    secondary_reach, primary_reach, in_plane_reach = record.rotation_deg
    lateral_mm, _, depth_reach_mm = record.translation_mm
    return PoseConfig(
        primary_angle_deg=primary_deg,
        secondary_angle_deg=secondary_deg,
        source_isocentre_mm=depth_mm,
        primary_reach_deg=primary_reach,
        secondary_reach_deg=secondary_reach,
        in_plane_reach_deg=in_plane_reach,
        lateral_reach_mm=lateral_mm,
        depth_reach_mm=depth_reach_mm,
    )
