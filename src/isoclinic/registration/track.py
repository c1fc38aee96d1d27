"""Tracking: the X-rays of a run one after another, each from where the motion so far leads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, UsageError
from ..geometry import se3
from ..volumes import XRay
from ._follow import FOLLOWED
from .result import RegistrationResult
from .session import Session
from .track_config import TrackConfig

_DEFAULT = TrackConfig()


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackedFrame:
    """The result of one frame of a run.

    Attributes:
        index: number of the frame, counted from 0.
        time_s: time at which the frame was taken [s]; its index where the time is unknown.
        result: result of the frame's registration, or of the frame that it equals; None where it could not be
            used.
        searched: whether the pose was searched for, as it is for the first frame and for lost ones.
        unchanged: its pixels are those of the frame before, whose result it has.
        jumped: whether the pose is far from where the motion so far leads.
        unusable: why it could not be registered; empty where it could.
    """

    index: int
    time_s: float
    result: RegistrationResult | None
    searched: bool = False
    unchanged: bool = False
    jumped: bool = False
    unusable: str = ""

    @property
    def camera_from_world(self) -> Tensor | None:
        """The pose [4, 4], doubtful or not; None where the frame has no result."""
        return None if self.result is None else self.result.camera_from_world

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons not to rely on its pose."""
        if self.result is None:
            return (self.unusable,)
        return self.result.confidence.doubts


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """A frame whose pose may be relied on."""

    index: int
    time_s: float
    pose: Tensor


class Tracker:
    """Follows the pose through the frames of a run, in the order in which they were taken.

    The start of each frame is where the last two poses that may be relied on lead, at constant velocity of
    the tangent of `se3.perturb`. Nothing of the frames before is kept besides, so that runs may be long.

    Args:
        session: a session of the patient's CT. It forgets earlier poses; use it for nothing else meanwhile.
        init: the start of the first frame; see `isoclinic.register`.
        config: limits beyond which frames are marked.
    """

    def __init__(self, session: Session, init: Any = None, config: TrackConfig = _DEFAULT) -> None:
        session.forget()
        self._session = session
        self._init = init
        self._config = config
        self._index = 0
        self._time_s = -math.inf
        self._before: tuple[XRay, TrackedFrame] | None = None
        self._seen: list[_Seen] = []

    def add(self, xray: XRay, time_s: float | None = None) -> TrackedFrame:
        """Register the next frame.

        A frame that cannot be used is returned as such. It does not end the run.

        Args:
            xray: the frame with its camera, which may change from frame to frame.
            time_s: time at which the frame was taken [s]; give it for all frames or for no frame.

        Raises:
            UsageError: a time that is not after that of the frame before.

        Warns:
            GeometryWarning: as for `isoclinic.register`.
        """
        time_s = self._next_time(time_s)
        if self._before is not None and _equal(xray, self._before[0]):
            before = self._before[1]
            return self._done(
                TrackedFrame(index=self._index, time_s=time_s, result=before.result, unchanged=True)
            )
        expected = self._expected(time_s)
        try:
            if self._session.last is None:
                result = self._session.register(xray, self._init)
            else:
                result = self._session.follow(xray, expected)
        except InputError as error:
            self._before = None
            return self._done(
                TrackedFrame(index=self._index, time_s=time_s, result=None, unusable=str(error))
            )
        reference = expected if expected is not None else self._last_pose()
        frame = TrackedFrame(
            index=self._index,
            time_s=time_s,
            result=result,
            searched=result.attempt.start != FOLLOWED,
            jumped=reference is not None and self._far(reference, result.camera_from_world),
        )
        self._before = xray, frame
        if not result.confidence.doubts:
            # A jump is no motion to go on with.
            kept = [] if frame.jumped else self._seen[-1:]
            self._seen = [*kept, _Seen(index=self._index, time_s=time_s, pose=result.camera_from_world)]
        return self._done(frame)

    def skip(self, reason: str, time_s: float | None = None) -> TrackedFrame:
        """Count a frame that could not be read, or that is missing.

        Args:
            reason: why, for people to read.
            time_s: see `add`.

        Raises:
            UsageError: as for `add`.
        """
        time_s = self._next_time(time_s)
        self._before = None
        return self._done(TrackedFrame(index=self._index, time_s=time_s, result=None, unusable=reason))

    def _next_time(self, time_s: float | None) -> float:
        value = float(self._index) if time_s is None else float(time_s)
        if not (math.isfinite(value) and value > self._time_s):
            raise UsageError(
                f"time_s of frame {self._index} is {value:g} s, which is not after {self._time_s:g} s, the "
                "time of the frame before",
                code="registration.invalid-value",
            )
        self._time_s = value
        return value

    def _done(self, frame: TrackedFrame) -> TrackedFrame:
        self._index += 1
        return frame

    def _last_pose(self) -> Tensor | None:
        return self._seen[-1].pose if self._seen else None

    def _expected(self, time_s: float) -> Tensor | None:
        """Where the motion so far leads [4, 4]; None where it says nothing."""
        if len(self._seen) < 2:
            return None
        first, second = self._seen
        if max(self._index - second.index, second.index - first.index) > self._config.gap + 1:
            return None
        step = se3.perturbation(first.pose, second.pose, self._isocentre)
        share = (time_s - second.time_s) / (second.time_s - first.time_s)
        expected = se3.perturb(second.pose, share * step, self._isocentre)
        # What leads as far as a jump between two frames is no smooth motion.
        return None if self._far(second.pose, expected) else expected

    def _far(self, one: Tensor, other: Tensor) -> bool:
        tangent = se3.perturbation(one, other, self._isocentre)
        across_mm, angle_deg = float(tangent[3:5].norm()), math.degrees(float(tangent[:3].norm()))
        # Negated, so that what is not a number is far.
        return not (across_mm <= self._config.jump_mm and angle_deg <= self._config.jump_deg)

    @property
    def _isocentre(self) -> Tensor:
        return torch.from_numpy(self._session.ct.isocentre_world)


def _equal(one: XRay, other: XRay) -> bool:
    return (
        one.camera == other.camera
        and one.polarity == other.polarity
        and one.pixel_scale == other.pixel_scale
        and np.array_equal(one.pixels, other.pixels)
        and (one.excluded is None) == (other.excluded is None)
        and (one.excluded is None or other.excluded is None or np.array_equal(one.excluded, other.excluded))
    )
