"""Options of how an X-ray is followed from the last pose, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class FollowConfig:
    """Settings of how an X-ray is registered from the pose of the one before, and when a search is needed.

    Attributes:
        stages: numbers of the schedule's stages, the last ones, that run without a search: the first number,
            and each further one where the ones before it lost the match. Coarse stages reach farther.
        step_tolerance_mm: as `Stage.step_tolerance_mm`, which it replaces for a CT that explains the whole
            X-ray: near by its steps shrink to a third each, and what is left after such a step is far below
            what the image can tell. A part, whose steps shrink slowly, keeps that of the stage.
        least_edges_share: share of the last trusted match's edges (`Confidence.edges`) that a followed pose
            must keep. One that has slipped into a pose that matches by chance matches worse than before.
        moved_mm: largest distance across the beam between two poses, of the CT's centre [mm].
        moved_deg: largest angle between two poses [deg].
        start_pixels: longer side of the image in which one of several starts is chosen [px].
        geometry_mm: distance of the CT's centre from where the intrinsics were last looked at, up to which
            what they do to the expected error is taken over instead of computed anew [mm].
        geometry_deg: the same as an angle [deg].
    """

    stages: tuple[int, ...] = (1, 3)
    step_tolerance_mm: float = 0.1
    least_edges_share: float = 0.8
    moved_mm: float = 30.0
    moved_deg: float = 10.0
    start_pixels: int = 64
    geometry_mm: float = 20.0
    geometry_deg: float = 5.0

    def __post_init__(self) -> None:
        if not self.stages or min(self.stages) < 1:
            raise UsageError("following needs at least one stage", code="registration.invalid-value")
        if self.start_pixels < 8:
            raise UsageError("start_pixels must be 8 or more", code="registration.invalid-value")
        if not 0 <= self.least_edges_share <= 1:
            raise UsageError(
                f"least_edges_share must be between 0 and 1, not {self.least_edges_share}",
                code="registration.invalid-value",
            )
        if not min(self.moved_mm, self.moved_deg, self.step_tolerance_mm) > 0:
            raise UsageError(
                "moved_mm, moved_deg and step_tolerance_mm must be positive",
                code="registration.invalid-value",
            )
        if not (self.geometry_mm >= 0 and self.geometry_deg >= 0):
            raise UsageError(
                "geometry_mm and geometry_deg must not be negative", code="registration.invalid-value"
            )
