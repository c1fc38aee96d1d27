"""How an evaluation is run and summarised: options only, importable without any array library."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from .._spread_config import SpreadConfig
from ..errors import UsageError

Metric = Literal["mtre_mm", "mpd_mm", "mrpd_mm", "rotation_deg"]


@dataclass(frozen=True, kw_only=True)
class StatisticsConfig:
    """How intervals and comparisons are made.

    Attributes:
        level: level of the confidence intervals, between 0 and 1.
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.
        unit: the unit that is drawn again as a whole: the registrations of one X-ray ("case"), or all those
            of one subject ("group"), which is right for conclusions about new patients if there are many
            subjects.
        metric: error whose medians and ranks are compared in pairs.
        success_mm: mTRE below which a registration succeeds, for paired comparisons [mm].
    """

    level: float = 0.95
    resamples: int = 2000
    seed: int = 0
    unit: Literal["case", "group"] = "case"
    metric: Metric = "mtre_mm"
    success_mm: float = 2.0

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise UsageError(
                f"level must lie between 0 and 1, not {self.level:g}", code="evaluation.invalid-value"
            )
        if self.resamples < 100:
            raise UsageError(
                f"resamples must be at least 100, not {self.resamples}", code="evaluation.invalid-value"
            )
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}", code="evaluation.invalid-value")
        if not 0 < self.success_mm < math.inf:
            raise UsageError(
                f"success-mm must be positive, not {self.success_mm:g}", code="evaluation.invalid-value"
            )


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """How registrations begin, and where they run.

    Attributes:
        starts: names of the starts; see `start_of`.
        seed: seed of random starts.
        overwrite: replace results of other settings or other files.
        spread: processes or machines.
    """

    starts: tuple[str, ...]
    seed: int = 0
    overwrite: bool = False
    spread: SpreadConfig = field(default_factory=SpreadConfig)

    def __post_init__(self) -> None:
        if not self.starts:
            raise UsageError("an evaluation needs at least one start", code="evaluation.invalid-value")
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}", code="evaluation.invalid-value")
