"""Registrations behind a live page: in a thread of their own, watched, cancelled, and saved when they end."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import IsoclinicError, UsageError
from ..provenance import InputFile, Provenance
from ..registration import (
    PoseFile,
    RegistrationResult,
    StructureResult,
    register_structures,
)
from ..registration._progress import Progress
from ..registration.session import COMPUTING
from ..results import Registered, check_not_diverged, verdict, write_result
from ..results.geometry_check import depth_note
from ..results.registered import moved_text, rescue_tried
from ..solver import Status
from .frames import Frame
from .journal import RESULTS, STARTS
from .plan import recorded
from .scene import Scene
from .state import SavedResult, Step, WorkspaceState
from .workspace import Workspace, named, rows_of, tensor_of

# The page shows no more pictures of a running registration than this [1/s].
_PICTURES_PER_SECOND = 10.0


class Cancelled(Exception):
    """Somebody does not want the result; no error that a registration knows, so that it ends it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Running:
    """A registration that runs, or the last one that did.

    Attributes:
        active: whether it runs.
        stage: what it does.
        seconds: how long it has run.
        count: of the poses that were shown.
        camera_from_world: the pose that was shown last [4, 4].
        frames: what the X-rays show there.
        error: why it has ended without a result: message and code.
    """

    active: bool = False
    stage: str = ""
    seconds: float = 0.0
    count: int = 0
    camera_from_world: Tensor | None = None
    frames: tuple[Frame, ...] = ()
    error: tuple[str, str] | None = None

    def document(self) -> dict[str, Any]:
        """What the page is told."""
        pose = self.camera_from_world
        return {
            "active": self.active,
            "stage": self.stage,
            "seconds": self.seconds,
            "count": self.count,
            "pose": None if pose is None else pose.tolist(),
            "error": None if self.error is None else {"message": self.error[0], "code": self.error[1]},
        }


