"""Settings of the live page."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError

_HIGHEST_PORT = 65535
_LEAST_PX = 16


@dataclass(frozen=True, kw_only=True)
class LiveConfig:
    """How the live page is served.

    Attributes:
        port: the port of this computer on which the page is served; 0 for any that is free. Only programs on
            this computer reach it.
        moving_px: longer side of the rendering that follows the hand [px].
        resting_px: longer side of the rendering once the hand rests [px].
        largest_mb: size up to which one uploaded file is taken [MB].
        largest_total_mb: size up to which all uploaded files together are taken [MB].
        steps: poses that the history keeps.
    """

    port: int = 0
    moving_px: int = 128
    resting_px: int = 384
    largest_mb: float = 2000.0
    largest_total_mb: float = 10000.0
    steps: int = 200

    def __post_init__(self) -> None:
        if not 0 <= self.port <= _HIGHEST_PORT:
            raise UsageError(
                f"`port` must lie between 0 and {_HIGHEST_PORT}, not {self.port}", code="view.invalid-value"
            )
        if not _LEAST_PX <= self.moving_px <= self.resting_px:
            raise UsageError(
                f"`moving_px` must be at least {_LEAST_PX}, and not above `resting_px`",
                code="view.invalid-value",
            )
        if not (self.largest_mb > 0 and self.largest_total_mb > 0 and self.steps >= 2):
            raise UsageError(
                "`largest_mb` and `largest_total_mb` must be positive, and `steps` at least 2",
                code="view.invalid-value",
            )

    @property
    def largest_bytes(self) -> int:
        """`largest_mb` in bytes."""
        return round(1e6 * self.largest_mb)

    @property
    def largest_total_bytes(self) -> int:
        """`largest_total_mb` in bytes."""
        return round(1e6 * self.largest_total_mb)
