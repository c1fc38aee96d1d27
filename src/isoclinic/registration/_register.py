"""From a CT and X-rays to a pose: search, coarse to fine, and what is known about the result."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from ..errors import IsoclinicError, UsageError
from ..geometry import Distortion
from ..networks import Checkpoint
from ..volumes import GeometryWarning, Volume, XRay, tell, warn_geometry
from ._geometry_check import with_geometry
from ._inputs import identity_findings, input_doubts
from ._ladder import Outcome, merit, outcomes, polished, read_as, rescue
from ._part_learned import PartLearned, learned_of
from ._progress import Watch
from ._readings import MIRRORED_DOUBT, SIDES_DOUBT, reading_text, readings
from ._refined import straight_xrays, straightened
from ._run import Run
from ._search_bank import SearchBank
from .config import RegistrationConfig
from .initialize import MODEL, InitialPose, check_sees, initial_pose
from .result import Attempt, ImageStageResult, RegistrationResult
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
        init: the start of the first X-ray; see `register`.
        config: the schedule and all else.
        model: as for `register`; its networks see the first X-ray only.

    Raises:
        InputError: as for `register`.
        UsageError: as for `register`; no view, or one that lacks its geometry.

    Warns:
        GeometryWarning: as for `register`.
    """
    result, _ = registered(volume, views, init, config, model=model)
    return result


def registered(
    volume: Volume,
    views: Sequence[View],
    init: Any = None,
    config: RegistrationConfig = _DEFAULT,
    *,
    model: Model | None = None,
    bank: SearchBank | None = None,
    watch: Watch | None = None,
) -> tuple[RegistrationResult, Outcome]:
    """The result of `register_views`, and the attempt that it is from, with its geometry checked.

    Args:
        volume: see `register_views`.
        views: see `register_views`.
        init: see `register_views`.
        config: see `register_views`.
        model: see `register_views`.
        bank: renderings of earlier searches; they change nothing but the time that searches take.
        watch: told of the progress; what it raises ends the registration.
    """
    began = time.perf_counter()
    view_from_first = stacked_views(views)
    xrays = [view.xray for view in views]
    if not config.same_patient:
        tell(identity_findings(volume, xrays))
    from_model = isinstance(init, str) and init == MODEL
    start = usual = initial_pose(volume, views[0].xray, None if from_model else init)
    for view, pose in zip(views[1:], view_from_first[1:] @ usual.camera_from_world, strict=True):
        seen_by = view.xray.path or "an X-ray"
        check_sees(volume, view.xray, pose, f"{usual.source}, and how {seen_by} lies relative to it")
    ways = readings(xrays, config.preprocess)
    fixed = ways[0].fixed
    of_model = partial(learned_of, volume=volume, fixed=fixed[0], config=config)
    learned = of_model(model) if isinstance(model, Checkpoint) else None
    if learned is not None and (from_model or init is None):
        start = learned.start() or usual
    if not config.stages and (learned is None or not (learned.names or start is not usual)):
        raise UsageError(
            "stages = [] ends the registration where the networks of a model end: give a `model` whose "
            "networks take part, or keep the stages",
            code="registration.invalid-value",
        )
    if from_model and start is usual:
        raise UsageError(
            "init 'model' is the pose that the regressor of a model predicts: give a `model` with a "
            "regressor, and leave `learned.initialize` on",
            code="start.model-missing",
        )
    run = Run(
        volume=volume,
        fixed=fixed,
        view_from_first=view_from_first,
        start=start.camera_from_world,
        config=config,
        # Another reading of the X-rays is looked for among the same candidates.
        bank=SearchBank() if bank is None else bank,
        watch=watch,
    )
    part = all(own.is_part() for way in ways if (own := read_as(run, way)) is not None)
    if part:
        ways = tuple(way.unaveraged() for way in ways)
        run = replace(run, fixed=ways[0].fixed, config=config.for_part(), whole=config.confidence)

    tried: list[Outcome] = []
    unavailable: list[str] = []

    def last_resort() -> Iterator[Outcome]:
        # The networks know whole CTs.
        if part or any(outcome.matched for outcome in tried):
            return
        if config.learned.rescue and config.learned.fall_back:
            try:
                rescuer = of_model(model()) if callable(model) else learned
                if rescuer is not None:
                    yield from rescue(run, ways[0], usual, rescuer)
            except _UNAVAILABLE as error:
                # What was found before must not be lost with it.
                why = str(error) or type(error).__name__
                unavailable.append(f"the last resort, a search by trained networks, was not available: {why}")

    for outcome in chain(outcomes(run, ways, start, usual, learned), last_resort()):
        tried.append(outcome)
        if outcome.matched and outcome.final:
            break
    chosen = max(range(len(tried)), key=lambda index: merit(tried[index], config))
    tried[chosen] = tried[chosen].completed()
    if isinstance(learned, PartLearned):
        tried[chosen] = polished(tried[chosen], learned)
    best, distortions = looked_at(tried[chosen])
    if best.last.problem.refine_intrinsics.on:
        _warn_of_intrinsics(best.last)
    if best.confidence.geometry is not None:
        for text in best.confidence.geometry.findings:
            if text not in best.confidence.doubts:
                warn_geometry(text)
    attempts = tuple(outcome.attempt for outcome in tried)
    result = result_of(best, start, attempts, distortions, began)
    if best.matched and best.reading is not ways[0]:
        warn_geometry(reading_text(result.attempt, result.attempts))
    result = result.doubted(
        *input_doubts(volume, xrays, same_patient=config.same_patient),
        *_mirrored_doubts(best, tried, config),
        *unavailable,
    )
    return result, best


