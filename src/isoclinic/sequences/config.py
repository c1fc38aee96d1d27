"""How a run is shown: options only, importable without any array library."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SequenceConfig:
    """How a tracked run is shown.

    Attributes:
        animation_pixels: longer side of the animation [px].
        animation_frames: frames of the animation at most; of a longer run, evenly spread ones are shown.
        frame_time_s: how long a frame is shown where the file does not say when frames were taken [s].
        stills: pictures of single frames in the report at most, doubtful frames first.
    """

    animation_pixels: int = 256
    animation_frames: int = 150
    frame_time_s: float = 0.1
    stills: int = 6

    def __post_init__(self) -> None:
        if self.animation_pixels < 32 or self.animation_frames < 1 or self.stills < 0:
            raise UsageError(
                "need animation_pixels >= 32, animation_frames >= 1 and stills >= 0",
                code="sequence.invalid-value",
            )
        if not 0 < self.frame_time_s <= 10:
            raise UsageError(
                f"frame_time_s must be above 0 and at most 10 s, not {self.frame_time_s}",
                code="sequence.invalid-value",
            )
