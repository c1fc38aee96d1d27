"""Checked ranges of what is drawn at random."""

from __future__ import annotations

import math
from typing import Any

from ..errors import UsageError

Range = tuple[float, float]


def check_probabilities(config: Any) -> None:
    """Refuse a field named `..._probability` outside 0 to 1.

    Raises:
        UsageError: there is one.
    """
    for name, value in vars(config).items():
        if name.endswith("_probability") and not 0 <= value <= 1:
            raise UsageError(f"{name} must lie between 0 and 1, not {value}", code="training.invalid-value")


def check_range(config: Any, *names: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Refuse ranges (lower, upper) that are turned round, not finite, or leave [low, high].

    Raises:
        UsageError: there is one.
    """
    for name in names:
        lower, upper = getattr(config, name)
        if not (math.isfinite(lower) and math.isfinite(upper) and low <= lower <= upper <= high):
            limits = f" within [{low:g}, {high:g}]" if math.isfinite(low) or math.isfinite(high) else ""
            raise UsageError(
                f"{name} must be a range (lower, upper){limits}, not {getattr(config, name)}",
                code="training.invalid-value",
            )
