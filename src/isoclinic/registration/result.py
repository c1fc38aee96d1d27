"""What a registration returns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ..geometry import Camera, Distortion
from ..similarity import JointSimilarity
from ..solver import Reason, Solution, Status
from ..volumes import XRay
from .initialize import InitialPose

# What an attempt has in place of networks that refined its start.
CANONICAL_SEARCH = "canonical search"
# What an attempt has for a start where all directions were looked through.
ANY_VIEW = "any view"


@dataclass(frozen=True, kw_only=True, eq=False)
class StageResult:
    """What one stage did.

    Attributes:
        name: for people to read.
        solution: of all its starts [B]; its points begin with the first camera's pose.
        best: index of the start that counts.
        seconds: wall time.
    """

    name: str
    solution: Solution
    best: int
    seconds: float

    @property
    def camera_from_world(self) -> Tensor:
        """Poses of the first camera [B, 4, 4] that the starts led to."""
        return self.solution.x[:, :4]

    @property
    def course(self) -> Tensor:
        """How the first camera's pose moved from the best start: [T, 4, 4], its beginning first."""
        return self.solution.trace.x[: int(self.solution.steps[self.best]) + 1, self.best, :4]


@dataclass(frozen=True, kw_only=True, eq=False)
class Twins:
    """How well each of two poses matches that are mirror images of each other.

    Attributes:
        edges: as in `Confidence` [2].
        wide: local correlation within wide windows [2].
    """

    edges: Tensor
    wide: Tensor

    @property
    def agree(self) -> bool:
        """Whether both measures prefer the same one."""
        return bool(self.edges.argmax() == self.wide.argmax())


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageStageResult(StageResult):
    """What a stage did that compares X-rays and DRRs as they are; the start of the best rank counts.

    Attributes:
        problem: what was solved.
        correlation: local correlation of every start's result [B].
        rank: the value that these results are chosen by [B]; see `Stage.ranked_by`.
        twins: of a stage that compared a pose with its mirror image, how well either matches.
    """

    problem: JointSimilarity
    correlation: Tensor
    rank: Tensor
    twins: Twins | None = None

    @property
    def similarity(self) -> float:
        """Correlation of the start that counts."""
        return float(self.correlation[self.best])


@dataclass(frozen=True, kw_only=True)
class ViewGeometry:
    """What one X-ray itself says about its geometry; deviations are those of one standard deviation.

    Attributes:
        focal_percent: by how much its perspective makes the focal length (source-detector distance over pixel
            size) longer than given [%].
        focal_deviation_percent: of that [%].
        depth_change_mm: by how much the CT would lie deeper with that focal length [mm].
        moved_mm: by how much its centre would lie elsewhere in all [mm].
        radial: see `Distortion`.
        spiral: see `Distortion`.
        distortion_deviation: of the larger of these.
        distorted: whether these are beyond chance and too large to be left in.
        given_percent: how far the focal length may be off by where it comes from [%].
        given_principal_point_mm: the same of the principal point [mm].
    """

    focal_percent: float
    focal_deviation_percent: float
    depth_change_mm: float
    moved_mm: float
    radial: float
    spiral: float
    distortion_deviation: float
    distorted: bool
    given_percent: float
    given_principal_point_mm: float


