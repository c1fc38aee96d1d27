"""How far a registered pose can be relied on: the error to expect, and reasons to doubt it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from ..geometry import se3
from ..similarity import ImageSimilarity, JointSimilarity
from ..volumes import Structures, Volume, target_points
from ._explained import covered_tissue
from .confidence_config import ConfidenceConfig
from .result import Confidence, ImageStageResult, rotation_deg

# Below this many points in view, the error is expected at all of them.
_FEW_POINTS = 10
# An X-ray noisier than this is no longer given the benefit of the doubt.
_LEAST_CEILING = 0.3

_points: WeakKeyDictionary[Volume, dict[tuple[int, tuple[int | str, ...] | None], Tensor]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Check:
    """The problem and the masks with which results are checked.

    Attributes:
        problem: the X-rays as `ConfidenceConfig` says, refining what the last stage refined.
        ceilings: correlation that each X-ray's noise allows at most; see `ceiling`.
    """

    problem: JointSimilarity
    ceilings: tuple[float, ...]

    def correlation(self, x: Tensor) -> Tensor:
        """Mean over the X-rays [b] of how much of the correlation that is possible points [b, ...] reach."""
        problem = self.problem.seen_from(x)
        return replace(self, problem=problem).correlate_images(problem.images(x))

    def correlate_images(self, images: Sequence[Tensor]) -> Tensor:
        """The same for DRRs [b, H, W] of every view, over the pixels that are known to the problem."""
        parts = zip(self.problem.views, images, self.ceilings, strict=True)
        return torch.stack([view.correlate_images(image) / best for view, image, best in parts]).mean(dim=0)


def ceiling(view: ImageSimilarity, halves: tuple[Tensor, Tensor] | None) -> float:
    """Bound on the correlation of a noisy X-ray with its noise-free self, the root of its reliability.

    Of two halves that correlate by r the whole has the reliability 2 r / (1 + r) (Spearman 1910, Brown 1910);
    a correlation divided by its root is what it would be without noise (Spearman 1904). That is exact where
    the noise is as strong relative to the signal everywhere, else too high, by Jensen's inequality; noise
    that neighbouring pixels share goes unnoticed, too. Both err on the side of doubt.

    Args:
        view: the X-ray at the resolution that counts.
        halves: its image twice with independent noise, where it has been averaged down.
    """
    if halves is None:
        return 1.0
    first, second = halves
    half = float(replace(view, fixed=first).correlate_images(second[None])[0])
    return max(math.sqrt(max(2 * half / (1 + half), 0.0)), _LEAST_CEILING)


def assess(
    trace: Sequence[ImageStageResult],
    check: Check,
    volume: Volume,
    structures: Structures | None,
    config: ConfidenceConfig,
) -> Confidence:
    """Look at a result from every side.

    The covariance is the sandwich H⁻¹ M H⁻¹ (Huber 1967; White 1982; by clusters, Liang & Zeger 1986) with
    M the scatter of what single tiles of the image contribute to the gradient: unlike the inverse Hessian it
    does not take neighbouring pixels, which err alike, for independent. It knows nothing of other optima:
    where a rod turned about its own axis matches as well, the way there is added.

    Args:
        trace: the stages that led to the result, those of networks aside.
        check: the check of the same X-rays.
        volume: the CT.
        structures: labels or names of those that were registered, None for all tissue.
        config: thresholds.
    """
    last = trace[-1]
    point = last.solution.x[last.best : last.best + 1]
    poses = check.problem.cameras_from_world(point)[0]
    points = points_in_view(last, volume, structures, config)
    covariance = config.error_factor**2 * _covariance(last, config.tile_px) + _between_alike(trace, volume)
    by_axis_mm = errors_by_axis_mm(covariance, points, poses[0], volume)
    error_mm, turn_deg = math.hypot(*by_axis_mm), rotation_deg(covariance)
    check = replace(check, problem=check.problem.seen_from(point))
    images = check.problem.images(point)
    edges = float(check.correlate_images(images)[0])
    rival = _rival(trace, check, points, poses[0], config)
    overlap = covered_tissue(check.problem.views, images)
    significance = check.problem.significance_of_images(images)
    return Confidence(
        covariance=covariance,
        expected_error_mm=error_mm,
        expected_error_by_axis_mm=by_axis_mm,
        expected_rotation_deg=turn_deg,
        edges=edges,
        rival=rival,
        overlap=overlap,
        significance=significance,
        image_covariance=covariance,
        image_error_by_axis_mm=by_axis_mm,
        limits=config,
        doubts=(
            *reasons_to_doubt(edges, significance, rival, overlap, error_mm, config),
            *_further_reasons(last.similarity, math.hypot(*by_axis_mm[:2]), turn_deg, config),
            *_held(last),
            *_undecided(trace),
        ),
    )


def _further_reasons(
    similarity: float, across_mm: float, turn_deg: float, config: ConfidenceConfig
) -> Iterator[str]:
    if not similarity >= config.similarity_below:
        yield (
            f"X-ray and CT hardly match: they correlate by {similarity:.2f} in the last stage, below "
            f"{config.similarity_below:g}"
        )
    if not across_mm <= config.expected_across_above_mm:
        yield (
            f"the expected error across the beam is {across_mm:.1f} mm, above "
            f"{config.expected_across_above_mm:g} mm"
        )
    if not turn_deg <= config.expected_rotation_above_deg:
        yield (
            f"the expected error of the rotation is {turn_deg:.1f} degrees, above "
            f"{config.expected_rotation_above_deg:g}: one view hardly shows how a rod is turned about its "
            "own axis, and a further view does"
        )


def points_in_view(
    last: ImageStageResult, volume: Volume, structures: Structures | None, config: ConfidenceConfig
) -> Tensor:
    """Points [N, 3] of the CT [mm] where errors are expected: those of bone that some X-ray shows."""
    poses = last.problem.cameras_from_world(last.solution.x[last.best : last.best + 1])[0]
    points = _targets(volume, config.points, None if structures is None else tuple(structures))
    return _in_view(points, last.problem, poses)


def _targets(volume: Volume, count: int, structures: tuple[int | str, ...] | None) -> Tensor:
    """Points [count, 3] where errors matter [mm], always the same; kept while the CT lives."""
    kept = _points.setdefault(volume, {})
    if (count, structures) not in kept:
        generator = np.random.default_rng(0)
        kept[count, structures] = target_points(volume, count, structures, generator=generator)
    return kept[count, structures]


def errors_by_axis_mm(
    covariance: Tensor, points_world: Tensor, camera_from_world: Tensor, volume: Volume
) -> tuple[float, float, float]:
    """Root mean square over points [N, 3] of `expected_errors_mm`, along the camera's x, y and z [mm]."""
    isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
    each_mm = expected_errors_mm(covariance, points_world, camera_from_world, isocentre)
    right_mm, down_mm, depth_mm = each_mm.square().mean(0).sqrt().tolist()
    return right_mm, down_mm, depth_mm


