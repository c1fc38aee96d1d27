"""From a CT and X-rays to a pose: search, coarse to fine, and what is known about the result."""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..solver import Status
from ..volumes import GeometryWarning, Volume, XRay
from ._fixed import FixedImage
from ._run import Run
from .config import RegistrationConfig
from .initialize import check_sees, initial_pose
from .result import Confidence, RegistrationResult, StageResult
from .search import SearchConfig
from .views import View, stacked_views

_DEFAULT = RegistrationConfig()


def register(
    volume: Volume, xray: XRay, init: Any = None, config: RegistrationConfig = _DEFAULT
) -> RegistrationResult:
    """Find the pose at which the CT shows what the X-ray shows.

    Never raises for want of convergence: see `status`. The CT's resolutions are prepared on the first call
    with a volume and kept with it.

    Args:
        volume: the CT.
        xray: the X-ray with its camera.
        init: where to start; see `initial_pose`.
        config: the schedule and all else.

    Raises:
        InputError: an X-ray that is masked out entirely, or an initial pose that cannot be used.
        UsageError: an `init` that means nothing, an unknown structure, a backend that is not there.

    Warns:
        GeometryWarning: intrinsics were refined, with what that costs in certainty of the pose.
    """
    return register_views(volume, [View(xray=xray)], init, config)


def register_views(
    volume: Volume, views: Sequence[View], init: Any = None, config: RegistrationConfig = _DEFAULT
) -> RegistrationResult:
    """Find the one pose at which the CT shows what several X-rays show.

    One X-ray hardly sees depth; another one from the side does.

    Args:
        volume: the CT.
        views: X-rays of the patient, at rest between them, and how their cameras lie relative to the first
            one's; see `views_from_angles`, `views_from_file` and `views_from_poses`.
        init: where to start the first one; see `initial_pose`.
        config: the schedule and all else.

    Raises:
        InputError: as for `register`.
        UsageError: as for `register`; no view, or one that lacks its geometry.

    Warns:
        GeometryWarning: as for `register`.
    """
    began = time.perf_counter()
    view_from_first = stacked_views(views)
    start = initial_pose(volume, views[0].xray, init)
    for view, pose in zip(views[1:], view_from_first[1:] @ start.camera_from_world, strict=True):
        check_sees(volume, view.xray, pose, f"{start.source}, and how {view.xray.path} lies relative to it")
    run = Run(
        volume=volume,
        fixed=tuple(FixedImage.of(view.xray, config.preprocess) for view in views),
        view_from_first=view_from_first,
        start=start.camera_from_world,
        config=config,
    )
    trace, confidence = _search(run, config.searches[1 if start.rough else 0 :] or config.searches[-1:])
    last = trace[-1]
    problem, point, status = last.problem, last.solution.x[last.best], last.solution.status[last.best]
    if problem.refine_intrinsics.on:
        _warn_of_intrinsics(last)
    return RegistrationResult(
        camera_from_world=point[:4],
        cameras_from_world=problem.cameras_from_world(point[None])[0],
        cameras=problem.cameras(point, tuple(view.xray.camera for view in views)),
        status=Status.DOUBTFUL if confidence.doubts and status is not Status.DIVERGED else status,
        reason=last.solution.reason[last.best],
        similarity=last.similarity,
        confidence=confidence,
        initial=start,
        trace=tuple(trace),
        seconds=time.perf_counter() - began,
    )


def _search(run: Run, searches: Sequence[SearchConfig]) -> tuple[list[StageResult], Confidence]:
    """Stages and confidence of the first search that finds a match, else of the one that comes closest."""
    attempts = []
    for reach in searches:
        trace = run.register(reach)
        attempts.append((trace, run.assess(trace)))
        if attempts[-1][1].edges >= run.config.confidence.edges_below:
            break
    return max(attempts, key=lambda attempt: attempt[1].edges)


def _warn_of_intrinsics(last: StageResult) -> None:
    """Say how much pose goes with how much of the first camera's intrinsics."""
    problem, point = last.problem, last.solution.x[last.best]
    hessian = problem.linearize_freely(point[None]).hessian[0]
    focal = len(hessian) - 3 * len(problem.views)
    bounds = problem.refine_intrinsics
    trades = []
    if bounds.focal_percent:
        depth_mm = abs(float(_pose_change(hessian, focal)[5])) / 100
        trades.append(
            f"1 % of the focal length goes with {depth_mm:.1f} mm of depth "
            f"(bound: {bounds.focal_percent:g} %, {bounds.focal_percent * depth_mm:.0f} mm)"
        )
    if bounds.principal_point_mm:
        across = float(_pose_change(hessian, focal + 1)[3:5].norm())
        trades.append(f"1 mm of the principal point with {across:.1f} mm across the beam")
    warnings.warn(
        f"intrinsics were refined, and hardly differ from the pose in what they do to the image: "
        f"{'; '.join(trades)}. Calibrate the C-arm, or add an X-ray from the side, where depth matters",
        GeometryWarning,
        stacklevel=3,
    )


def _pose_change(hessian: Tensor, parameter: int) -> Tensor:
    """Tangent [6] that best makes up for a unit change of a parameter, all others being free."""
    others = [index for index in range(len(hessian)) if index != parameter]
    return -torch.linalg.lstsq(hessian[others][:, others], hessian[others, parameter][:, None])[0][:6, 0]
