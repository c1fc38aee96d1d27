"""A CT that is prepared once, and X-rays of the patient that are registered to it one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from threading import RLock
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError, UsageError
from ..volumes import Volume, XRay, tell, written_poses
from ._follow import followed
from ._inputs import identity_findings
from ._progress import Watch
from ._register import Model, registered
from ._search_bank import SearchBank
from ._trusted import Trusted
from .config import RegistrationConfig
from .initialize import check_sees
from .result import RegistrationResult
from .session_config import FollowConfig
from .views import View, stacked_views

_DEFAULT = RegistrationConfig()
_FOLLOW = FollowConfig()

# One at a time in a process: the kernels use all cores anyway, and numba's plainest threading layer must not
# be entered by two threads. Whoever renders in a thread beside sessions takes this lock, too.
COMPUTING = RLock()


class Session:
    """A CT with everything derived from it, kept warm for the X-rays of an operation.

    What is kept are the CT's resolutions, its points and borders, what searches rendered, and the last pose
    that may be relied on. Results are those of `isoclinic.register`; only their time differs.

    Where several X-rays are taken at a time, as by a biplane unit, give their views in place of the one
    X-ray; poses are those of the first one's camera.

    Several threads may use one session, and several sessions may be used at once: registrations take turns,
    and each X-ray is followed from the result that was complete before it began.

    Args:
        ct: the CT.
        config: the schedule and all else.
        model: the networks, as for `register`.
        follow: settings of how X-rays are followed.
    """

    def __init__(
        self,
        ct: Volume,
        config: RegistrationConfig = _DEFAULT,
        *,
        model: Model | None = None,
        follow: FollowConfig = _FOLLOW,
    ) -> None:
        self._ct = ct
        self._config = config
        self._model = model
        self._follow = follow
        self._bank = SearchBank()
        self._init: Any = None
        self._last: RegistrationResult | None = None
        self._begun = False
        self._trusted: Trusted | None = None

    @property
    def ct(self) -> Volume:
        """The CT."""
        return self._ct

    @property
    def config(self) -> RegistrationConfig:
        """The schedule and all else."""
        return self._config

    @property
    def last(self) -> RegistrationResult | None:
        """The last result, whatever it is worth; None before the first."""
        return self._last

    @property
    def last_pose(self) -> Tensor | None:
        """The last pose that may be relied on [4, 4], from which X-rays are followed; None before any."""
        with COMPUTING:
            return None if self._trusted is None else self._trusted.camera_from_world.clone()

    def forget(self) -> None:
        """Forget the poses, but not what was prepared: for another position of the patient."""
        with COMPUTING:
            self._init, self._last, self._trusted, self._begun = None, None, None, False

    def state(self) -> dict[str, Any]:
        """What the next X-ray is followed from, as JSON can hold it: for another session, or another day."""
        with COMPUTING:
            trusted = self._trusted
            return {"begun": self._begun, "trusted": None if trusted is None else trusted.document()}

    def restore(self, state: Mapping[str, Any], init: Any = None) -> None:
        """Go on from a `state`, of a session with the same CT and configuration.

        Args:
            state: what the other session has written.
            init: that its last call of `register` was given.

        Raises:
            InputError: it is no state.
        """
        trusted = state.get("trusted")
        restored = None if trusted is None else Trusted.restored(trusted)
        with COMPUTING:
            self._last, self._trusted = None, restored
            self._init, self._begun = init, bool(state.get("begun"))

    def register(
        self, xray: XRay | Sequence[View], init: Any = None, *, watch: Watch | None = None
    ) -> RegistrationResult:
        """Register an X-ray as `isoclinic.register` does, from `init`, whatever came before.

        Args:
            xray: the X-ray with its camera, or the views of several; see `register_views`.
            init: where to start; see `isoclinic.register`.
            watch: called with the `Progress` before every step, in this thread; what it raises ends the
                registration, and the last pose stays what it was.

        Raises:
            InputError: as for `isoclinic.register`. The last pose stays what it was.
            UsageError: as for `isoclinic.register`.

        Warns:
            GeometryWarning: as for `isoclinic.register`.
        """
        with COMPUTING:
            result = self._registered(_views(xray), init, watch)
            self._init = init
            return result

    def follow(self, xray: XRay | Sequence[View], start: Any = None) -> RegistrationResult:
        """Register an X-ray from the last pose that may be relied on.

        The last stages of the schedule run from there, without a search. Where they lead to no match, to one
        that is much worse than the last that was searched for, far away, or in any doubt, the whole ladder of
        `isoclinic.register` runs from that pose, and its result counts. Where no result so far may be relied
        on, the ladder runs from the `init` of the last call of `register`.

        `RegistrationResult.attempt.start` is "the last pose" where the X-ray was followed. What intrinsics do
        to the expected error is taken over from the last time that it was looked at, if the camera is the
        same and the pose near (`FollowConfig`).

        Args:
            xray: the X-ray with its camera, or the views of several; see `register_views`.
            start: camera_from_world [4, 4] to begin at instead, such as what the motion so far leads to; or
                several [B, 4, 4], the likeliest first, of which the one that matches best counts.

        Raises:
            InputError: as for `isoclinic.register`. The last pose stays what it was.
            UsageError: nothing was registered yet.

        Warns:
            GeometryWarning: as for `isoclinic.register`.
        """
        with COMPUTING:
            if not self._begun:
                raise UsageError(
                    "nothing was registered yet that could be followed: call `register` first",
                    code="session.nothing-to-follow",
                )
            views, trusted = _views(xray), self._trusted
            if trusted is None:
                return self._registered(views, self._init)
            poses = [trusted.camera_from_world] if start is None else _poses(start)
            starts = self._seeing(views, poses)
            found = followed(self._ct, views, starts, trusted, self._config, self._follow)
            if found is None:
                return self._registered(views, starts[0])
            if not self._config.same_patient:
                tell(identity_findings(self._ct, [view.xray for view in views]))
            self._last, self._trusted = found
            return self._last

    def _registered(self, views: Sequence[View], init: Any, watch: Watch | None = None) -> RegistrationResult:
        result, best = registered(
            self._ct, views, init, self._config, model=self._model, bank=self._bank, watch=watch
        )
        self._last, self._begun = result, True
        self._trusted = Trusted.of(self._ct, result, best) or self._trusted
        return result

    def _seeing(self, views: Sequence[View], starts: Sequence[Tensor]) -> list[Tensor]:
        """The starts [4, 4] from which every X-ray sees the CT.

        Raises:
            InputError: there is none.
        """
        seeing, why = [], None
        for start in starts:
            try:
                for view, pose in zip(views, stacked_views(views) @ start, strict=True):
                    check_sees(self._ct, view.xray, pose, "the start")
            except InputError as error:
                why = why or error
                continue
            seeing.append(start)
        if not seeing:
            assert why is not None
            raise why
        return seeing


def _views(xray: XRay | Sequence[View]) -> Sequence[View]:
    return [View(xray=xray)] if isinstance(xray, XRay) else xray


def _poses(start: Any) -> list[Tensor]:
    poses = torch.as_tensor(written_poses(start, "start"), dtype=torch.float64)
    return list(poses.reshape(-1, 4, 4).unbind())
