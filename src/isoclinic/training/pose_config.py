"""Which views a C-arm takes: options only, importable without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, get_args

from ..errors import UsageError
from ._ranges import Range, check_probabilities, check_range

if TYPE_CHECKING:
    from torch import Tensor

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
        turned_probability: probability of a picture that is turned by one to three quarters, besides.
        anywhere_probability: probability of a view from anywhere around the patient, its picture turned by
            any angle; secondary angle and shifts remain in their ranges.
        distribution: "uniform", or "normal": cut off at the largest deviation, which is two standard
            deviations.
        perturbation_mm: smallest and largest shift of a perturbation [mm], log-uniform between; it also turns
            by a third as many degrees. The largest one is the capture range to be learned.

    Raises:
        UsageError: a negative deviation, a probability outside 0 to 1, a distribution that is none, a
            distance that is not positive, or perturbations that are no positive range.
    """

    primary_angle_deg: float = 180.0
    secondary_angle_deg: float = 0.0
    source_isocentre_mm: float = 700.0
    primary_reach_deg: float = 45.0
    secondary_reach_deg: float = 30.0
    in_plane_reach_deg: float = 15.0
    lateral_reach_mm: float = 60.0
    depth_reach_mm: float = 150.0
    turned_probability: float = 0.0
    anywhere_probability: float = 0.0
    distribution: Distribution = "uniform"
    perturbation_mm: Range = (0.1, 60.0)

    def __post_init__(self) -> None:
        for name in vars(self):
            if "_reach_" in name and not 0 <= getattr(self, name) < math.inf:
                raise UsageError(
                    f"{name} must be zero or a positive number, not {getattr(self, name)}",
                    code="training.invalid-value",
                )
        if self.distribution not in get_args(Distribution):
            raise UsageError(
                f"distribution must be uniform or normal, not {self.distribution!r}",
                code="training.invalid-value",
            )
        if not self.depth_reach_mm < self.source_isocentre_mm < math.inf:
            raise UsageError(
                f"source_isocentre_mm must exceed depth_reach_mm ({self.depth_reach_mm})",
                code="training.invalid-value",
            )
        check_probabilities(self)
        check_range(self, "perturbation_mm", low=1e-6)

    @property
    def upright(self) -> PoseConfig:
        """The same without views from anywhere and turned pictures."""
        return replace(self, turned_probability=0.0, anywhere_probability=0.0)

    @property
    def reach(self) -> Tensor:
        """Largest deviations [6]: primary, secondary, in-plane [deg], right, down, deep [mm]."""
        import torch  # options do without

        angles = (self.primary_reach_deg, self.secondary_reach_deg, self.in_plane_reach_deg)
        shifts = (self.lateral_reach_mm, self.lateral_reach_mm, self.depth_reach_mm)
        return torch.tensor([*angles, *shifts], dtype=torch.float64)

    def middle(self, isocentre_world: Tensor) -> Tensor:
        """camera_from_world [4, 4] in the middle of the range, of a CT centred at [3] [mm], float64."""
        from ..geometry import gantry_view  # it takes torch with it, which options do without

        angles = self.primary_angle_deg, self.secondary_angle_deg
        return gantry_view(*angles, self.source_isocentre_mm, isocentre_world)