def _held(last: ImageStageResult) -> Iterator[str]:
    """Name the refined values that lie at their bounds, so that the true ones may lie beyond."""
    reached = last.problem.at_bounds(last.solution.x[last.best])
    if reached:
        yield (
            f"refined as far as allowed: {', '.join(reached)}; the given values are off by more than these "
            "bounds (`refine_views`, `refine_intrinsics`), or the X-ray does not fit for another reason"
        )


def _undecided(trace: Sequence[ImageStageResult]) -> Iterator[str]:
    for stage in trace:
        if stage.twins is not None and not stage.twins.agree:
            here, there = stage.twins.edges[stage.best], stage.twins.edges[1 - stage.best]
            yield (
                "there are two answers: the part is its own mirror image, and the mirrored pose matches "
                f"about as well: edges correlate by {there:.3f} there, {here:.3f} here"
            )


def _covariance(last: ImageStageResult, tile_px: int) -> Tensor:
    """Covariance [6, 6] of the pose; that of other refined values is accounted for, and left out."""
    point = last.solution.x[last.best : last.best + 1]
    gradients, curvature = (part[0] for part in last.problem.scatter(point, tile_px))
    if not curvature.isfinite().all():
        return curvature.new_full((6, 6), math.inf)
    inverse = torch.linalg.pinv(curvature, hermitian=True)
    return (inverse @ gradients.mT @ gradients @ inverse)[:6, :6]


