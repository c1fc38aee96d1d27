"""Random poses of a C-arm about a view, and random perturbations of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ..errors import UsageError
from ..geometry import gantry_poses, gantry_view
from ._draws import Range, check_range, log_uniform

# Normally distributed poses reach as many standard deviations.
_DEVIATIONS = 2.0
# A perturbation by so many millimetres turns by one degree, as in the tables of registration accuracy.
_MM_PER_DEG = 3.0

Distribution = Literal["uniform", "normal"]


@dataclass(frozen=True, kw_only=True)
class PoseConfig:
    """The views a C-arm takes, and how far from them a registration may start.

    Attributes:
        primary_angle_deg: primary C-arm angle in the middle of the range [deg], in DICOM's sense; 180 is AP.
        secondary_angle_deg: secondary C-arm angle in the middle of the range [deg].
        source_isocentre_mm: distance from the source to the CT's centre in the middle of the range [mm].
        primary_reach_deg: largest deviation of the primary angle [deg].
        secondary_reach_deg: largest deviation of the secondary angle [deg].
        in_plane_reach_deg: largest turn in the image plane [deg].
        lateral_reach_mm: largest shift along each axis of the image [mm], at the patient.
        depth_reach_mm: largest shift along the viewing direction [mm].
        distribution: "uniform", or "normal": cut off at the largest deviation, which is two standard
            deviations.
        perturbation_mm: smallest and largest shift of a perturbation [mm], log-uniform between; it also turns
            by a third as many degrees. The largest one is the capture range to be learned.

    Raises:
        UsageError: a negative deviation, a distribution that is none, a distance that is not positive, or
            perturbations that are no positive range.
    """

    primary_angle_deg: float = 180.0
    secondary_angle_deg: float = 0.0
    source_isocentre_mm: float = 700.0
    primary_reach_deg: float = 45.0
    secondary_reach_deg: float = 30.0
    in_plane_reach_deg: float = 15.0
    lateral_reach_mm: float = 60.0
    depth_reach_mm: float = 150.0
    distribution: Distribution = "uniform"
    perturbation_mm: Range = (0.1, 60.0)

    def __post_init__(self) -> None:
        for name in vars(self):
            if "_reach_" in name and not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"{name} must be zero or a positive number, not {getattr(self, name)}")
        if self.distribution not in get_args(Distribution):
            raise UsageError(f"distribution must be uniform or normal, not {self.distribution!r}")
        if not self.depth_reach_mm < self.source_isocentre_mm < math.inf:
            raise UsageError(f"source_isocentre_mm must exceed depth_reach_mm ({self.depth_reach_mm})")
        check_range(self, "perturbation_mm", low=1e-6)

    @property
    def reach(self) -> Tensor:
        """Largest deviations [6]: primary, secondary, in-plane [deg], right, down, deep [mm]."""
        angles = (self.primary_reach_deg, self.secondary_reach_deg, self.in_plane_reach_deg)
        shifts = (self.lateral_reach_mm, self.lateral_reach_mm, self.depth_reach_mm)
        return torch.tensor([*angles, *shifts], dtype=torch.float64)

    def middle(self, isocentre_world: Tensor) -> Tensor:
        """camera_from_world [4, 4] in the middle of the range, of a CT centred at [3] [mm], float64."""
        angles = self.primary_angle_deg, self.secondary_angle_deg
        return gantry_view(*angles, self.source_isocentre_mm, isocentre_world)


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
    return gantry_poses(gantry, isocentre_world, shift_mm=deviation[:, 3:], in_plane_deg=deviation[:, 2])


def draw_perturbations(config: PoseConfig, generator: torch.Generator, batch: int) -> Tensor:
    """Tangents [B, 6] of `se3.perturb`, float64: shift and turn about independent random axes."""
    size_mm = log_uniform(config.perturbation_mm, batch, 1, generator=generator).double()
    axes = torch.randn(2, batch, 3, generator=generator, dtype=torch.float64)
    turn, shift = axes / axes.norm(dim=-1, keepdim=True)
    return torch.cat([torch.deg2rad(size_mm / _MM_PER_DEG) * turn, size_mm * shift], dim=1)


def _deviations(distribution: Distribution, generator: torch.Generator, batch: int) -> Tensor:
    """[B, 6] in -1 to 1."""
    share = torch.rand(batch, 6, generator=generator, dtype=torch.float64)
    if distribution == "uniform":
        return 2 * share - 1
    end = torch.special.ndtr(torch.tensor(_DEVIATIONS, dtype=torch.float64))
    return torch.special.ndtri((1 - end) + share * (2 * end - 1)) / _DEVIATIONS
