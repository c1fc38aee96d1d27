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
        best: index of the start that counts: the one with the highest correlation.
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
class Confidence:
    """What is known about a result besides its pose.

    Attributes:
        covariance: [6, 6] float64 of the tangent (rotation [rad], translation [mm]) about the centre of the
            CT, in the first camera's axes.
        expected_error_mm: root mean square distance between where the points in view are and where the pose
            puts them [mm], as the covariance says; it holds only if there is no doubt.
        expected_error_by_axis_mm: the same along the first camera's x, y and z (depth) [mm].
        expected_rotation_deg: root mean square angle [deg].
        edges: local correlation of X-ray and DRR gradients, as a share of what the X-ray's noise allows; 1 is
            a perfect match.
        rival: the same of the best other pose that was found, None if there was none.
        overlap: share of the tissue in the X-ray that the CT covers.
        doubts: reasons why the result is doubtful, for people to read.
    """

    covariance: Tensor
    expected_error_mm: float
    expected_error_by_axis_mm: tuple[float, float, float]
    expected_rotation_deg: float
    edges: float
    rival: float | None
    overlap: float
    doubts: tuple[str, ...]


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
        confidence: expected error, and reasons to doubt the result.
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
    confidence: Confidence
    initial: InitialPose
    trace: tuple[StageResult, ...]
    seconds: float
