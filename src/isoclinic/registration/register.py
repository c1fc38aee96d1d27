"""From a CT and X-rays to a pose: search, coarse to fine, and what is known about the result."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..errors import IsoclinicError, UsageError
from ..geometry import Distortion
from ..networks import Checkpoint
from ..volumes import GeometryWarning, Volume, XRay, tell, warn_geometry
from ._fixed import FixedImage
from ._geometry_check import with_geometry
from ._inputs import identity_findings, input_doubts
from ._learned import Learned
from ._refined import kept_where_telling, straightened
from ._run import Run
from .config import RegistrationConfig
from .initialize import MODEL, InitialPose, check_sees, initial_pose
from .result import CANONICAL_SEARCH, Attempt, Confidence, ImageStageResult, RegistrationResult, StageResult
from .search import SearchConfig
from .views import View, stacked_views

# Networks, or what loads them in case of need.
Model = Checkpoint | Callable[[], Checkpoint]

# What keeps the last resort from running where a file or a package of it is missing or damaged, or the memory
# does not suffice. RuntimeError is torch's only one, for want of graphics memory and for all else.
_UNAVAILABLE = (IsoclinicError, ImportError, OSError, MemoryError, RuntimeError)

_DEFAULT = RegistrationConfig()


def register(
    volume: Volume,
    xray: XRay,
    init: Any = None,
    config: RegistrationConfig = _DEFAULT,
    *,
    model: Model | None = None,
) -> RegistrationResult:
    """Find the pose at which the CT shows what the X-ray shows.

    Never raises for want of convergence: see `status`. The CT's resolutions are prepared on the first call
    with a volume and kept with it.

    Args:
        volume: the CT.
        xray: the X-ray with its camera.
        init: where to start; see `initial_pose`. With a model also "model", for the pose that its regressor
            predicts; None means that, too, where the model has one.
        config: the schedule and all else.
        model: networks, in evaluation mode, trained for this CT, or any, and an X-ray like this one; see
            `Checkpoint.check_fit`. What they lead to is tried first, without any search. Instead, a function
            that loads them, such as `default_model`: it is called only if nothing else leads to a match, and
            where it fails, what was found without it is returned with one doubt more.

    Raises:
        InputError: an X-ray that is masked out entirely, or an initial pose that cannot be used.
        UsageError: an `init` that means nothing, an unknown structure, a backend that is not there, a model
            no part of which is to be used.

    Warns:
        GeometryWarning: headers of CT and X-ray do not agree on whom they show; intrinsics were refined, with
            what that costs in certainty of the pose; or something refined ended at its bound.
    """
    return register_views(volume, [View(xray=xray)], init, config, model=model)


def register_views(
    volume: Volume,
    views: Sequence[View],
    init: Any = None,
    config: RegistrationConfig = _DEFAULT,
    *,
    model: Model | None = None,
) -> RegistrationResult:
    """Find the one pose at which the CT shows what several X-rays show.

    One X-ray hardly sees depth; another one from the side does.

    Args:
        volume: the CT.
        views: X-rays of the patient, at rest between them, and how their cameras lie relative to the first
            one's; see `views_from_angles`, `views_from_file` and `views_from_poses`.
        init: where to start the first one; see `register`.
        config: the schedule and all else.
        model: as for `register`; its networks see the first X-ray only.

    Raises:
        InputError: as for `register`.
        UsageError: as for `register`; no view, or one that lacks its geometry.

    Warns:
        GeometryWarning: as for `register`.
    """
    began = time.perf_counter()
    view_from_first = stacked_views(views)
    xrays = [view.xray for view in views]
    if not config.same_patient:
        tell(identity_findings(volume, xrays))
    from_model = isinstance(init, str) and init == MODEL
    start = usual = initial_pose(volume, views[0].xray, None if from_model else init)
    for view, pose in zip(views[1:], view_from_first[1:] @ usual.camera_from_world, strict=True):
        check_sees(volume, view.xray, pose, f"{usual.source}, and how {view.xray.path} lies relative to it")
    fixed = tuple(FixedImage.of(view.xray, config.preprocess) for view in views)
    of_model = partial(Learned.of, volume=volume, fixed=fixed[0], config=config)
    learned = of_model(model) if isinstance(model, Checkpoint) else None
    if learned is not None and (from_model or init is None):
        start = learned.start() or usual
    if from_model and start is usual:
        raise UsageError(
            "init 'model' is the pose that a model's regressor predicts: give a model that has one "
            "(--model), and leave --learned.initialize on"
        )
    run = Run(
        volume=volume,
        fixed=fixed,
        view_from_first=view_from_first,
        start=start.camera_from_world,
        config=config,
    )

    part = run.explained_share() < config.partial.covered_below
    if part:
        run = replace(run, config=config.for_part(), whole=config.confidence)

    unavailable: list[str] = []

    def last_resort() -> Iterator[_Outcome]:
        if part:  # the networks know whole CTs
            return
        if config.learned.rescue and config.learned.fall_back:
            try:
                rescuer = of_model(model()) if callable(model) else learned
                if rescuer is not None:
                    yield from _rescue(run, usual, rescuer)
            except _UNAVAILABLE as error:
                # What was found before must not be lost with it.
                why = str(error) or type(error).__name__
                unavailable.append(f"the last resort, a search by trained networks, was not available: {why}")

    outcomes: list[_Outcome] = []
    for outcome in chain(_outcomes(run, start, usual, learned), last_resort()):
        outcomes.append(outcome)
        if outcome.matched:
            break
    best = max(outcomes, key=partial(_merit, config=config))
    best, distortions = _with_geometry(best, run, [view.xray for view in views])
    last = best.last
    problem, point, status = last.problem, last.solution.x[last.best], last.solution.status[last.best]
    if problem.refine_intrinsics.on:
        _warn_of_intrinsics(last)
    if best.confidence.geometry is not None:
        for text in best.confidence.geometry.findings:
            if text not in best.confidence.doubts:
                warn_geometry(text)
    result = RegistrationResult(
        camera_from_world=point[:4],
        cameras_from_world=problem.cameras_from_world(point[None])[0],
        cameras=problem.cameras(point, tuple(view.xray.camera for view in views)),
        status=status,
        reason=last.solution.reason[last.best],
        similarity=last.similarity,
        confidence=best.confidence,
        initial=start,
        attempt=best.attempt,
        attempts=tuple(outcome.attempt for outcome in outcomes),
        trace=best.trace,
        seconds=time.perf_counter() - began,
        distortions=distortions,
    )
    return result.doubted(*input_doubts(volume, xrays, same_patient=config.same_patient), *unavailable)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outcome:
    """Where an attempt ended.

    Attributes:
        attempt: what it was.
        trace: its stages, those of networks first.
        last: the last one, from which the result is.
        confidence: in that result.
        matched: whether X-rays and CT match there, so that nothing else need be tried.
    """

    attempt: Attempt
    trace: tuple[StageResult, ...]
    last: ImageStageResult
    confidence: Confidence
    matched: bool


def _with_geometry(
    outcome: _Outcome, run: Run, xrays: Sequence[XRay]
) -> tuple[_Outcome, tuple[Distortion | None, ...]]:
    """The outcome after a look at its geometry, and the distortions that were taken out of the X-rays."""
    nothing = (None,) * len(xrays)
    if outcome.confidence.doubts:
        return outcome, nothing
    confidence = with_geometry(outcome.confidence, outcome.last, run.volume, xrays, run.config)
    outcome = replace(outcome, confidence=confidence)
    stages = [stage for stage in outcome.trace if isinstance(stage, ImageStageResult)]
    straight = straightened(run, stages, confidence, run.volume, xrays)
    if straight is None:
        return outcome, nothing
    trace = (*outcome.trace, *straight.stages)
    last, confidence = straight.stages[-1], straight.confidence
    return replace(outcome, trace=trace, last=last, confidence=confidence), straight.distortions


def _merit(outcome: _Outcome, config: RegistrationConfig) -> float:
    """What outcomes are chosen by."""
    rescued = CANONICAL_SEARCH in outcome.attempt.learned
    return outcome.confidence.edges - (config.learned.rescue_margin if rescued else 0.0)


def _outcomes(
    run: Run, start: InitialPose, usual: InitialPose, learned: Learned | None
) -> Iterator[_Outcome]:
    """Ways to a pose, each to be tried where those before found no match.

    Args:
        run: from `start`.
        start: where to begin.
        usual: where to begin without a model.
        learned: what a model contributes.
    """
    searches = run.config.searches
    if learned is not None:
        refined = learned.refine(start.camera_from_world[None])
        ends = [stage.camera_from_world[stage.best] for stage in refined]
        if ends or start is not usual:
            way = start.source, learned.names
            # A network that leads astray must not decide: its start goes along.
            yield _outcome(run, torch.stack([run.start, *ends]), *way, refined)
            if not run.config.learned.fall_back:
                return
            around = replace(run, start=ends[-1]) if ends else run
            yield _search(around, searches[0], *way, refined)
            if start is not usual:
                for reach in searches[1:2]:
                    yield _search(run, reach, start.source)
    run = replace(run, start=usual.camera_from_world)
    for reach in searches[1 if usual.rough else 0 :] or searches[-1:]:
        yield _search(run, reach, usual.source)


def _rescue(run: Run, usual: InitialPose, learned: Learned) -> Iterator[_Outcome]:
    """Searches of what a model's canonical network makes of the first X-ray, around `usual`.

    Stages that are coarser than that image compare it, too; the others the X-ray itself, as always.
    """
    image, config = learned.canonical_image, run.config
    if image is None:
        return
    size = max(image.camera.width, image.camera.height)
    coarse = tuple(stage for stage in config.stages[:-1] if stage.pixels < size)
    fine = config.stages[len(coarse) :]
    run = replace(run, start=usual.camera_from_world, config=replace(config, stages=fine))
    cleaned = replace(run, fixed=(image, *run.fixed[1:]), config=replace(config, stages=coarse or fine[:1]))
    for reach in config.searches[1:] or config.searches:
        points = cleaned.searched(reach)
        stages = cleaned.register(points) if coarse else []
        if stages:
            points = cleaned.distinct(stages[-1], coarse[-1].keep)
        yield _outcome(run, points, usual.source, (CANONICAL_SEARCH,), stages, reach.candidates)


def _search(
    run: Run,
    reach: SearchConfig,
    start: str,
    learned: tuple[str, ...] = (),
    refined: Sequence[StageResult] = (),
) -> _Outcome:
    """Where all stages lead to from a search around the start of a run; see `Attempt` for the names."""
    run = replace(run, depth_reach_mm=reach.depth_mm)
    return _outcome(run, run.searched(reach), start, learned, refined, reach.candidates)


def _outcome(
    run: Run,
    points: Tensor,
    start: str,
    learned: tuple[str, ...],
    refined: Sequence[StageResult],
    candidates: int = 0,
) -> _Outcome:
    """Where all stages lead to from poses [B, 4, 4]."""
    stages = kept_where_telling(run, run.register(points))
    confidence = run.assess(stages)
    attempt = Attempt(start=start, learned=learned, candidates=candidates, edges=confidence.edges)
    last = stages[-1]
    matched = run.thresholds(last).matched(confidence.edges, last.similarity)
    return _Outcome(
        attempt=attempt, trace=(*refined, *stages), last=last, confidence=confidence, matched=matched
    )


def _warn_of_intrinsics(last: ImageStageResult) -> None:
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
