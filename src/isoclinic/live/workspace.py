"""The workspace behind a live page: one state for all browsers, changed by one of them at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import IsoclinicError, UsageError
from ..geometry import nearest_poses
from ..registration import PRESETS, Session, read_initial_pose
from ..registration.initialize import ANY, MODEL, check_sees, initial_pose
from ..volumes import Volume
from .frames import FrameRenderer
from .journal import MASKS, Journal
from .plan import LivePlan, recorded
from .scene import Scene, SceneReader, SceneView, structure_labels
from .slices import CTSlices
from .state import GivenFile, Rows, Step, WorkspaceState


class Workspace:
    """Files, pose, landmarks, masks and results behind a page, on disk before anybody is told of them.

    A change names the revision that it was made for. Where another browser has changed the workspace
    meanwhile, it is refused, so that changes of two browsers are never mixed.

    Args:
        plan: what the page is made for.
        tell: called after every change.

    Raises:
        UsageError: the folder is in use, was made for other files, or holds something else.
        InputError: a file that the plan names cannot be used.
    """

    def __init__(self, plan: LivePlan, tell: Callable[[], None]) -> None:
        self.plan = plan
        self.tell = tell
        self.journal = Journal(plan.output)
        self._lock = threading.RLock()
        self._busy = threading.Lock()
        self._sessions: dict[tuple[str, ...], Session] = {}
        self._session_of: Volume | None = None
        self._slices: tuple[Volume, CTSlices] | None = None
        self.doing = ""
        try:
            self.reader = SceneReader(
                options=plan.xray_options,
                preprocess=plan.registration.preprocess,
                wording=plan.wording,
                mask_path=lambda: self.journal.new_path(MASKS, ".png"),
            )
            known = self.journal.read()
            self._state = WorkspaceState() if known is None else WorkspaceState.restored(known)
            self._begin()
        except BaseException:
            self.journal.close()
            raise

    @property
    def state(self) -> WorkspaceState:
        """What is kept, as it is now."""
        with self._lock:
            return self._state

    @property
    def scene(self) -> Scene:
        """What was read, as it is now."""
        with self._lock:
            return self._scene

    @property
    def frames(self) -> FrameRenderer | None:
        """Renders the CT; None where there is nothing to render, or to render it in."""
        with self._lock:
            return self._frames

    def close(self) -> None:
        """Let another process use the folder."""
        self.journal.close()

    @contextmanager
    def occupied(self, doing: str) -> Iterator[None]:
        """Keep everybody else from changing the workspace.

        Raises:
            UsageError: somebody else does already.
        """
        if not self._busy.acquire(blocking=False):
            raise UsageError(
                f"wait until this is done: {self.doing or 'another change'}; or cancel it", code="view.busy"
            )
        try:
            self.doing = doing
            yield
        finally:
            self.doing = ""
            self._busy.release()

    def check(self, revision: Any) -> None:
        """Refuse a change that was made for another revision.

        Raises:
            UsageError: it was.
        """
        if revision != self.state.revision:
            raise UsageError(
                "another window has changed this meanwhile; its state is shown now, and your last change was "
                "not made",
                code="view.conflict",
            )

    def change(self, revision: Any, change: Callable[[WorkspaceState], WorkspaceState], doing: str) -> None:
        """Make a change, and read what it needs to have read.

        Args:
            revision: for which the change was made.
            change: gives the new state.
            doing: what is done, for people who have to wait.

        Raises:
            IsoclinicError: it is refused; then nothing has changed.
        """
        with self.occupied(doing):
            self.check(revision)
            self.put(change(self.state))
        self.tell()

    def put(self, state: WorkspaceState) -> None:
        """Keep a new state; whoever calls this occupies the workspace.

        Raises:
            IsoclinicError: it cannot be used or written; then nothing has changed.
        """
        scene = self.reader.read(state, (self._state, self._scene))
        state = self._with_start(state, scene)
        state = replace(state, revision=self._state.revision + 1)
        self.journal.write(state.document())
        with self._lock:
            before, self._state = self._state, state
            self._show(scene, before)

    def session(self, state: WorkspaceState) -> Session:
        """The CT, prepared for registrations of the chosen structures."""
        volume = self.scene.volume
        assert volume is not None
        if volume is not self._session_of:
            self._sessions, self._session_of = {}, volume
        names = state.bones if state.bones_mode == "as-one" else ()
        if names not in self._sessions:
            self._sessions[names] = Session(volume, self.registration(state), model=self.plan.model)
        return self._sessions[names]

    def registration(self, state: WorkspaceState) -> Any:
        """Settings of the registration, with the structures that the page has chosen."""
        if state.bones_mode != "as-one" or not state.bones:
            return self.plan.registration
        return replace(self.plan.registration, structures=named(state.bones))

    def slices(self) -> CTSlices:
        """The CT for landmarks.

        Raises:
            UsageError: there is none.
        """
        volume = self.scene.volume
        if volume is None:
            raise UsageError("give a CT first", code="view.incomplete")
        with self._lock:
            if self._slices is None or self._slices[0] is not volume:
                self._slices = (volume, CTSlices(volume))
            return self._slices[1]

    def initial(self, scene: Scene, init: str) -> Tensor:
        """The pose [4, 4] that a start by its name or file means.

        Raises:
            IsoclinicError: there is none.
        """
        if scene.volume is None or not scene.shown:
            raise UsageError("give a CT and an X-ray first", code="view.incomplete")
        wanted = None if init in ("", MODEL) else init
        return initial_pose(scene.volume, scene.shown[0].xray, wanted).camera_from_world

    def pose(self, rows: Rows) -> Rows:
        """A pose from outside as the nearest rigid motion, which shows the CT.

        Raises:
            InputError: it does not.
        """
        scene, pose = self.scene, self.rigid(rows)
        if scene.volume is not None and scene.shown:
            check_sees(scene.volume, scene.shown[0].xray, pose, "moved by hand")
        return rows_of(pose)

    @staticmethod
    def rigid(rows: Rows) -> Tensor:
        """The rigid motion [4, 4] nearest to numbers from outside.

        Raises:
            InputError: they are far from one.
        """
        nearest, _ = nearest_poses([list(each) for each in rows], "the pose")
        return nearest[0]

    def read_pose(self, path: Path) -> Rows:
        """The pose in a file.

        Raises:
            InputError: there is none, or it does not show the CT.
        """
        with recorded(self.plan.wording):
            return self.pose(rows_of(read_initial_pose(path)))

    def starts(self, scene: Scene) -> list[str]:
        """Names of starts that are possible."""
        if scene.volume is None or not scene.shown:
            return []
        xray = scene.shown[0].xray
        return [*(["dicom"] if xray.primary_angle_deg is not None else []), *PRESETS, ANY]

    def _begin(self) -> None:
        plan = self.plan
        given = WorkspaceState(
            ct=_given(plan.volume),
            xrays=tuple(GivenFile(path=str(each), name=each.name) for each in plan.xrays),
            labels=_given(plan.labels),
            views=_given(plan.views),
        )
        begun = self._state.revision > 0
        asked = given.ct is not None or given.xrays or given.labels is not None or given.views is not None
        if begun and asked and not _same_files(given, self._state):
            raise UsageError(
                f"{plan.output} is the workspace of other files; choose another `output` for these, or name "
                "no files to go on with it",
                code="output.of-other-settings",
            )
        state = self._state if begun else given
        scene = self.reader.read(state)
        if not begun:
            for told in scene.told.values():
                if told.problem is not None:
                    # As of every other command: what it was given must be usable.
                    told.problem.raise_it()
        state = self._with_start(state, scene)
        if state is not self._state:
            state = replace(state, revision=self._state.revision + 1)
            self.journal.write(state.document())
        self._state = state
        self._show(scene, WorkspaceState())

    def _with_start(self, state: WorkspaceState, scene: Scene) -> WorkspaceState:
        """With a first pose as soon as there can be one; one that follows from what was read follows anew."""
        step = state.step
        if scene.volume is None or not scene.shown or (step is not None and not step.init):
            return state
        init = str(self.plan.init or "") if step is None else step.init
        if not init:
            init = "ap" if scene.shown[0].xray.primary_angle_deg is None else "dicom"
        try:
            pose = rows_of(self.initial(scene, init))
        except IsoclinicError:
            if step is None and self.plan.init:
                raise
            return state
        if step is not None and step.camera_from_world == pose:
            return state
        return state.stepped(
            Step(camera_from_world=pose, label=f"start: {Path(init).name}", init=init), self.plan.live.steps
        )

    def _show(self, scene: Scene, before: WorkspaceState) -> None:
        """Take a scene, and prepare what renders it where that is another one."""
        old: Scene | None = getattr(self, "_scene", None)
        state = self._state
        structures = _structures(state)
        same = old is not None and old.volume is scene.volume and old.xrays == scene.xrays
        same = same and old is not None and old.view_from_first is scene.view_from_first
        same = same and _structures(before) == structures
        self._scene = scene
        if same and self._frames is not None:
            return
        self._frames: FrameRenderer | None = None
        shown: tuple[SceneView, ...] = scene.shown
        if scene.volume is not None and shown and scene.view_from_first is not None:
            backend, moving_px = self.plan.registration.backend, self.plan.live.moving_px
            self._frames = FrameRenderer(scene.volume, shown, structures, backend, moving_px)


def named(bones: tuple[str, ...]) -> tuple[int | str, ...]:
    """Structures by their names, or by labels that were given as text."""
    return tuple(int(each) if each.isdecimal() else each for each in bones)


def rows_of(pose: Tensor) -> Rows:
    """A pose [4, 4] as plain numbers."""
    return tuple(tuple(map(float, row)) for row in pose.reshape(4, 4).tolist())


def tensor_of(rows: Rows) -> Tensor:
    """A pose [4, 4] of plain numbers."""
    return torch.tensor(rows, dtype=torch.float64)


def check_bones(volume: Volume | None, mode: str, bones: tuple[str, ...]) -> None:
    """Refuse a choice of structures that the CT does not have.

    Raises:
        UsageError: there is such a structure, or none was chosen.
    """
    if mode == "whole":
        return
    if volume is None or volume.labels is None:
        raise UsageError("give a label map of the CT first", code="labels.missing")
    if not bones:
        raise UsageError("choose at least one structure", code="structures.invalid-value")
    unknown = [each for each in bones if each not in structure_labels(volume)]
    if unknown:
        raise UsageError(f"the label map has no {', '.join(unknown)}", code="labels.structure-missing")


def _structures(state: WorkspaceState) -> tuple[int | str, ...] | None:
    return named(state.bones) if state.bones_mode == "as-one" and state.bones else None


def _given(path: Path | None) -> GivenFile | None:
    return None if path is None else GivenFile(path=str(path), name=path.name)


def _same_files(given: WorkspaceState, known: WorkspaceState) -> bool:
    """Whether all files that were given are those that are known."""
    pairs: list[tuple[Any, Any]] = [
        (given.ct, known.ct),
        (given.labels, known.labels),
        (given.views, known.views),
    ]
    if given.xrays:
        pairs.append((given.xrays, known.xrays))
    return all(one is None or one == other for one, other in pairs)
