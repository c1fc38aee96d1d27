"""The result of a registration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from ..geometry import Camera, Distortion
from ..similarity import JointSimilarity
from ..solver import Reason, Solution, Status
from ..volumes import XRay
from .confidence_config import ConfidenceConfig
from .initialize import InitialPose

# What an attempt has in place of networks that refined its start.
CANONICAL_SEARCH = "canonical search"
# What an attempt has for a start where all directions were looked through.
ANY_VIEW = "any view"


@dataclass(frozen=True, kw_only=True, eq=False)
class StageResult:
    """A stage that has run.

    Attributes:
        name: its name, for people to read.
        solution: the solver's solution of all its starts [B]; its points begin with the first camera's pose.
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
        """The first camera's pose in every iteration from the best start: [T, 4, 4], the start first."""
        return self.solution.trace.x[: int(self.solution.steps[self.best]) + 1, self.best, :4]


@dataclass(frozen=True, kw_only=True, eq=False)
class Twins:
    """The match of each of two poses that are mirror images of each other.

    Attributes:
        edges: match of the edges, as in `Confidence` [2].
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
    """A stage that compares X-rays and DRRs as they are; the start of the best rank counts.

    Attributes:
        problem: the problem that was solved.
        correlation: local correlation of every start's result [B].
        rank: the value that these results are chosen by [B]; see `Stage.ranked_by`.
        twins: the matches of a pose and of its mirror image, of a stage that compared them.
        alike: poses [A, 4, 4] that match as well as the result, which is among them, of a stage that turned a
            rod about its own axis.
    """

    problem: JointSimilarity
    correlation: Tensor
    rank: Tensor
    twins: Twins | None = None
    alike: Tensor | None = None

    @property
    def similarity(self) -> float:
        """Correlation of the start that counts."""
        return float(self.correlation[self.best])


@dataclass(frozen=True, kw_only=True)
class ViewGeometry:
    """The geometry that the image of one X-ray indicates; deviations are standard deviations.

    Attributes:
        focal_percent: change that its perspective indicates of the focal length (source-detector distance
            over pixel size) longer than given [%].
        focal_deviation_percent: standard deviation of that change [%].
        depth_change_mm: distance by which the CT would lie deeper with that focal length [mm].
        moved_mm: distance of its centre in all with that focal length [mm].
        radial: see `Distortion`.
        spiral: see `Distortion`.
        distortion_deviation: standard deviation of the larger of these.
        distorted: whether these are beyond chance and too large to be left in.
        given_percent: error to expect in the given focal length, by where it comes from [%].
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
    """The effect of a wrong geometry on a result, and the geometry that the images indicate.

    Attributes:
        views: the check of every X-ray, the first one first.
        depth_per_percent_mm: change of depth for one per cent of the first X-ray's focal length [mm].
        findings: contradictions between images and given geometry beyond chance, for people to read.
        doubts: those findings that would move the result too far to trust it.
    """

    views: tuple[ViewGeometry, ...]
    depth_per_percent_mm: float
    findings: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Confidence:
    """The checks of a result, and the error to expect.

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
        image_error_by_axis_mm: the expected error that the image alone leaves, were the geometry exact, along
            the first camera's x, y and z (depth) [mm]; it is what makes a result doubtful.
        limits: limits of the checks by which the result was judged: those of a part of a body where the CT
            explains only part of the X-ray.
        geometry: the effect of wrong intrinsics, which covariance and expected errors include;
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
    image_error_by_axis_mm: tuple[float, float, float]
    limits: ConfidenceConfig
    geometry: GeometryCheck | None = None

    @property
    def image_error_mm(self) -> float:
        """Expected error that the image alone leaves, were the geometry exact [mm]."""
        return math.hypot(*self.image_error_by_axis_mm)

    @property
    def image_error_across_mm(self) -> float:
        """The same across the beam, along the first camera's x and y together [mm]."""
        return math.hypot(*self.image_error_by_axis_mm[:2])

    @property
    def image_rotation_deg(self) -> float:
        """Root mean square angle that the image alone leaves uncertain, were the geometry exact [deg]."""
        return rotation_deg(self.image_covariance)

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


def rotation_deg(covariance: Tensor) -> float:
    """Root mean square angle [deg] of a covariance [6, 6]."""
    return math.degrees(float(covariance.diagonal()[:3].sum().clamp(min=0).sqrt()))


def _stated(value: float, doubts: Sequence[str]) -> float | None:
    return value if math.isfinite(value) and not doubts else None


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One way from a start to a pose.

    Attributes:
        start: description of its start; "any view" where all directions were searched.
        learned: networks that refined the start, by their names, or "canonical search" where the search was
            of the canonical network's image of the X-ray.
        candidates: poses around it that a search looked at; 0 without a search.
        edges: match of the edges where it ended, as in `Confidence`.
        reading: description of how it read the X-rays.
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
        status: whether it can be relied on; `doubtful` where the images do not match.
        reason: the rule that stopped the last stage.
        similarity: local correlation of X-rays and DRRs at the pose, in the last stage; 1 is a perfect match.
        confidence: expected error, and reasons to doubt the result.
        initial: the pose at which it started.
        attempt: the attempt that the result is from: the one whose edges match best, the last resort with a
            handicap (`LearnedConfig.rescue_margin`).
        attempts: all, in the order they were made, until one matched.
        trace: the stages that led to the result, in the order they ran.
        seconds: wall time of everything but reading files.
        xrays: the V X-rays as the result takes them, of which its poses are: with the polarity that the match
            settled, mirrored back, and without a distortion that was taken out.
        distortions: distortions of the V X-rays, as they were found and removed
            (`RegistrationConfig.refine_distortion`); None of an X-ray that was used as it is.
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