@dataclass(frozen=True, kw_only=True)
class GeometryCheck:
    """What a wrong geometry would do to a result, and what the images say about it.

    Attributes:
        views: of every X-ray, the first one first.
        depth_per_percent_mm: how much depth goes with one per cent of the first X-ray's focal length [mm].
        findings: where the images contradict what was given beyond chance, for people to read.
        doubts: those of them that would move the result too far to trust it.
    """

    views: tuple[ViewGeometry, ...]
    depth_per_percent_mm: float
    findings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Confidence:
    """What is known about a result besides its pose.

    Attributes:
        covariance: [6, 6] float64 of the tangent (rotation [rad], translation [mm]) about the centre of the
            CT, in the first camera's axes.
        expected_error_mm: root mean square distance between where the points in view are and where the pose
            puts them [mm], as the covariance says; it holds only if there is no doubt, and `stated_error_mm`
            is what users are told.
        expected_error_by_axis_mm: the same along the first camera's x, y and z (depth) [mm].
        expected_rotation_deg: root mean square angle [deg].
        edges: local correlation of X-ray and DRR gradients, as a share of what the X-ray's noise allows; 1 is
            a perfect match.
        rival: the same of the best other pose that was found, None if there was none.
        overlap: share of the tissue in the X-ray that the CT covers.
        significance: how many standard deviations of chance the correlation of the gradients is above 0; few
            where an X-ray shows little besides one smooth outline.
        doubts: reasons why the result is doubtful, for people to read.
        image_covariance: the covariance that the image alone leaves, were the geometry exact [6, 6].
        image_error_mm: the expected error that the image alone leaves, were the geometry exact [mm]; it is
            what makes a result doubtful.
        geometry: what intrinsics that are off would do, which the covariance and expected errors include;
            None where that was not looked at, as of a result that is doubtful for another reason.
    """

    covariance: Tensor
    expected_error_mm: float
    expected_error_by_axis_mm: tuple[float, float, float]
    expected_rotation_deg: float
    edges: float
    rival: float | None
    overlap: float
    significance: float
    doubts: tuple[str, ...]
    image_covariance: Tensor
    image_error_mm: float
    geometry: GeometryCheck | None = None

    @property
    def expected_error_across_mm(self) -> float:
        """Expected error across the beam, along the first camera's x and y together [mm]."""
        return math.hypot(*self.expected_error_by_axis_mm[:2])

    @property
    def stated_error_mm(self) -> float | None:
        """`expected_error_mm`; None, which is unknown, where there is a doubt or it is not finite."""
        return _stated(self.expected_error_mm, self.doubts)

    @property
    def stated_error_by_axis_mm(self) -> tuple[float, float, float] | None:
        """`expected_error_by_axis_mm`; None as for `stated_error_mm`."""
        known = _stated(math.hypot(*self.expected_error_by_axis_mm), self.doubts) is not None
        return self.expected_error_by_axis_mm if known else None

    @property
    def stated_rotation_deg(self) -> float | None:
        """`expected_rotation_deg`; None as for `stated_error_mm`."""
        return _stated(self.expected_rotation_deg, self.doubts)


def _stated(value: float, doubts: Sequence[str]) -> float | None:
    return value if math.isfinite(value) and not doubts else None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way from a start to a pose.

    Attributes:
        start: where it started, for people to read; "any view" where all directions were looked through.
        learned: networks that refined the start, by their names, or "canonical search" where the search was
            of what the canonical network made of the X-ray.
        candidates: poses around it that a search looked at; 0 without a search.
        edges: of where it ended, as in `Confidence`.
        reading: how it read the X-rays, for people to read.
    """

    start: str
    learned: tuple[str, ...]
    candidates: int
    edges: float
    reading: str


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
        attempt: that the result is from: the one whose edges match best, the last resort with a handicap
            (`LearnedConfig.rescue_margin`).
        attempts: all, in the order they were made, until one matched.
        trace: the stages that led to the result, in the order they ran.
        seconds: wall time of everything but reading files.
        xrays: the V X-rays as the result takes them, of which its poses are: with the polarity that the match
            settled, mirrored back, and without a distortion that was taken out.
        distortions: of the V X-rays, as found and taken out (`RegistrationConfig.refine_distortion`); None
            of an X-ray that was used as it is.
    """

    camera_from_world: Tensor
    cameras_from_world: Tensor
    cameras: tuple[Camera, ...]
    status: Status
    reason: Reason
    similarity: float
    confidence: Confidence
    initial: InitialPose
    attempt: Attempt
    attempts: tuple[Attempt, ...]
    trace: tuple[StageResult, ...]
    seconds: float
    distortions: tuple[Distortion | None, ...]
    xrays: tuple[XRay, ...]

    def doubted(self, *reasons: str) -> RegistrationResult:
        """This result with further reasons to doubt it, if there are any."""
        doubts = tuple(dict.fromkeys((*self.confidence.doubts, *reasons)))
        status = Status.DOUBTFUL if doubts and self.status is not Status.DIVERGED else self.status
        return replace(self, status=status, confidence=replace(self.confidence, doubts=doubts))
