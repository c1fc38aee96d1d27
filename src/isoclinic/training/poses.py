"""Random poses of a C-arm about a view, and random perturbations of them."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..geometry import gantry_poses
from ._draws import log_uniform
from .pose_config import Distribution, PoseConfig

# Normally distributed poses reach as many standard deviations.
_DEVIATIONS = 2.0
# A perturbation by so many millimetres turns by one degree, as in the tables of registration accuracy.
_MM_PER_DEG = 3.0


def draw_poses(config: PoseConfig, isocentre_world: Tensor, generator: torch.Generator, batch: int) -> Tensor:
    """camera_from_world [B, 4, 4] of random views of a CT; see `gantry_poses`.

    Args:
        config: ranges.
        isocentre_world: [3] float64 [mm].
        generator: of the draw.
        batch: number of poses.
    """
    deviation = _deviations(config.distribution, generator, batch) * config.reach
    middle = (config.primary_angle_deg, config.secondary_angle_deg, config.source_isocentre_mm)
    gantry = torch.tensor(middle, dtype=torch.float64).repeat(batch, 1)
    gantry[:, :2] += deviation[:, :2]
    in_plane = deviation[:, 2]
    # Where they never occur nothing is drawn, so that older trainings draw what they did.
    if config.turned_probability:
        quarters = torch.randint(1, 4, (batch,), generator=generator)
        turned = torch.rand(batch, generator=generator) < config.turned_probability
        in_plane = in_plane + 90.0 * (quarters * turned)
    if config.anywhere_probability:
        around, turn = 360 * torch.rand(2, batch, generator=generator, dtype=torch.float64)
        anywhere = torch.rand(batch, generator=generator) < config.anywhere_probability
        gantry[:, 0] = torch.where(anywhere, around, gantry[:, 0])
        in_plane = torch.where(anywhere, turn, in_plane)
    return gantry_poses(gantry, isocentre_world, shift_mm=deviation[:, 3:], in_plane_deg=in_plane)


def draw_perturbations(config: PoseConfig, generator: torch.Generator, batch: int) -> Tensor:
    """Tangents [B, 6] of `se3.perturb`, float64: shift and turn about independent random axes."""
    size_mm = log_uniform(config.perturbation_mm, batch, 1, generator=generator).double()
    axes = torch.randn(2, batch, 3, generator=generator, dtype=torch.float64)
    turn, shift = axes / axes.norm(dim=-1, keepdim=True)
    return torch.cat([torch.deg2rad(size_mm / _MM_PER_DEG) * turn, size_mm * shift], dim=1)


def farthest_rad(perturbation_mm: float, length_mm: float) -> float:
    """Geodesic distance in SO(4) [rad] that a perturbation of this size [mm] leads away, to first order.

    Args:
        perturbation_mm: as in `draw_perturbations`.
        length_mm: characteristic length of the poses' distance.
    """
    return math.hypot(math.radians(perturbation_mm / _MM_PER_DEG), perturbation_mm / (2 * length_mm))


def _deviations(distribution: Distribution, generator: torch.Generator, batch: int) -> Tensor:
    """[B, 6] in -1 to 1."""
    share = torch.rand(batch, 6, generator=generator, dtype=torch.float64)
    if distribution == "uniform":
        return 2 * share - 1
    end = torch.special.ndtr(torch.tensor(_DEVIATIONS, dtype=torch.float64))
    return torch.special.ndtri((1 - end) + share * (2 * end - 1)) / _DEVIATIONS