def result_of(
    best: Outcome,
    start: InitialPose,
    attempts: Sequence[Attempt],
    distortions: Sequence[Distortion | None],
    began: float,
) -> RegistrationResult:
    """The result that an outcome is.

    Args:
        best: the outcome.
        start: the pose at which the registration started.
        attempts: all that were made.
        distortions: distortions of the X-rays, as they were found and removed.
        began: `time.perf_counter()` when it started.
    """
    for stage in best.stages:
        stage.problem.forget()
    last, xrays = best.last, best.reading.xrays
    problem, point = last.problem, last.solution.x[last.best]
    ended = last if best.run.config.stages or not best.refined else best.refined[-1]
    return RegistrationResult(
        camera_from_world=point[:4],
        cameras_from_world=problem.cameras_from_world(point[None])[0],
        cameras=problem.cameras(point, tuple(xray.camera for xray in xrays)),
        status=ended.solution.status[ended.best],
        reason=ended.solution.reason[ended.best],
        similarity=last.similarity,
        confidence=best.confidence,
        initial=start,
        attempt=best.attempt,
        attempts=tuple(attempts),
        trace=(*best.refined, *best.stages),
        seconds=time.perf_counter() - began,
        distortions=tuple(distortions),
        xrays=tuple(straight_xrays(xrays, distortions)),
    )


def _mirrored_doubts(best: Outcome, tried: Sequence[Outcome], config: RegistrationConfig) -> Iterator[str]:
    """The doubt that the pictures were mirrored, if mirrored ones match."""
    if not best.matched:
        return
    if best.reading.mirrored:
        yield MIRRORED_DOUBT
    for other in tried:
        rivals = other.matched and other.reading.mirrored and not best.reading.mirrored
        if rivals and other.confidence.edges > best.confidence.edges - config.any_view.mirrored_margin:
            theirs, own = other.confidence.edges, best.confidence.edges
            yield f"{SIDES_DOUBT}: edges correlate by {theirs:.2f} there, {own:.2f} here"


def looked_at(outcome: Outcome) -> tuple[Outcome, tuple[Distortion | None, ...]]:
    """The outcome after a look at its geometry, and the distortions that were taken out of the X-rays."""
    run, xrays = outcome.run, outcome.reading.xrays
    nothing = (None,) * len(xrays)
    if outcome.confidence.doubts:
        return outcome, nothing
    confidence = with_geometry(outcome.confidence, outcome.last, run.volume, xrays, run.config)
    outcome = replace(outcome, confidence=confidence)
    straight = straightened(run, outcome.stages, confidence, run.volume, xrays)
    if straight is None:
        return outcome, nothing
    stages = (*outcome.stages, *straight.stages)
    return replace(outcome, stages=stages, confidence=straight.confidence), straight.distortions


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
            f"1 % of the focal length looks like {depth_mm:.1f} mm of depth "
            f"(bound: {bounds.focal_percent:g} %, {bounds.focal_percent * depth_mm:.0f} mm)"
        )
    if bounds.principal_point_mm:
        across = float(_pose_change(hessian, focal + 1)[3:5].norm())
        trades.append(f"1 mm of the principal point looks like {across:.1f} mm across the beam")
    warnings.warn(
        "the intrinsics were refined, but in the image, a change of the intrinsics looks nearly like one "
        "of the pose: "
        f"{'; '.join(trades)}. Calibrate the C-arm, or add an X-ray from the side, where depth matters",
        GeometryWarning,
        stacklevel=3,
    )


def _pose_change(hessian: Tensor, parameter: int) -> Tensor:
    """Tangent [6] that best makes up for a unit change of a parameter, all others being free."""
    others = [index for index in range(len(hessian)) if index != parameter]
    return -torch.linalg.lstsq(hessian[others][:, others], hessian[others, parameter][:, None])[0][:6, 0]
