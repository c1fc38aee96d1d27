"""What a result leaves for the X-rays after it: its pose, how it was found, and its geometry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..geometry import Camera, se3
from ..rendering import Rendering
from ..volumes import Volume
from ._inputs import input_doubts
from ._ladder import Outcome
from .confidence_config import ConfidenceConfig
from .config import RegistrationConfig
from .result import GeometryCheck, RegistrationResult, ViewGeometry
from .session_config import FollowConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class KnownGeometry:
    """What intrinsics that are off do to poses near one where that was looked at.

    Attributes:
        cameras: of the V X-rays.
        camera_from_world: pose [4, 4] of the first one at which it was looked at.
        covariance: what it adds to the covariance of the image alone [6, 6].
        check: what the images say about their geometry.
    """

    cameras: tuple[Camera, ...]
    camera_from_world: Tensor
    covariance: Tensor
    check: GeometryCheck

    @classmethod
    def of(cls, best: Outcome) -> KnownGeometry | None:
        """Of an outcome whose geometry was looked at; None where it cannot be taken over."""
        confidence = best.confidence
        config = best.run.config
        if confidence.geometry is None or config.refine_distortion or config.refine_intrinsics.on:
            return None
        return cls(
            cameras=tuple(xray.camera for xray in best.reading.xrays),
            camera_from_world=best.last.camera_from_world[best.last.best],
            covariance=confidence.covariance - confidence.image_covariance,
            check=confidence.geometry,
        )

    def holds(self, cameras: Sequence[Camera], pose: Tensor, isocentre: Tensor, config: FollowConfig) -> bool:
        """Whether it holds at a pose [4, 4] of the first camera as well."""
        shift_mm, angle_deg = moved(self.camera_from_world, pose, isocentre)
        return (
            tuple(cameras) == self.cameras
            and float(shift_mm.norm()) <= config.geometry_mm
            and angle_deg <= config.geometry_deg
        )

    def document(self) -> dict[str, Any]:
        """For `restored`, as JSON can hold it."""
        return {
            "cameras": [asdict(camera) for camera in self.cameras],
            "camera_from_world": self.camera_from_world.tolist(),
            "covariance": self.covariance.tolist(),
            "check": asdict(self.check),
        }

    @classmethod
    def restored(cls, document: Mapping[str, Any]) -> KnownGeometry:
        """What `document` has written."""
        check = dict(document["check"])
        check["views"] = tuple(ViewGeometry(**view) for view in check["views"])
        check["findings"], check["doubts"] = tuple(check["findings"]), tuple(check["doubts"])
        return cls(
            cameras=tuple(Camera(**camera) for camera in document["cameras"]),
            camera_from_world=_matrix(document["camera_from_world"]),
            covariance=_matrix(document["covariance"]),
            check=GeometryCheck(**check),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Trusted:
    """A result that others are followed from.

    Attributes:
        camera_from_world: its pose [4, 4], of the first X-ray.
        edges: see `Confidence`; of the last result of the whole ladder.
        reading: how the X-rays were read, by the name of their `Reading`.
        part: whether the CT was registered as one that explains only part of the X-rays.
        geometry: what is known about the intrinsics; None where it has to be looked at anew.
        rendered: the CT at that pose in every X-ray, as far as it is still known.
    """

    camera_from_world: Tensor
    edges: float
    reading: str
    part: bool
    geometry: KnownGeometry | None
    rendered: tuple[Rendering, ...] = ()

    @classmethod
    def of(cls, volume: Volume, result: RegistrationResult, best: Outcome) -> Trusted | None:
        """What a result of the whole ladder leaves to follow; None where there is a doubt of its pose.

        Doubts that the next X-ray is asked about in any case do not count: those of headers.
        """
        of_headers = input_doubts(volume, best.reading.xrays, same_patient=best.run.config.same_patient)
        if not best.matched or not set(result.confidence.doubts) <= set(of_headers):
            return None
        return cls(
            camera_from_world=result.camera_from_world,
            edges=best.confidence.edges,
            reading=best.reading.name,
            part=best.run.whole is not None,
            geometry=KnownGeometry.of(best),
        )

    def schedule(self, config: RegistrationConfig) -> tuple[RegistrationConfig, ConfidenceConfig | None]:
        """The configuration that the ladder ran with, and thresholds for a CT that is no part, after all."""
        return (config.for_part(), config.confidence) if self.part else (config, None)

    def document(self) -> dict[str, Any]:
        """For `restored`, as JSON can hold it; geometry with infinite numbers has to be looked at anew."""
        known = None if self.geometry is None else self.geometry.document()
        return {
            "camera_from_world": self.camera_from_world.tolist(),
            "edges": self.edges,
            "reading": self.reading,
            "part": self.part,
            "geometry": known if _finite(known) else None,
        }

    @classmethod
    def restored(cls, document: Mapping[str, Any]) -> Trusted:
        """What `document` has written.

        Raises:
            InputError: it is something else.
        """
        try:
            known = document["geometry"]
            return cls(
                camera_from_world=_matrix(document["camera_from_world"]),
                edges=float(document["edges"]),
                reading=str(document["reading"]),
                part=bool(document["part"]),
                geometry=None if known is None else KnownGeometry.restored(known),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the state of a session is damaged: {error}", code="registration.invalid-state"
            ) from error


def moved(before: Tensor, after: Tensor, isocentre: Tensor) -> tuple[Tensor, float]:
    """How far the CT's centre moved in the camera's axes [3] [mm], and by what angle the CT turned [deg]."""
    centres = [pose[:3, :3] @ isocentre + pose[:3, 3] for pose in (before, after)]
    return centres[1] - centres[0], float(se3.rotation_angle_deg(before, after))


def _finite(value: Any) -> bool:
    """Whether all numbers in a document are finite."""
    if isinstance(value, Mapping):
        return all(map(_finite, value.values()))
    if isinstance(value, list | tuple):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _matrix(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)
