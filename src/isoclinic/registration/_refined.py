"""Refined geometry that is kept only where the X-rays ask for it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from ..geometry import Distortion
from ..similarity import IntrinsicsRefinement
from ..volumes import Volume, XRay
from ._fixed import FixedImage
from ._geometry_check import with_geometry
from ._run import Run
from .confidence_config import ConfidenceConfig
from .intrinsics import IntrinsicsConfig
from .result import Confidence, GeometryCheck, ImageStageResult


def kept_where_telling(run: Run, stages: list[ImageStageResult]) -> list[ImageStageResult]:
    """The stages, the last one repeated with the given intrinsics unless refining them was called for.

    A focal length costs certainty of depth, so that freeing a right one makes a good pose worse. Refined
    values are kept where they differ from the given ones by more than they are uncertain, or ended at a
    bound.
    """
    last = stages[-1]
    if not last.problem.refine_intrinsics.on:
        return stages
    point = last.solution.x[last.best]
    if last.problem.at_bounds(point) or _telling(last, run.config.confidence, run.config.intrinsics):
        return stages
    trusting = replace(run, config=replace(run.config, refine_intrinsics=IntrinsicsRefinement()))
    return [*stages, *trusting.polished(point[None, : len(point) - len(last.problem.views)])]


def _telling(last: ImageStageResult, confidence: ConfidenceConfig, intrinsics: IntrinsicsConfig) -> bool:
    """Whether refined intrinsics differ from those given beyond chance."""
    problem, point = last.problem, last.solution.x[last.best : last.best + 1]
    gradients, curvature = (part[0] for part in problem.scatter(point, confidence.tile_px))
    if not curvature.isfinite().all():
        return False
    inverse = torch.linalg.pinv(curvature, hermitian=True)
    factor = confidence.error_factor * intrinsics.error_factor
    covariance = factor**2 * inverse @ gradients.mT @ gradients @ inverse
    count = len(problem.views)
    values = point[0, -count:, :3]
    deviations = covariance.diagonal()[-3 * count :].clamp(min=0).sqrt().reshape(count, 3)
    least = torch.tensor([intrinsics.least_deviation_percent / 100, 0.0, 0.0], dtype=torch.float64)
    beyond = values.abs() > intrinsics.above_deviations * torch.hypot(deviations, least)
    return bool(beyond.any())


@dataclass(frozen=True, kw_only=True, eq=False)
class Straightened:
    """A result of X-rays from which a distortion was taken.

    Attributes:
        stages: the stages that led from the result before to this one.
        confidence: confidence in the result.
        distortions: distortion of every X-ray, None where it was used as it is.
    """

    stages: list[ImageStageResult]
    confidence: Confidence
    distortions: tuple[Distortion | None, ...]


def straightened(
    run: Run,
    stages: Sequence[ImageStageResult],
    confidence: Confidence,
    volume: Volume,
    xrays: Sequence[XRay],
) -> Straightened | None:
    """The last stage again with the distortions taken out that the X-rays show; None if they show none.

    Args:
        run: the run that led to the result.
        stages: the stages of images that led to it.
        confidence: confidence in the result.
        volume: the CT.
        xrays: the X-rays of the run.
    """
    check = confidence.geometry
    distortions = _shown(check) if check is not None and run.config.refine_distortion else ()
    if not any(distortions):
        return None
    straight = straight_xrays(xrays, distortions)
    fixed = tuple(FixedImage.of(xray, run.config.preprocess) for xray in straight)
    again = replace(run, fixed=fixed)
    last = stages[-1]
    more = again.polished(last.solution.x[last.best : last.best + 1])
    judged = again.assess([*stages, *more])
    if not judged.edges >= confidence.edges or not math.isfinite(judged.expected_error_mm):
        return None
    if not judged.doubts:
        judged = with_geometry(judged, more[-1], volume, straight, run.config)
    return Straightened(stages=more, confidence=judged, distortions=distortions)


def _shown(check: GeometryCheck) -> tuple[Distortion | None, ...]:
    return tuple(
        Distortion(radial=view.radial, spiral=view.spiral) if view.distorted else None for view in check.views
    )


def straight_xrays(xrays: Sequence[XRay], distortions: Sequence[Distortion | None]) -> list[XRay]:
    """The X-rays that a result is of."""
    return [
        xray if distortion is None else xray.undistorted(distortion)
        for xray, distortion in zip(xrays, distortions, strict=True)
    ]