def _between_alike(trace: Sequence[ImageStageResult], volume: Volume) -> Tensor:
    """Square [6, 6] of the tangent from the result to the farthest turned pose that matches as well."""
    last = trace[-1]
    pose = last.camera_from_world[last.best]
    for stage in trace[::-1]:
        if stage.alike is not None:
            isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
            ways = se3.perturbation(pose.expand_as(stage.alike), stage.alike, isocentre)
            way = ways[ways[:, :3].norm(dim=1).argmax()]
            return torch.outer(way, way)
    return pose.new_zeros(6, 6)


def _in_view(points: Tensor, problem: JointSimilarity, poses: Tensor) -> Tensor:
    """The points [N, 3] that some X-ray shows; all of them where it shows hardly any."""
    seen = torch.zeros(len(points), dtype=torch.bool)
    for view, pose in zip(problem.views, poses, strict=True):
        camera = view.projector.camera
        pixels = camera.project(points, pose)
        end = pixels.new_tensor([camera.width - 0.5, camera.height - 0.5])
        seen |= ((pixels > -0.5) & (pixels < end)).all(dim=1)
    return points[seen] if int(seen.sum()) >= _FEW_POINTS else points


def expected_errors_mm(
    covariance: Tensor, points_world: Tensor, camera_from_world: Tensor, isocentre_world: Tensor
) -> Tensor:
    """Root mean square displacement [N, 3] of points [N, 3] along the camera's x, y and z (depth) [mm].

    Args:
        covariance: [6, 6] of the tangent of `se3.perturb`.
        points_world: [mm].
        camera_from_world: the pose [4, 4] that is uncertain.
        isocentre_world: the point that the tangent turns about [3] [mm].
    """
    motion = se3.point_jacobian(camera_from_world, points_world, isocentre_world)
    return (motion @ covariance @ motion.mT).diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()


def _rival(
    trace: Sequence[ImageStageResult], check: Check, points: Tensor, pose: Tensor, config: ConfidenceConfig
) -> float | None:
    """Highest correlation of a pose elsewhere, among those that a stage started from several ended at."""
    # What a rod turned about its axis led to is where the result is, and not what a search found elsewhere.
    several = [stage for stage in trace if len(stage.solution.x) > 1 and stage.alike is None]
    if not several:
        return None
    found = several[-1].solution.x
    here = se3.transform_points(pose, points)
    there = se3.transform_points(found[:, :4], points)
    # Later stages may have moved the result, as when they refine intrinsics: compare with where it was then.
    own = there[(there - here).norm(dim=-1).mean(-1).argmin()]
    elsewhere = _across_mm(there, own) > config.rival_mm
    if not elsewhere.any():
        return None
    return float(check.correlation(check.problem.start(found[elsewhere])).max())


def _across_mm(points: Tensor, others: Tensor) -> Tensor:
    """Mean distance [...] of points [..., N, 3] in the camera from others, across the others' rays."""
    ray = others / others.norm(dim=-1, keepdim=True)
    off = points - others
    return (off - (off * ray).sum(-1, keepdim=True) * ray).norm(dim=-1).mean(-1)


def reasons_to_doubt(
    edges: float,
    significance: float,
    rival: float | None,
    overlap: float,
    error_mm: float,
    config: ConfidenceConfig,
) -> Iterator[str]:
    """Why a result with these values of `Confidence` is doubtful, if it is."""
    # Comparisons are negated so that what is not a number counts as doubt.
    if not edges >= config.edges_below:
        yield f"X-ray and CT hardly match: their edges correlate by {edges:.2f}, below {config.edges_below:g}"
    if not significance >= config.significance_below:
        yield (
            "X-ray and CT may match by chance: the correlation of their edges is only "
            f"{significance:.1f} standard deviations beyond that of unrelated images which are as smooth, "
            f"below {config.significance_below:g}"
        )
    if rival is not None and rival > config.rival_above * edges:
        yield f"another pose matches about as well: edges correlate by {rival:.2f} there, {edges:.2f} here"
    if not overlap >= config.overlap_below:
        yield f"the CT covers only {overlap:.0%} of what the X-ray shows"
    if not error_mm <= config.expected_error_above_mm:
        yield f"the expected error is {error_mm:.1f} mm, above {config.expected_error_above_mm:g} mm"