class Registering:
    """Runs one registration of a workspace at a time.

    Args:
        workspace: whose.
        tell: called whenever there is something new to be told.
    """

    def __init__(self, workspace: Workspace, tell: Callable[[], None]) -> None:
        self._workspace = workspace
        self._tell = tell
        self._running = Running()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> Running:
        """Where it has come to."""
        return self._running

    def begin(self, revision: Any) -> None:
        """Register from the pose in use, and return at once.

        Raises:
            UsageError: it cannot be begun.
        """
        began, failed = threading.Event(), []

        def run() -> None:
            try:
                with self._workspace.occupied("a registration"):
                    self._workspace.check(revision)
                    state, scene = self._workspace.state, self._workspace.scene
                    if not scene.ready or state.step is None:
                        raise UsageError(
                            "give a CT and an X-ray first, and settle what cannot be read",
                            code="view.incomplete",
                        )
                    self._stop.clear()
                    self._running = Running(active=True, stage="preparing")
                    began.set()
                    self._run(state, scene)
            except IsoclinicError as error:
                failed.append(error)
            finally:
                began.set()
                self._tell()

        thread = threading.Thread(target=run, name="registration", daemon=True)
        thread.start()
        began.wait()
        if failed:
            raise failed[0]
        self._thread = thread

    def cancel(self) -> None:
        """End the registration that runs, if one does, as soon as its next step begins."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Wait for the end of the registration that runs, if one does."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, state: WorkspaceState, scene: Scene) -> None:
        """Register and save; whatever goes wrong is told on the page."""
        began = time.monotonic()
        # Should anything else be raised, its trace goes where the program was started.
        error: tuple[str, str] | None = ("the program is at fault: its terminal says more", "")
        try:
            self._workspace.put(self._registered(state, scene, began))
            error = None
        except Cancelled:
            error = ("cancelled; the pose is what it was", "")
        except IsoclinicError as found:
            error = (self._workspace.plan.wording(str(found)), found.code)
        except MemoryError as found:
            error = (f"not enough memory: {found}", "")
        except OSError as found:
            error = (f"{found.filename}: {found.strerror}", "input.unreadable")
        finally:
            self._running = replace(
                self._running, active=False, seconds=time.monotonic() - began, error=error, frames=()
            )

    def _registered(self, state: WorkspaceState, scene: Scene, began: float) -> WorkspaceState:
        workspace, plan = self._workspace, self._workspace.plan
        assert state.step is not None and scene.volume is not None
        self._show("preparing; the first time, this compiles the renderer", began)
        files, init = self._inputs(state)
        provenance = self._provenance(state, files, init)
        views, volume = scene.views, scene.volume
        with recorded(plan.wording) as said:
            result = workspace.session(state).register(
                views, str(init) if init else None, watch=self._watch(began)
            )
            check_not_diverged(result)
            result = self._worded(result)
            structures = self._structures(state, scene, result, began)
        if plan.last_resort is not None and rescue_tried(result):
            provenance = replace(provenance, model=plan.last_resort())
        self._show("saving", began)
        registered = Registered(
            volume=volume,
            result=result,
            xrays=list(result.xrays),
            config=workspace.registration(state),
            provenance=provenance,
            structures=structures,
            views_source=state.views.path if state.views else "C-arm angles",
        )
        place = workspace.journal.new_path(RESULTS, "")
        with COMPUTING:
            write_result(
                place, registered, warnings=[*scene.warnings, *said], reproduce=provenance.command or ""
            )
        return _with_result(state, registered, int(place.name), plan.live.steps)

    def _inputs(self, state: WorkspaceState) -> tuple[dict[str, Path], str | Path]:
        """Files that the result depends on besides CT and X-rays, by their options, and the start."""
        workspace = self._workspace
        assert state.step is not None
        init: str | Path = state.step.init
        files: dict[str, Path] = {}
        if not init:
            # The pose as a file, so that the same registration can be made again.
            init = workspace.journal.new_path(STARTS, ".json")
            camera = workspace.scene.shown[0].xray.camera
            PoseFile(camera_from_world=tensor_of(state.step.camera_from_world), camera=camera).write(init)
        if Path(init).is_file():
            files["init"] = Path(init)
        if state.views is not None and len(state.xrays) > 1:
            files["views"] = Path(state.views.path)
        if state.labels is not None:
            files["labels"] = Path(state.labels.path)
        masks = [workspace.reader.excluded_by(state, index) for index in range(len(state.xrays))]
        for index, mask in enumerate(masks):
            if mask is not None:
                files["exclude" if index == 0 else f"exclude-{index + 1}"] = mask
        return files, init

    def _provenance(self, state: WorkspaceState, files: dict[str, Path], init: str | Path) -> Provenance:
        plan = self._workspace.plan
        assert state.ct is not None
        words = [*(each.path for each in state.xrays), "--volume", state.ct.path, "--init", str(init)]
        words += ["--output", str(plan.output / "again")]
        for name in ("views", "labels", "exclude"):
            if name in files:
                words += [f"--{name}", str(files[name])]
        if state.bones_mode != "whole":
            words += ["--structures" if state.bones_mode == "as-one" else "--each-structure", *state.bones]
        words += [word for name, value in state.reading.items() for word in option_words(name, value)]
        given = {name: InputFile.of(path) for name, path in files.items()}
        return Provenance(
            volume=InputFile.of(state.ct.path),
            xrays=[InputFile.of(each.path) for each in state.xrays],
            model=plan.model_file,
            files={**plan.files, **given},
            command=plan.command(words) or None,
        )

    def _structures(
        self, state: WorkspaceState, scene: Scene, result: RegistrationResult, began: float
    ) -> tuple[StructureResult, ...]:
        if state.bones_mode != "each":
            return ()
        plan, xray = self._workspace.plan, result.xrays[0]
        assert scene.volume is not None
        self._show("registering the bones one by one", began)
        config = plan.moving.after(plan.registration)
        first = xray.recalibrated(result.cameras[0])
        groups = [(each,) for each in named(state.bones)]
        with COMPUTING:
            found = register_structures(scene.volume, first, result.camera_from_world, groups, config)
        wording = plan.wording
        return tuple(replace(each, doubts=tuple(map(wording, each.doubts))) for each in found)

    def _worded(self, result: RegistrationResult) -> RegistrationResult:
        confidence = result.confidence
        doubts = tuple(map(self._workspace.plan.wording, confidence.doubts))
        return replace(result, confidence=replace(confidence, doubts=doubts))

    def _watch(self, began: float) -> Callable[[Progress], None]:
        """What is called with every step: it shows some of them, and ends what was cancelled."""
        last = 0.0

        def watch(progress: Progress) -> None:
            nonlocal last
            if self._stop.is_set():
                raise Cancelled
            now = time.monotonic()
            if progress.camera_from_world is None or now - last >= 1 / _PICTURES_PER_SECOND:
                last = now
                self._show(progress.stage, began, progress.camera_from_world)

        return watch

    def _show(self, stage: str, began: float, pose: Tensor | None = None) -> None:
        """Tell where it has come to, with the pose [4, 4] where there is one."""
        if self._stop.is_set():
            raise Cancelled
        running, frames = self._running, self._workspace.frames
        running = replace(running, stage=stage, seconds=time.monotonic() - began)
        if pose is not None and frames is not None:
            poses = self._workspace.scene.poses(pose)
            pixels = self._workspace.plan.live.moving_px
            shown = tuple(frames.render(index, each, pixels) for index, each in enumerate(poses))
            running = replace(running, count=running.count + 1, camera_from_world=pose, frames=shown)
        self._running = running
        self._tell()


def option_words(name: str, value: Any) -> list[str]:
    """An option of how X-rays are read, as words of a command line."""
    option = f"--{name.replace('_', '-')}"
    if isinstance(value, bool):
        return [option] if value else []
    values: Sequence[Any] = value if isinstance(value, list | tuple) else [value]
    return [option, *(f"{each:.12g}" if isinstance(each, float) else str(each) for each in values)]


def _with_result(state: WorkspaceState, registered: Registered, number: int, most: int) -> WorkspaceState:
    """The state after a registration: its pose is in use, and its result is listed."""
    result, confidence = registered.result, registered.result.confidence
    pose = rows_of(result.camera_from_world)
    said = verdict(registered)
    rows = [("similarity", f"{result.similarity:z.3f}", "1 is a perfect match")]
    rows.append(("edges", f"{confidence.edges:z.3f}", "the same of the gradients"))
    if confidence.stated_error_by_axis_mm is not None:
        right, down, depth = confidence.stated_error_by_axis_mm
        rows.append(
            (
                "expected error",
                f"{right:.2f} mm right, {down:.2f} mm down, {depth:.2f} mm in depth",
                "of bones in view",
            )
        )
        if confidence.geometry is not None:
            rows.append(("depth", depth_note(confidence), ""))
    rows.append(("start", result.initial.source, ""))
    saved = SavedResult(
        number=number,
        verdict=said,
        status=str(Status.DOUBTFUL if registered.doubtful else result.status),
        doubts=registered.doubts,
        expected_error_mm=confidence.stated_error_mm,
        camera_from_world=pose,
        seconds=result.seconds,
        rows=tuple(rows),
        structures=tuple(
            (
                each.name,
                str(each.status),
                f"{each.rotation_deg:.1f} deg; {moved_text(each)} mm",
                "; ".join(each.doubts),
            )
            for each in registered.structures
        ),
    )
    state = state.stepped(Step(camera_from_world=pose, label=f"registered, result {number}"), most)
    return replace(state, results=(*state.results, saved))
