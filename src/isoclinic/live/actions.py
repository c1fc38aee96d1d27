"""What a page asks for, checked and done: every change of a workspace by its name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from .._files import atomic
from .._json import dumps
from ..errors import UsageError
from ..registration import PoseFile, pose_from_landmark_files
from ..registration.landmarks import read_pixel_points, read_world_points
from ..volumes import XRayOptions
from .journal import POSES, STARTS
from .plan import recorded
from .state import (
    GivenFile,
    Landmark,
    Shape,
    Step,
    WorkspaceState,
    bones_mode,
    landmark,
    numbers,
    rows,
    shape,
)
from .uploads import Inbox
from .workspace import Workspace, check_bones, rows_of, tensor_of

Change = Callable[["Actions", WorkspaceState, Mapping[str, Any]], WorkspaceState]
_MOST_LANDMARKS, _MOST_SHAPES, _MOST_XRAYS = 200, 500, 8
_MOST_FRAMES = 1_000_000
# Options of how X-rays are read that the page has, with the number of their values.
_READING: Mapping[str, int] = {
    "sdd_mm": 1,
    "source_isocentre_mm": 1,
    "pixel_spacing_mm": 2,
    "principal_point_px": 2,
    "primary_angle_deg": 1,
    "secondary_angle_deg": 1,
}
_CHOICES: Mapping[str, tuple[Any, ...]] = {
    "polarity": ("auto", "bright_air", "dark_air"),
    "pixel_scale": ("auto", "linear", "log"),
    "flip_left_right": (False, True),
    "flip_top_bottom": (False, True),
    "turn": (0, 90, 180, 270),
}


class Actions:
    """Changes of a workspace that a page can ask for.

    Args:
        workspace: to change.
        inbox: of files that were uploaded.
    """

    def __init__(self, workspace: Workspace, inbox: Inbox) -> None:
        self._workspace = workspace
        self._inbox = inbox

    def do(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Do what was asked for; returns what the page is to say about it.

        Raises:
            IsoclinicError: it is refused, and nothing has changed.
        """
        name = str(request.get("do"))
        change = _CHANGES.get(name)
        if change is None:
            raise UsageError(f"a page cannot ask for {name!r:.40}", code="view.invalid-request")
        self._said: list[str] = []
        self._workspace.change(request.get("revision"), lambda state: change(self, state, request), name)
        return {"said": self._said}

    def save_pose(self) -> Path:
        """Write the pose in use as a pose file; returns its path.

        Raises:
            IsoclinicError: there is none, or it cannot be written.
        """
        workspace = self._workspace
        step, shown = workspace.state.step, workspace.scene.shown
        if step is None or not shown:
            raise UsageError("give a CT and an X-ray first", code="view.incomplete")
        path = workspace.journal.new_path(POSES, ".json")
        PoseFile(camera_from_world=tensor_of(step.camera_from_world), camera=shown[0].xray.camera).write(path)
        return path

    def _pose(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        pose = self._workspace.pose(rows(request.get("pose"), 4, 4))
        if state.step is not None and state.step.camera_from_world == pose:
            return state
        return self._stepped(state, Step(camera_from_world=pose, label="moved by hand"))

    def _start(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        init = str(request.get("init"))
        if init not in self._workspace.starts(self._workspace.scene):
            raise UsageError(f"there is no start {init!r:.40}", code="start.unknown-name")
        pose = rows_of(self._workspace.initial(self._workspace.scene, init))
        return self._stepped(state, Step(camera_from_world=pose, label=f"start: {init}", init=init))

    def _goto(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        (number,) = numbers([request.get("step")], 1)
        if not (number.is_integer() and 0 <= number < len(state.steps)):
            raise UsageError("there is no such pose in the history", code="view.invalid-request")
        return replace(state, current=int(number))

    def _landmarks(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        given = _listed(request.get("landmarks"), _MOST_LANDMARKS)
        marks = tuple(map(landmark, given))
        if len({each.name for each in marks}) < len(marks):
            raise UsageError("give every landmark a name of its own", code="landmarks.ambiguous")
        return replace(state, landmarks=marks)

    def _landmark_start(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        workspace = self._workspace
        if not workspace.scene.shown:
            raise UsageError("give a CT and an X-ray first", code="view.incomplete")
        path = workspace.journal.new_path(STARTS, ".landmarks.json")
        with atomic(path) as temporary:
            temporary.write_text(dumps(_landmark_document(state.landmarks)) + "\n", encoding="utf-8")
        with recorded(workspace.plan.wording) as said:
            fit = pose_from_landmark_files(workspace.scene.shown[0].xray, path)
        named = zip(fit.names, fit.residuals_mm.tolist(), strict=True)
        self._said += [f"{name} is {mm:.1f} mm off" for name, mm in named]
        self._said += [f"{fit.rms_mm:.1f} mm root mean square", *said]
        pose = workspace.pose(rows_of(fit.camera_from_world))
        label = f"start: {len(fit.names)} landmarks"
        return self._stepped(state, Step(camera_from_world=pose, label=label))

    def _shapes(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        index = self._view(state, request)
        before = state.shapes[index] if index < len(state.shapes) else ()
        files = {each.path: each for each in before if each.kind == "file"}
        found = []
        for each in _listed(request.get("shapes"), _MOST_SHAPES):
            made = shape(each)
            # A page says which of the files that it was told of stay, and never where one is.
            if made.kind == "file" and made.path not in files:
                raise UsageError("there is no such mask", code="view.invalid-request")
            found.append(made)
        return self._with_shapes(state, index, tuple(found))

    def _bones(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        mode = bones_mode(request.get("mode"))
        bones = tuple(map(str, _listed(request.get("bones"), 1000)))
        check_bones(self._workspace.scene.volume, mode, bones)
        return replace(state, bones_mode=mode, bones=bones)

    def _reading(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        given = request.get("reading")
        values = reading_options(given if isinstance(given, Mapping) else {})
        return replace(state, reading=values)

    def _open(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        kind, batch = str(request.get("kind")), str(request.get("batch"))
        if kind not in _OPENED:
            raise UsageError(f"a page cannot open a {kind!r:.40}", code="view.invalid-request")
        names = self._inbox.batch(batch)
        if kind == "xray":
            return self._opened_xrays(state, names)
        path, name = self._inbox.one(names, folder=kind in ("ct", "labels"))
        if kind in ("ct", "labels", "views"):
            changes: dict[str, Any] = {kind: GivenFile(path=str(path), name=name)}
            if kind != "views":
                changes |= {"bones": (), "bones_mode": "whole"}
            if kind == "ct":
                changes |= {"labels": None, "steps": (), "current": -1}
            return replace(state, **changes)
        if kind == "pose":
            pose = self._workspace.read_pose(path)
            return self._stepped(state, Step(camera_from_world=pose, label=f"start: {name}"))
        if kind == "mask":
            index = self._view(state, request)
            before = state.shapes[index] if index < len(state.shapes) else ()
            added = Shape(kind="file", path=str(path), name=name)
            return self._checked(self._with_shapes(state, index, (*before, added)))
        return replace(state, landmarks=_read_landmarks(state.landmarks, path))

    def _opened_xrays(self, state: WorkspaceState, names: Mapping[str, Path]) -> WorkspaceState:
        images = {name: path for name, path in names.items() if path.suffix.lower() != ".json"}
        views = [path for name, path in names.items() if name not in images and _is_views(path)]
        xrays = (*state.xrays, *(GivenFile(path=str(path), name=name) for name, path in images.items()))
        if len(xrays) > _MOST_XRAYS:
            raise UsageError(f"a page shows {_MOST_XRAYS} X-rays at most", code="view.invalid-request")
        if not images and not views:
            raise UsageError(
                "a JSON file describes an image: choose both together", code="view.invalid-request"
            )
        given = replace(state, xrays=xrays)
        return replace(given, views=GivenFile(path=str(views[0]), name="views")) if views else given

    def _close(self, state: WorkspaceState, request: Mapping[str, Any]) -> WorkspaceState:
        kind = str(request.get("kind"))
        if kind == "xray":
            index = self._view(state, request)
            xrays = tuple(each for place, each in enumerate(state.xrays) if place != index)
            shapes = tuple(each for place, each in enumerate(state.shapes) if place != index)
            changes: dict[str, Any] = {"xrays": xrays, "shapes": shapes}
            if index == 0:  # poses are those of the first X-ray
                marks = (replace(each, stored_px=None) for each in state.landmarks)
                kept = tuple(each for each in marks if each.point_world is not None)
                changes |= {"steps": (), "current": -1, "landmarks": kept}
            return replace(state, **changes)
        if kind == "ct":
            marks = (replace(each, point_world=None) for each in state.landmarks)
            kept = tuple(each for each in marks if each.stored_px is not None)
            return replace(
                state,
                ct=None,
                labels=None,
                bones=(),
                bones_mode="whole",
                steps=(),
                current=-1,
                landmarks=kept,
            )
        if kind == "labels":
            return replace(state, labels=None, bones=(), bones_mode="whole")
        if kind == "views":
            return replace(state, views=None)
        raise UsageError(f"a page cannot close a {kind!r:.40}", code="view.invalid-request")

    def _view(self, state: WorkspaceState, request: Mapping[str, Any]) -> int:
        (number,) = numbers([request.get("xray")], 1)
        if not (number.is_integer() and 0 <= number < len(state.xrays)):
            raise UsageError("there is no such X-ray", code="view.invalid-request")
        return int(number)

    def _with_shapes(self, state: WorkspaceState, index: int, shapes: tuple[Shape, ...]) -> WorkspaceState:
        each = [state.shapes[place] if place < len(state.shapes) else () for place in range(len(state.xrays))]
        each[index] = shapes
        return self._checked(replace(state, shapes=tuple(each)))

    def _checked(self, state: WorkspaceState) -> WorkspaceState:
        """The state, if its masks leave something of every X-ray."""
        scene = self._workspace.reader.read(state, (self._workspace.state, self._workspace.scene))
        for index in range(len(state.xrays)):
            problem = scene.told[f"xray-{index}"].problem
            before = self._workspace.scene.told.get(f"xray-{index}")
            if problem is not None and (before is None or before.problem is None):
                problem.raise_it()
        return state

    def _stepped(self, state: WorkspaceState, step: Step) -> WorkspaceState:
        return state.stepped(step, self._workspace.plan.live.steps)


def reading_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of how X-rays are read, from outside; what is None is left out.

    Raises:
        UsageError: one that is unknown, or makes no sense.
    """
    found: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name in _READING:
            count = _READING[name]
            values = numbers([value] if count == 1 else value, count)
            found[name] = values[0] if count == 1 else values
        elif name == "frame" and isinstance(value, int) and 0 <= value < _MOST_FRAMES:
            found[name] = int(value)
        elif value in _CHOICES.get(name, ()):
            found[name] = value
        else:
            raise UsageError(f"{name!r:.40} cannot be {value!r:.40}", code="view.invalid-request")
    XRayOptions(**found)  # which says what makes no sense
    return found


def _landmark_document(marks: tuple[Landmark, ...]) -> dict[str, Any]:
    """A landmark file with those that are marked in either."""
    world = {each.name: list(each.point_world) for each in marks if each.point_world is not None}
    pixels = {each.name: list(each.stored_px) for each in marks if each.stored_px is not None}
    return {
        "format": "isoclinic.landmarks",
        "version": 1,
        "world": "RAS",
        "units": "mm",
        "world_points": world,
        "pixel_points": pixels,
    }


def _read_landmarks(known: tuple[Landmark, ...], path: Path) -> tuple[Landmark, ...]:
    """Landmarks with those of a file, which may be marked in the CT, in the X-ray, or in both."""
    document = _json_keys(path)
    own = bool(document & {"world_points", "pixel_points"})
    world = read_world_points(path) if not own or "world_points" in document else {}
    pixels = read_pixel_points(path) if own and "pixel_points" in document else {}
    marks = {each.name: each for each in known}
    for name, point in world.items():
        mark = marks.get(name, Landmark(name=name))
        marks[name] = replace(mark, point_world=tuple(map(float, point)))
    for name, pixel in pixels.items():
        mark = marks.get(name, Landmark(name=name))
        marks[name] = replace(mark, stored_px=tuple(map(float, pixel)))
    return tuple(marks.values())


def _json_keys(path: Path) -> set[str]:
    try:
        document = json.loads(path.read_bytes())
    except (ValueError, OSError, RecursionError):
        return set()  # the reader says what is wrong with it
    return set(document) if isinstance(document, dict) else set()


def _is_views(path: Path) -> bool:
    return "view_from_first" in _json_keys(path)


def _listed(value: Any, most: int) -> list[Any]:
    if not isinstance(value, list) or len(value) > most:
        raise UsageError(f"a list of {most} entries at most is needed", code="view.invalid-request")
    return value


_OPENED = ("ct", "xray", "labels", "views", "pose", "mask", "landmarks")
_CHANGES: Mapping[str, Change] = {
    "pose": Actions._pose,
    "start": Actions._start,
    "goto": Actions._goto,
    "landmarks": Actions._landmarks,
    "landmark-start": Actions._landmark_start,
    "shapes": Actions._shapes,
    "bones": Actions._bones,
    "reading": Actions._reading,
    "open": Actions._open,
    "close": Actions._close,
}
