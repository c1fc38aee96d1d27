"""The effect of wrong intrinsics on a result, and the geometry that the X-ray itself indicates."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..geometry import Camera
from ..geometry.distortion import LARGEST as LARGEST_DISTORTION
from ..rendering import RenderConfig
from ..similarity import FreedGeometry, Freedom, JointSimilarity, without_intrinsics
from ..solver import Linearization
from ..volumes import Volume, XRay
from ._run import Run
from .confidence import errors_by_axis_mm, points_in_view
from .config import RegistrationConfig
from .intrinsics import IntrinsicsConfig
from .result import Confidence, GeometryCheck, ImageStageResult, ViewGeometry, rotation_deg

# Priors wide enough that the image alone determines focal length and distortion. Five
# deviations of the latter are the largest distortion that does not fold an image.
_WIDE_LOG_FOCAL, _WIDE_DISTORTION = 0.1, 0.04
# A layer of voxels more or less, and scatter as strong as usual or twice that.
_BORDER, _SCATTER = 1.0, 1.0
# A shift of the principal point hardly differs from a turn of the C-arm, so the image cannot indicate it.
_LEAST_CENTRE_MM = 0.5
# Deviations and moves from which something is said although it does no harm.
_BEYOND_CHANCE, _LEAST_MOVE_MM = 3.0, 1.0
# Steps at most, of which each is tried in full and in part, and the gain in cost that ends them.
_STEPS, _SHARES, _LEAST_GAIN = 4, (1.0, 0.3), 1e-3


def with_geometry(
    confidence: Confidence,
    last: ImageStageResult,
    volume: Volume,
    xrays: Sequence[XRay],
    config: RegistrationConfig,
) -> Confidence:
    """The confidence that takes into account how far the intrinsics, borders and scatter may be off.

    The covariance grows by what these do to the pose, C Σ Cᵀ with C the change of the pose that best makes up
    for a change of theirs. Σ is what is left of their uncertainty after the image has had its say (a Gaussian
    posterior), and the mean square of what the image says they are off, since the given values stay in use.

    Args:
        confidence: the confidence that assumes exact intrinsics.
        last: the stage that led to the result.
        volume: the CT.
        xrays: the X-rays.
        config: settings of the registration.
    """
    settings = config.intrinsics
    point = last.solution.x[last.best : last.best + 1]
    joint, x = without_intrinsics(last.problem, point)
    render = RenderConfig(method="trilinear", backend=config.backend)
    shares = _size_shares(joint, xrays)
    freedom = tuple(
        Freedom(
            log_focal=_WIDE_LOG_FOCAL,
            right_mm=max(settings.centre_mm(xray), _LEAST_CENTRE_MM),
            down_mm=max(settings.centre_mm(xray), _LEAST_CENTRE_MM),
            radial=_WIDE_DISTORTION * share,
            spiral=_WIDE_DISTORTION * share,
            border=_BORDER,
            scatter=_SCATTER,
        )
        for xray, share in zip(xrays, shares.tolist(), strict=True)
    )
    borders = tuple(view.projector.of_border(render) for view in joint.views)
    freed = FreedGeometry(joint=joint, borders=borders, freedom=freedom)
    start = freed.start(x)
    at = freed.linearize(start, torch.arange(1))
    effects = _effects(freed, at)
    covariance = confidence.covariance + _outer(settings.unmodelled_factor * effects.unmodelled)
    check = None
    if not last.problem.refine_intrinsics.on:
        given = torch.tensor([settings.focal_percent(xray) / 100 for xray in xrays], dtype=torch.float64)
        said = _nothing_said(len(xrays))
        if settings.check:
            said = _said(freed, start, at, config).of_whole(shares)
        covariance = covariance + effects.of_focal @ _left(given, said) @ effects.of_focal.mT
        for index, xray in enumerate(xrays):
            centre = settings.centre_mm(xray) * effects.of_centre[:, 2 * index : 2 * index + 2]
            covariance = covariance + centre @ centre.mT
        check = _check(said, effects, given, xrays, settings)
    return _with(confidence, covariance, check, last, volume, config)


def carried_geometry(
    confidence: Confidence, last: ImageStageResult, covariance: Tensor, check: GeometryCheck, run: Run
) -> Confidence:
    """The same, taken over from a pose near by with the same camera instead of computed.

    Args:
        confidence: the confidence that assumes exact intrinsics, borders and scatter.
        last: the stage that led to the result.
        covariance: the covariance that these added there [6, 6], in the first camera's axes.
        check: the check that was made there.
        run: the run that led to the result.
    """
    return _with(confidence, confidence.covariance + covariance, check, last, run.volume, run.config)


def _with(
    confidence: Confidence,
    covariance: Tensor,
    check: GeometryCheck | None,
    last: ImageStageResult,
    volume: Volume,
    config: RegistrationConfig,
) -> Confidence:
    points = points_in_view(last, volume, config.structures, config.confidence)
    by_axis_mm = errors_by_axis_mm(covariance, points, last.camera_from_world[last.best], volume)
    return replace(
        confidence,
        covariance=covariance,
        expected_error_mm=math.hypot(*by_axis_mm),
        expected_error_by_axis_mm=by_axis_mm,
        expected_rotation_deg=rotation_deg(covariance),
        doubts=(*confidence.doubts, *(check.doubts if check else ())),
        geometry=check,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Effects:
    """The motion of the first camera's pose, as a tangent, for a change by one unit.

    Attributes:
        of_focal: [6, V], per logarithm of a focal length.
        of_centre: [6, 2 V], per millimetre of a principal point along x and y.
        unmodelled: [6], what freeing borders and scatter does.
    """

    of_focal: Tensor
    of_centre: Tensor
    unmodelled: Tensor


def _effects(freed: FreedGeometry, at: Linearization) -> _Effects:
    hessian, gradient = at.hessian[0], at.gradient[0]
    count = len(freed.joint.views)
    pose = list(range(freed.place("log_focal", 0)))

    def places(*names: str) -> list[int]:
        return [freed.place(name, view) for view in range(count) for name in names]

    def change(columns: list[int]) -> Tensor:
        return -_solved(hessian[pose][:, pose], hessian[pose][:, columns])[:6]

    with_more = pose + places("border", "scatter")
    step = -_solved(hessian[pose][:, pose], gradient[pose][:, None])[:6, 0]
    freer = -_solved(hessian[with_more][:, with_more], gradient[with_more][:, None])[:6, 0]
    return _Effects(
        of_focal=change(places("log_focal")),
        of_centre=change(places("right_mm", "down_mm")),
        unmodelled=freer - step,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Said:
    """The intrinsics that the images indicate; covariances are infinite where they indicate nothing.

    Attributes:
        log_focal: [V].
        focal_covariance: [V, V].
        distortion: [V, 2], radial and spiral.
        distortion_covariance: [V, 2, 2].
    """

    log_focal: Tensor
    focal_covariance: Tensor
    distortion: Tensor
    distortion_covariance: Tensor

    def of_whole(self, shares: Tensor) -> _Said:
        """The same, with distortions as they are at the edges of whole X-rays; see `_size_shares`."""
        return replace(
            self,
            distortion=self.distortion / shares[:, None],
            distortion_covariance=self.distortion_covariance / shares.square()[:, None, None],
        )


def _nothing_said(count: int) -> _Said:
    nothing = torch.zeros(count, dtype=torch.float64)
    return _Said(
        log_focal=nothing,
        focal_covariance=torch.full_like(nothing, math.inf).diag(),
        distortion=nothing[:, None].expand(count, 2),
        distortion_covariance=torch.full_like(nothing, math.inf)[:, None, None] * torch.eye(2),
    )


def _size_shares(joint: JointSimilarity, xrays: Sequence[XRay]) -> Tensor:
    """Square of the size [V] of what each view compares, relative to its X-ray's.

    A distortion is stated at half of the longer side of an image, and grows with the square of the radius:
    where a part's surroundings alone are compared, it is that much smaller at their edge.
    """

    def half_mm(camera: Camera) -> float:
        return max(camera.width, camera.height) / 2 * camera.sdd_mm / abs(camera.fx)

    compared = [half_mm(view.projector.camera) for view in joint.views]
    whole = [half_mm(xray.camera) for xray in xrays]
    return (torch.tensor(compared, dtype=torch.float64) / torch.tensor(whole, dtype=torch.float64)).square()


def _said(freed: FreedGeometry, start: Tensor, at: Linearization, config: RegistrationConfig) -> _Said:
    """Free everything from where the registration ended."""
    count, settings = len(freed.joint.views), config.intrinsics
    x = _freed(freed, start, at)
    values = freed.values(x)
    gradients, curvature = (part[0] for part in freed.scatter(x, config.confidence.tile_px))
    if not (curvature.isfinite().all() and values.isfinite().all()):
        return _nothing_said(count)
    inverse = torch.linalg.pinv(curvature, hermitian=True)
    factor = config.confidence.error_factor * settings.error_factor
    covariance = factor**2 * inverse @ gradients.mT @ gradients @ inverse
    focal = [freed.place("log_focal", view) for view in range(count)]
    least = (settings.least_deviation_percent / 100) ** 2 * torch.eye(count, dtype=torch.float64)
    bent = [[freed.place(name, view) for name in ("radial", "spiral")] for view in range(count)]
    return _Said(
        log_focal=values[:, 0],
        focal_covariance=covariance[focal][:, focal] + least,
        distortion=values[:, 3:5],
        distortion_covariance=torch.stack([covariance[own][:, own] for own in bent]),
    )


def _freed(freed: FreedGeometry, x: Tensor, at: Linearization) -> Tensor:
    """Where some steps of Gauss and Newton lead to from a point, of which `at` is the linearization.

    The pose is at its optimum, so that what is left is a narrow valley in which no damping is needed,
    only that no step raises the cost.
    """
    for _ in range(_STEPS):
        step = -_solved(at.hessian[0], at.gradient[0][:, None])[None, :, 0]
        for share in _SHARES:
            trial = freed.retract(x, share * step)
            there = freed.linearize(trial, torch.arange(1))
            if bool(there.cost < at.cost):
                break
        else:
            return x
        gain = float(1 - there.cost / at.cost)
        x, at = trial, there
        if gain < _LEAST_GAIN:
            break
    return x


def _left(given: Tensor, said: _Said) -> Tensor:
    """Mean squares and products [V, V] of how far the given focal lengths are off, from both sources.

    Args:
        given: [V], deviations of the given values' logarithms.
        said: the intrinsics that the images indicate.
    """
    if not said.focal_covariance.isfinite().all():
        return given.square().diag()
    prior = given.square().diag()
    gain = prior @ torch.linalg.pinv(prior + said.focal_covariance, hermitian=True)
    mean = gain @ said.log_focal
    return prior - gain @ prior + _outer(mean)


def _check(
    said: _Said, effects: _Effects, given: Tensor, xrays: Sequence[XRay], settings: IntrinsicsConfig
) -> GeometryCheck:
    views = []
    for index, xray in enumerate(xrays):
        focal = float(said.log_focal[index])
        radial, spiral = said.distortion[index].tolist()
        worst = float(said.distortion_covariance[index].diagonal().max().sqrt())
        views.append(
            ViewGeometry(
                focal_percent=100 * math.expm1(focal),
                focal_deviation_percent=100 * float(said.focal_covariance[index, index].sqrt()),
                depth_change_mm=float(effects.of_focal[5, index]) * focal,
                moved_mm=float(effects.of_focal[3:, index].norm()) * abs(focal),
                radial=radial,
                spiral=spiral,
                distortion_deviation=worst,
                distorted=_distorted(said, index, settings),
                given_percent=100 * float(given[index]),
                given_principal_point_mm=settings.centre_mm(xray),
            )
        )
    findings = list(_findings(views, xrays, said, settings))
    return GeometryCheck(
        views=tuple(views),
        depth_per_percent_mm=abs(float(effects.of_focal[5, 0])) / 100,
        findings=tuple(text for text, _ in findings),
        doubts=tuple(text for text, doubtful in findings if doubtful),
    )


def _findings(
    views: Sequence[ViewGeometry], xrays: Sequence[XRay], said: _Said, settings: IntrinsicsConfig
) -> Iterator[tuple[str, bool]]:
    """Findings of the images beyond chance, and those that make the result doubtful."""
    for index, (view, xray) in enumerate(zip(views, xrays, strict=True)):
        which = f"X-ray {index + 1}" if len(views) > 1 else "the X-ray"
        deviations = abs(view.focal_percent) / max(view.focal_deviation_percent, 1e-9)
        far = view.moved_mm > settings.above_move_mm
        telling = deviations > (settings.above_deviations if far else _BEYOND_CHANCE)
        if telling and view.moved_mm > _LEAST_MOVE_MM:
            longer, smaller = ("longer", "smaller") if view.focal_percent > 0 else ("shorter", "larger")
            deeper = "farther from" if view.depth_change_mm > 0 else "nearer to"
            yield (
                f"the perspective of {which} says that its source-detector distance is "
                f"{abs(view.focal_percent):.1f} % ± {view.focal_deviation_percent:.1f} % {longer} than the "
                f"{xray.camera.sdd_mm:.0f} mm given, or its pixels that much {smaller}; the patient would "
                f"then be {abs(view.depth_change_mm):.0f} mm {deeper} the source (correct `sdd_mm` or "
                "`pixel_spacing_mm`, or see `refine_intrinsics`)",
                far,
            )
        if view.distorted:
            yield (
                f"{which} is distorted as by an image intensifier: {100 * view.radial:+.1f} % radially and "
                f"{100 * view.spiral:+.1f} % as a spiral, ± {100 * view.distortion_deviation:.1f} %, at half "
                "of its longer side from the principal point (`refine_distortion` removes it)",
                True,
            )


def _distorted(said: _Said, index: int, settings: IntrinsicsConfig) -> bool:
    """Whether an X-ray is distorted beyond chance, and enough to matter."""
    values = said.distortion[index]
    deviations = _mahalanobis(values, said.distortion_covariance[index])
    large = settings.distortion_above_percent < 100 * float(values.norm()) < 100 * LARGEST_DISTORTION
    return large and deviations > settings.distortion_above_deviations


def _mahalanobis(values: Tensor, covariance: Tensor) -> float:
    """Distance of values [K] from 0 in standard deviations."""
    if not covariance.isfinite().all():
        return 0.0
    return math.sqrt(max(float(values @ torch.linalg.pinv(covariance, hermitian=True) @ values), 0.0))


def _outer(vector: Tensor) -> Tensor:
    return vector[:, None] * vector


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Least squares, so that parameters that change nothing do no harm."""
    solution: Tensor = torch.linalg.lstsq(matrix, right)[0]
    return solution
