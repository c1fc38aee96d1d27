"""Turns of a rod about its own axis, which one view hardly shows: a bone's shaft, a nail, a stem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..geometry import so3

# Standard deviation of a rod's points across its axis, as a share of that along it: 0.2 for an ulna, 0.35 for
# a radius with its broad end, 0.65 for a tibial tray with its stem.
_SLIM = 0.5
# Stages find their way from turns that are some six degrees off. The last one starts at the near turns; the
# one before it, which is more far-sighted but blind to turns of a few degrees, starts at the far ones.
NEAR_TURNS_DEG = (-12.0, -6.0, 6.0, 12.0)
FAR_TURNS_DEG = (-24.0, -18.0, -12.0, 12.0, 18.0, 24.0)


class LongAxis(NamedTuple):
    """The axis of a rod: a point on it and its direction, both [3] float64, in the world frame [mm]."""

    point_world: Tensor
    direction_world: Tensor


def long_axis(points_world: Tensor) -> LongAxis | None:
    """The axis of a part with points [N, 3] [mm]; None where the part is no rod."""
    points = points_world.double()
    middle = points.mean(dim=0)
    _, spreads, directions = torch.linalg.svd(points - middle, full_matrices=False)
    return LongAxis(middle, directions[0]) if spreads[1] < _SLIM * spreads[0] else None


def turned_poses(camera_from_world: Tensor, axis: LongAxis, turns_deg: Sequence[float]) -> Tensor:
    """Poses [A, 4, 4] that show a rod as a pose [4, 4] does, but turned about its axis by A angles [deg]."""
    turns = torch.deg2rad(torch.tensor(turns_deg, dtype=torch.float64))
    turned = torch.eye(4, dtype=torch.float64).repeat(len(turns), 1, 1)
    turned[:, :3, :3] = so3.exp(turns[:, None] * axis.direction_world)
    turned[:, :3, 3] = axis.point_world - turned[:, :3, :3] @ axis.point_world
    return camera_from_world @ turned
