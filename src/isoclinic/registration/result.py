"""What a registration returns."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ..geometry import Camera
from ..similarity import JointSimilarity
from ..solver import Reason, Solution, Status
from .initialize import InitialPose


@dataclass(frozen=True, kw_only=True, eq=False)
class StageResult:
    """What one stage did.

    Attributes:
        name: for people to read.
        problem: what was solved.
        solution: of all its starts [B]; its points are those of the problem, the first camera's pose first.
        correlation: local correlation of every start's result [B].
        best: index of the start with the highest correlation.
        seconds: wall time.
    """

    name: str
    problem: JointSimilarity
    solution: Solution
    correlation: Tensor
    best: int
    seconds: float

    @property
    def similarity(self) -> float:
        """Highest of the correlations."""
        return float(self.correlation[self.best])

    @property
    def camera_from_world(self) -> Tensor:
        """Poses of the first camera [B, 4, 4] that the starts led to."""
        return self.solution.x[:, :4]

    @property
    def course(self) -> Tensor:
        """How the first camera's pose moved from the best start: [T, 4, 4], its beginning first."""
        return self.solution.trace.x[: int(self.solution.steps[self.best]) + 1, self.best, :4]


@dataclass(frozen=True, kw_only=True, eq=False)
class RegistrationResult:
    """A registered pose.

    Attributes:
        camera_from_world: [4, 4], float64, world RAS in mm; of the first X-ray's camera.
        cameras_from_world: [V, 4, 4], of all X-rays' cameras.
        cameras: intrinsics of the V X-rays, as refined.
        status: how far to rely on it; `doubtful` where the images do not match.
        reason: the rule that stopped the last stage.
        similarity: local correlation of X-rays and DRRs at the pose, in the last stage; 1 is a perfect match.
        covariance: [6, 6] of the tangent (rotation [rad], translation [mm]) about the centre of the CT, in
            the first camera's axes, from the curvature of the last stage, taking pixels for independent.
        initial: where it started.
        trace: the stages in the order they ran.
        seconds: wall time of everything but reading files.
    """

    camera_from_world: Tensor
    cameras_from_world: Tensor
    cameras: tuple[Camera, ...]
    status: Status
    reason: Reason
    similarity: float
    covariance: Tensor
    initial: InitialPose
    trace: tuple[StageResult, ...]
    seconds: float
