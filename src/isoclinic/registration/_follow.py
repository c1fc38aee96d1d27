"""A pose from the pose of the X-ray before: a short schedule, and whether it is to be believed."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..geometry import Camera, Distortion, se3
from ..volumes import Volume, XRay
from ._geometry_check import carried_geometry
from ._inputs import input_doubts
from ._ladder import Outcome, from_pose
from ._readings import readings
from ._register import looked_at, result_of
from ._run import Run
from .config import RegistrationConfig
from .initialize import InitialPose
from .result import GeometryCheck, RegistrationResult
from .session_config import FollowConfig

FOLLOWED = "the last pose"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trusted:
    """A result that others are followed from.

    Attributes:
        camera_from_world: its pose [4, 4].
        edges: see `Confidence`.
        reading: name of the `Reading` by which the X-ray was read.
        run: the run that registered it.
        geometry: the check of the intrinsics; None where they have to be checked anew.
    """

    camera_from_world: Tensor
    edges: float
    reading: str
    run: Run
    geometry: KnownGeometry | None

    @classmethod
    def of(cls, volume: Volume, result: RegistrationResult, best: Outcome) -> Trusted | None:
        """The state that a result of the whole ladder leaves for following; None where its pose is doubtful.

        Doubts that the next X-ray is asked about in any case do not count: those of headers.
        """
        of_headers = input_doubts(volume, best.reading.xrays, same_patient=best.run.config.same_patient)
        if not best.matched or not set(result.confidence.doubts) <= set(of_headers):
            return None
        return cls(
            camera_from_world=result.camera_from_world,
            edges=best.confidence.edges,
            reading=best.reading.name,
            run=best.run,
            geometry=KnownGeometry.of(best),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownGeometry:
    """The effect of wrong intrinsics on poses near one at which it was computed.

    Attributes:
        camera: the camera of the X-ray.
        camera_from_world: pose [4, 4] at which it was looked at.
        covariance: the part of the covariance that is due to the intrinsics [6, 6].
        check: the check of the X-ray's geometry by its image.
    """

    camera: Camera
    camera_from_world: Tensor
    covariance: Tensor
    check: GeometryCheck

    @classmethod
    def of(cls, best: Outcome) -> KnownGeometry | None:
        """The effect known from an outcome whose geometry was checked; None where it cannot be taken over."""
        confidence = best.confidence
        config = best.run.config
        if confidence.geometry is None or config.refine_distortion or config.refine_intrinsics.on:
            return None
        return cls(
            camera=best.reading.xrays[0].camera,
            camera_from_world=best.last.camera_from_world[best.last.best],
            covariance=confidence.covariance - confidence.image_covariance,
            check=confidence.geometry,
        )

    def holds(self, camera: Camera, pose: Tensor, isocentre: Tensor, config: FollowConfig) -> bool:
        """Whether it holds at a pose [4, 4] as well."""
        shift_mm, angle_deg = _moved(self.camera_from_world, pose, isocentre)
        return (
            camera == self.camera
            and float(shift_mm.norm()) <= config.geometry_mm
            and angle_deg <= config.geometry_deg
        )


def followed(
    volume: Volume,
    xray: XRay,
    start: Tensor,
    trusted: Trusted,
    config: RegistrationConfig,
    follow: FollowConfig,
) -> tuple[RegistrationResult, Trusted] | None:
    """The pose of an X-ray near that of the one before; None where it is lost, or in any doubt.

    Args:
        volume: the CT.
        xray: the X-ray.
        start: the pose [4, 4] to begin at: the last one, or the one that the motion so far predicts.
        trusted: the last pose, and how it was found.
        config: settings of the registration.
        follow: the schedule, and what counts as lost.

    Raises:
        InputError: an X-ray that is masked out entirely.
    """
    began = time.perf_counter()
    way = next((way for way in readings([xray], config.preprocess) if way.name == trusted.reading), None)
    if way is None or not trusted.run.config.stages:
        return None
    isocentre = torch.from_numpy(volume.isocentre_world)
    run = Run(
        volume=volume,
        fixed=way.fixed,
        view_from_first=torch.eye(4, dtype=torch.float64)[None],
        start=start,
        config=trusted.run.config,
        whole=trusted.run.whole,
    )
    tried: list[Outcome] = []
    for count in dict.fromkeys(min(count, len(run.config.stages)) for count in follow.stages):
        short = replace(run, config=replace(run.config, stages=run.config.stages[-count:]))
        outcome = from_pose(short, way, FOLLOWED)
        tried.append(outcome)
        pose = outcome.last.camera_from_world[outcome.last.best]
        if not _lost(outcome, pose, trusted, isocentre, follow):
            break
    else:
        return None
    known = trusted.geometry
    distortions: tuple[Distortion | None, ...] = (None,)
    if known is not None and known.holds(xray.camera, pose, isocentre, follow):
        confidence = carried_geometry(outcome.confidence, outcome.last, known.covariance, known.check, run)
        outcome = replace(outcome, confidence=confidence)
    else:
        outcome, distortions = looked_at(outcome)
        known = KnownGeometry.of(outcome)
    if outcome.confidence.doubts:
        return None
    initial = InitialPose(camera_from_world=start, source=FOLLOWED, rough=False)
    result = result_of(outcome, initial, [each.attempt for each in tried], distortions, began)
    result = result.doubted(*input_doubts(volume, [xray], same_patient=config.same_patient))
    # Edges are compared with the match that the whole ladder made, so that they cannot fade unnoticed.
    return result, replace(trusted, camera_from_world=result.camera_from_world, geometry=known)


def _lost(outcome: Outcome, pose: Tensor, trusted: Trusted, isocentre: Tensor, follow: FollowConfig) -> bool:
    # Comparisons are negated so that what is not a number counts as lost.
    confidence = outcome.confidence
    if confidence.doubts or not outcome.matched:
        return True
    if not confidence.edges >= follow.least_edges_share * trusted.edges:
        return True
    shift_mm, angle_deg = _moved(trusted.camera_from_world, pose, isocentre)
    return not (float(shift_mm[:2].norm()) <= follow.moved_mm and angle_deg <= follow.moved_deg)


def _moved(before: Tensor, after: Tensor, isocentre: Tensor) -> tuple[Tensor, float]:
    """The motion of the CT's centre in the camera's axes [3] [mm], and the angle of its turn [deg]."""
    tangent = se3.perturbation(before, after, isocentre)
    centres = [pose[:3, :3] @ isocentre + pose[:3, 3] for pose in (before, after)]
    return centres[1] - centres[0], math.degrees(float(tangent[:3].norm()))
