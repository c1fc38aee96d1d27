"""Options of how a run of X-rays is tracked, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """Settings of how a run of X-rays is tracked.

    Attributes:
        jump_mm: distance across the beam from where the motion so far leads, of the CT's centre, from which
            a frame is marked as a jump [mm].
        jump_deg: the same as an angle [deg].
        history: number of poses that the motion is told from, at constant velocity. More average their errors
            out, of which depth has most; fewer follow a change of the motion sooner.
        gap: number of frames without a pose that may be relied on, after which the motion so far says
            nothing any more.
    """

    jump_mm: float = 5.0
    jump_deg: float = 3.0
    history: int = 4
    gap: int = 3

    def __post_init__(self) -> None:
        if not (self.jump_mm > 0 and self.jump_deg > 0):
            raise UsageError("jump_mm and jump_deg must be positive", code="registration.invalid-value")
        if self.history < 2:
            raise UsageError("history must be 2 or more", code="registration.invalid-value")
        if self.gap < 0:
            raise UsageError("gap must not be negative", code="registration.invalid-value")
