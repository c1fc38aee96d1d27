"""A pose from the pose of the X-ray before: a short schedule, and whether it is to be believed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..geometry import Distortion
from ..similarity import SimilarityConfig, SimilarityTerm
from ..volumes import Volume
from ._geometry_check import carried_geometry
from ._inputs import input_doubts
from ._ladder import Outcome, from_pose
from ._readings import readings
from ._register import looked_at, result_of
from ._run import Run
from ._trusted import KnownGeometry, Trusted, moved
from .config import RegistrationConfig, Stage
from .initialize import InitialPose
from .result import RegistrationResult
from .session_config import FollowConfig
from .views import View, stacked_views

FOLLOWED = "the last pose"
# Where one of several starts is chosen: edges, as blurred as the starts lie apart.
_CHOSEN_BY = SimilarityConfig(terms=(SimilarityTerm(image="gradient", window_px=9),))
# Starts nearer to each other than this are as good as one [mm].
_APART_MM = 1.0


def followed(
    volume: Volume,
    views: Sequence[View],
    starts: Sequence[Tensor],
    trusted: Trusted,
    config: RegistrationConfig,
    follow: FollowConfig,
) -> tuple[RegistrationResult, Trusted] | None:
    """The pose of X-rays near that of those before; None where it is lost, or in any doubt.

    Args:
        volume: the CT.
        views: the X-rays.
        starts: where to begin [4, 4], the likeliest first; the one that matches best counts.
        trusted: the last pose, and how it was found.
        config: settings of the registration.
        follow: the schedule, and what counts as lost.

    Raises:
        InputError: an X-ray that is masked out entirely.
    """
    began = time.perf_counter()
    xrays = [view.xray for view in views]
    schedule, whole = trusted.schedule(config)
    ways = readings(xrays, schedule.preprocess)
    way = next((way for way in ways if way.name == trusted.reading), None)
    if way is None or not schedule.stages:
        return None
    isocentre = torch.from_numpy(volume.isocentre_world)
    run = Run(
        volume=volume,
        fixed=way.fixed,
        view_from_first=stacked_views(views),
        start=starts[0],
        config=schedule,
        whole=whole,
        rendered=trusted.rendered,
    )
    run = replace(run, start=_likeliest(run, starts, isocentre, follow))
    tried: list[Outcome] = []
    for count in dict.fromkeys(min(count, len(schedule.stages)) for count in follow.stages):
        stages = schedule.stages[-count:]
        if not trusted.part:
            stages = tuple(replace(stage, step_tolerance_mm=follow.step_tolerance_mm) for stage in stages)
        short = replace(run, config=replace(schedule, stages=stages))
        outcome = from_pose(short, way, FOLLOWED)
        tried.append(outcome)
        pose = outcome.last.camera_from_world[outcome.last.best]
        if not _lost(outcome, pose, trusted, isocentre, follow):
            break
    else:
        return None
    known = trusted.geometry
    distortions: tuple[Distortion | None, ...] = (None,) * len(xrays)
    if known is not None and known.holds([xray.camera for xray in xrays], pose, isocentre, follow):
        confidence = carried_geometry(outcome.confidence, outcome.last, known.covariance, known.check, run)
        outcome = replace(outcome, confidence=confidence)
    else:
        outcome, distortions = looked_at(outcome)
        known = KnownGeometry.of(outcome)
    if outcome.confidence.doubts:
        return None
    initial = InitialPose(camera_from_world=run.start, source=FOLLOWED, rough=False)
    # The next X-ray starts where this one ended, and mostly in the same region of the picture.
    rendered = outcome.last.problem.recalled(outcome.last.solution.x[outcome.last.best][None])
    result = result_of(outcome, initial, [each.attempt for each in tried], distortions, began)
    result = result.doubted(*input_doubts(volume, xrays, same_patient=config.same_patient))
    # Edges are compared with the match that the whole ladder made, so that they cannot fade unnoticed.
    pose = result.camera_from_world
    return result, replace(trusted, camera_from_world=pose, geometry=known, rendered=rendered)


def _likeliest(run: Run, starts: Sequence[Tensor], isocentre: Tensor, follow: FollowConfig) -> Tensor:
    """The one of several poses [4, 4] whose edges match best; the first one where they are all the same."""
    first, *others = starts
    apart = [first]
    for other in others:
        shift_mm, angle_deg = moved(first, other, isocentre)
        turned_mm = run.config.length_mm * torch.deg2rad(torch.tensor(angle_deg))
        if float(shift_mm[:2].norm()) + float(turned_mm) > _APART_MM:
            apart.append(other)
    if len(apart) == 1:
        return first
    poses = torch.stack(apart)
    stage = Stage(pixels=follow.start_pixels, similarity=_CHOSEN_BY)
    problem = run.problem(stage, run.regions(poses, 0.0)).seen_from(poses)
    return apart[int(problem.correlation(poses).argmax())]


def _lost(outcome: Outcome, pose: Tensor, trusted: Trusted, isocentre: Tensor, follow: FollowConfig) -> bool:
    # Comparisons are negated so that what is not a number counts as lost.
    confidence = outcome.confidence
    if confidence.doubts or not outcome.matched:
        return True
    if not confidence.edges >= follow.least_edges_share * trusted.edges:
        return True
    shift_mm, angle_deg = moved(trusted.camera_from_world, pose, isocentre)
    return not (float(shift_mm[:2].norm()) <= follow.moved_mm and angle_deg <= follow.moved_deg)
