"""Tracking: the X-rays of a run one after another, each from where the motion so far leads."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, UsageError
from ..geometry import se3
from ..solver import Status
from ..volumes import XRay
from ._follow import FOLLOWED
from .result import RegistrationResult
from .session import Session
from .track_config import TrackConfig
from .views import View, camera_from_gantry

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
            return (self.unusable,) if self.unusable else ()
        if self.result.status is Status.DIVERGED:
            return ("the registration diverged", *self.result.confidence.doubts)
        return self.result.confidence.doubts


@dataclass(frozen=True, kw_only=True, eq=False)
class _Seen:
    """A frame whose pose may be relied on.

    Attributes:
        index: of the frame.
        time_s: when it was taken [s].
        pose: camera_from_world [4, 4] of its first X-ray.
        gantry: where its header says that the C-arm stood, camera_from_gantry [4, 4]; None where it does not.
    """

    index: int
    time_s: float
    pose: Tensor
    gantry: Tensor | None

    def carried(self, gantry: Tensor | None) -> Tensor:
        """Its pose [4, 4] after the C-arm has moved to another place, as headers say; the patient at rest."""
        if gantry is None or self.gantry is None or torch.equal(gantry, self.gantry):
            return self.pose
        return gantry @ se3.inverse(self.gantry) @ self.pose


class Tracker:
    """Follows the pose through the frames of a run, in the order in which they were taken.

    A frame starts where the last poses that may be relied on lead, at the constant velocity of the tangent of
    `se3.perturb` that fits them best, or at the last one, whichever matches better. Where headers say that
    the C-arm turned, these poses turn with it. Nothing of the frames before is kept besides, so that runs may
    be long.

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
        self._before: tuple[tuple[XRay, ...], TrackedFrame] | None = None
        self._seen: list[_Seen] = []
        self._begun = False

    def add(self, xray: XRay | Sequence[View], time_s: float | None = None) -> TrackedFrame:
        """Register the next frame.

        A frame that cannot be used is returned as such. It does not end the run.

        Args:
            xray: the frame with its camera, which may change from frame to frame; or the views of several
                X-rays that were taken at once, see `register_views`.
            time_s: when it was taken [s]; give it for all frames or for none.

        Raises:
            UsageError: a time that is not after that of the frame before.

        Warns:
            GeometryWarning: as for `isoclinic.register`.
        """
        time_s = self._next_time(time_s)
        views = [View(xray=xray)] if isinstance(xray, XRay) else list(xray)
        xrays = tuple(view.xray for view in views)
        if self._before is not None and _all_equal(xrays, self._before[0]):
            before = self._before[1]
            return self._done(
                TrackedFrame(index=self._index, time_s=time_s, result=before.result, unchanged=True)
            )
        gantry = camera_from_gantry(xrays[0])
        expected, starts = self._expected(time_s, gantry), self._last_poses(gantry)
        if expected is not None:
            starts.insert(0, expected)
        try:
            if not self._begun:
                result = self._session.register(views, self._init)
                self._begun = True
            else:
                result = self._session.follow(views, torch.stack(starts) if starts else None)
        except InputError as error:
            self._before = None
            return self._done(
                TrackedFrame(index=self._index, time_s=time_s, result=None, unusable=str(error))
            )
        frame = TrackedFrame(
            index=self._index,
            time_s=time_s,
            result=result,
            searched=result.attempt.start != FOLLOWED,
            jumped=bool(starts) and self._far(starts[0], result.camera_from_world),
        )
        self._before = xrays, frame
        if not frame.doubts:
            # A jump is no motion to go on with.
            kept = [] if frame.jumped else self._seen[1 - self._config.history :]
            seen = _Seen(index=self._index, time_s=time_s, pose=result.camera_from_world, gantry=gantry)
            self._seen = [*kept, seen]
        return self._done(frame)

    def state(self) -> dict[str, Any]:
        """What the next frame depends on, as JSON can hold it: to go on with the run later."""
        return {
            "index": self._index,
            "time_s": self._time_s if math.isfinite(self._time_s) else None,
            "seen": [
                {
                    "index": each.index,
                    "time_s": each.time_s,
                    "pose": each.pose.tolist(),
                    "gantry": None if each.gantry is None else each.gantry.tolist(),
                }
                for each in self._seen
            ],
            "before": self._before is not None,
            "session": self._session.state(),
        }

    def restore(self, state: Mapping[str, Any], before: XRay | Sequence[View] | None = None) -> None:
        """Go on from a `state`, of a tracker with the same CT, start and configurations.

        Args:
            state: what the other tracker has written.
            before: the last frame that it was given, by which an unchanged one is known; such a frame then
                comes back without a result. It does not count where that frame was unusable.

        Raises:
            InputError: it is no state.
        """
        try:
            time_s = state["time_s"]
            seen = [
                _Seen(
                    index=int(each["index"]),
                    time_s=float(each["time_s"]),
                    pose=_matrix(each["pose"]),
                    gantry=None if each["gantry"] is None else _matrix(each["gantry"]),
                )
                for each in state["seen"]
            ]
            index, session = int(state["index"]), dict(state["session"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the state of a run is damaged: {error}", code="registration.invalid-state"
            ) from error
        self._session.restore(session, self._init)
        self._index, self._seen, self._begun = index, seen, bool(session.get("begun"))
        self._time_s = -math.inf if time_s is None else float(time_s)
        self._before = None
        if before is not None and state.get("before"):
            views = [View(xray=before)] if isinstance(before, XRay) else before
            last = TrackedFrame(index=index - 1, time_s=self._time_s, result=None)
            self._before = tuple(view.xray for view in views), last

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

    def _last_poses(self, gantry: Tensor | None) -> list[Tensor]:
        """The last pose, moved with the C-arm where headers say that it moved, and as it was [4, 4]."""
        if not self._seen:
            return []
        last = self._seen[-1]
        carried = last.carried(gantry)
        return [carried] if carried is last.pose else [carried, last.pose]

    def _expected(self, time_s: float, gantry: Tensor | None) -> Tensor | None:
        """Where the motion so far leads [4, 4]; None where it says nothing."""
        seen = self._recent()
        if len(seen) < 2:
            return None
        last = seen[-1].carried(gantry)
        poses = torch.stack([each.carried(gantry) for each in seen])
        times = torch.tensor([each.time_s - seen[-1].time_s for each in seen], dtype=torch.float64)
        tangents = se3.perturbation(last, poses, self._isocentre)
        # A line in time through the tangents, by least squares.
        middle, mean = times.mean(), tangents.mean(dim=0)
        slope = ((times - middle) @ (tangents - mean)) / (times - middle).square().sum()
        expected = se3.perturb(last, mean + slope * (time_s - seen[-1].time_s - middle), self._isocentre)
        # What leads as far as a jump between two frames is no smooth motion.
        return None if self._far(last, expected) else expected

    def _recent(self) -> list[_Seen]:
        """The last poses that the motion can be told from: none of them long ago."""
        recent: list[_Seen] = []
        index = self._index
        for each in reversed(self._seen):
            if index - each.index > self._config.gap + 1:
                break
            recent.insert(0, each)
            index = each.index
        return recent

    def _far(self, one: Tensor, other: Tensor) -> bool:
        tangent = se3.perturbation(one, other, self._isocentre)
        across_mm, angle_deg = float(tangent[3:5].norm()), math.degrees(float(tangent[:3].norm()))
        # Negated, so that what is not a number is far.
        return not (across_mm <= self._config.jump_mm and angle_deg <= self._config.jump_deg)

    @property
    def _isocentre(self) -> Tensor:
        return torch.from_numpy(self._session.ct.isocentre_world)


def _matrix(rows: Any) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _all_equal(ones: Sequence[XRay], others: Sequence[XRay]) -> bool:
    return len(ones) == len(others) and all(map(_equal, ones, others))


def _equal(one: XRay, other: XRay) -> bool:
    return (
        one.camera == other.camera
        and one.primary_angle_deg == other.primary_angle_deg
        and one.secondary_angle_deg == other.secondary_angle_deg
        and one.polarity == other.polarity
        and one.pixel_scale == other.pixel_scale
        and np.array_equal(one.pixels, other.pixels)
        and (one.excluded is None) == (other.excluded is None)
        and (one.excluded is None or other.excluded is None or np.array_equal(one.excluded, other.excluded))
    )
