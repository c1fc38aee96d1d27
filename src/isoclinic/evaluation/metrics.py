"""What a table of cases says about their registration errors: percentiles and success rates."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError
from ..geometry import PoseErrors

_PERCENTS = (25, 50, 75, 95)
_SUCCESS_BOUNDS_MM = (2.0, 5.0, 10.0)
# The S in SMSR, the sub-millimetre success rate (Gopalakrishnan, Dey & Golland 2024, "Intraoperative 2D/3D
# image registration via differentiable X-ray rendering").
_SUBMILLIMETRE_MM = 1.0


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a table of cases says.

    A case whose error is NaN or infinite counts as a failure: it is in no success rate and ranks last.

    Attributes:
        cases: how many there are.
        percentiles: by metric and percent (25, 50, 75, 95); translations by camera axis, absolute.
        submillimetre_success_rate: fraction of cases with an mTRE below 1 mm (SMSR).
        success_rates: fraction of cases with an mTRE below each bound, by bound [mm].
    """

    cases: int
    percentiles: Mapping[str, Mapping[int, float]]
    submillimetre_success_rate: float
    success_rates: Mapping[float, float]


def success_rate(mtre_mm: Tensor, *, below_mm: float) -> float:
    """Fraction of the cases [N] whose mTRE lies below a bound [mm]; NaN never does."""
    return (mtre_mm < below_mm).to(torch.float64).mean().item()


def summary(errors: PoseErrors, *, initial_mtre_mm: Tensor, run_time_s: Tensor) -> Summary:
    """Percentiles and success rates of N cases.

    Args:
        errors: of the N final poses, each field [N] (translation [N, 3]).
        initial_mtre_mm: mTRE of the poses the registrations started from [N].
        run_time_s: [N].

    Raises:
        InputError: there is no case.
    """
    if errors.mtre_mm.numel() == 0:
        raise InputError("there is no case to summarise", code="evaluation.unknown-name")
    translation = errors.translation_mm.abs()
    metrics = {
        "initial_mtre_mm": initial_mtre_mm,
        "mtre_mm": errors.mtre_mm,
        "mpd_mm": errors.mpd_mm,
        "mrpd_mm": errors.mrpd_mm,
        "rotation_deg": errors.rotation_deg,
        "translation_x_mm": translation[:, 0],
        "translation_y_mm": translation[:, 1],
        "translation_depth_mm": translation[:, 2],
        "run_time_s": run_time_s,
    }
    return Summary(
        cases=errors.mtre_mm.numel(),
        percentiles={name: _percentiles(values) for name, values in metrics.items()},
        submillimetre_success_rate=success_rate(errors.mtre_mm, below_mm=_SUBMILLIMETRE_MM),
        success_rates={bound: success_rate(errors.mtre_mm, below_mm=bound) for bound in _SUCCESS_BOUNDS_MM},
    )


def _percentiles(values: Tensor) -> dict[int, float]:
    """Linear interpolation between the order statistics, as numpy's, but sound where some are infinite."""
    ranked = torch.nan_to_num(values.to(torch.float64), nan=math.inf, posinf=math.inf).sort().values
    result = {}
    for percent in _PERCENTS:
        position = percent / 100 * (len(ranked) - 1)
        below, above = ranked[math.floor(position)].item(), ranked[math.ceil(position)].item()
        weight = position - math.floor(position)
        result[percent] = (1 - weight) * below + weight * above if weight else below
    return result
