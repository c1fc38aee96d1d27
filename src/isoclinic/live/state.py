"""What a page's workspace consists of, as plain data that JSON holds and a browser shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..errors import InputError, UsageError

Rows = tuple[tuple[float, ...], ...]
BonesMode = Literal["whole", "as-one", "each"]
_MODES: tuple[BonesMode, ...] = ("whole", "as-one", "each")


@dataclass(frozen=True, kw_only=True)
class GivenFile:
    """A file or folder that was given.

    Attributes:
        path: of it on this computer.
        name: what people know it by.
    """

    path: str
    name: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """A pose of the history.

    Attributes:
        camera_from_world: [4, 4], of the first X-ray.
        label: where it came from, for people to read.
        init: the start that it is, by its name or file, such as "ap" or "any"; "" for a pose made by hand.
    """

    camera_from_world: Rows
    label: str
    init: str = ""


@dataclass(frozen=True, kw_only=True)
class Landmark:
    """A landmark, marked in the CT, in the first X-ray, or in both.

    Attributes:
        name: of it.
        point_world: [3] in the world, RAS mm; None where it is not marked in the CT.
        stored_px: (u, v) of the first X-ray as stored; None where it is not marked there.
    """

    name: str
    point_world: tuple[float, ...] | None = None
    stored_px: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Shape:
    """A part of an X-ray that is left out, in pixels of the X-ray as stored.

    Attributes:
        kind: an area within a line, a line as wide as a brush, or a file with an image.
        points: (u, v) along the line.
        radius: of the brush.
        path: of the file, in the folder of the workspace.
        name: what people know the file by.
    """

    kind: Literal["polygon", "stroke", "file"]
    points: Rows = ()
    radius: float = 0.0
    path: str = ""
    name: str = ""


@dataclass(frozen=True, kw_only=True)
class SavedResult:
    """A registration that was saved.

    Attributes:
        number: of its folder.
        verdict: the line that matters most.
        status: of the result.
        doubts: reasons not to rely on it.
        expected_error_mm: the error to expect; None where the result is doubtful.
        step: place of its pose in the history when it was saved.
        seconds: time that the registration took.
        rows: name, value and note of what else is known, for a table.
        structures: name, status, motion and doubts of each structure that was registered by itself.
    """

    number: int
    verdict: str
    status: str
    doubts: tuple[str, ...] = ()
    expected_error_mm: float | None = None
    camera_from_world: Rows = ()
    seconds: float = 0.0
    rows: tuple[tuple[str, str, str], ...] = ()
    structures: tuple[tuple[str, str, str, str], ...] = ()


@dataclass(frozen=True, kw_only=True)
class WorkspaceState:
    """All that is kept of a workspace.

    Attributes:
        revision: it grows by one with every change.
        ct: the CT.
        xrays: the X-rays.
        labels: label map of the CT.
        views: file that says how several X-rays lie.
        reading: options of how X-rays are read that were set on the page, by their names.
        steps: history of the pose.
        current: place of the pose in use in the history; -1 before there is one.
        landmarks: those marked so far.
        shapes: what is left out, for each X-ray.
        bones_mode: the whole CT, the chosen structures as one, or each of them after the whole CT.
        bones: names or labels of the chosen structures.
        results: what was saved.
    """

    revision: int = 0
    ct: GivenFile | None = None
    xrays: tuple[GivenFile, ...] = ()
    labels: GivenFile | None = None
    views: GivenFile | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    current: int = -1
    landmarks: tuple[Landmark, ...] = ()
    shapes: tuple[tuple[Shape, ...], ...] = ()
    bones_mode: BonesMode = "whole"
    bones: tuple[str, ...] = ()
    results: tuple[SavedResult, ...] = ()

    @property
    def step(self) -> Step | None:
        """The pose in use."""
        return self.steps[self.current] if self.current >= 0 else None

    def stepped(self, step: Step, most: int) -> WorkspaceState:
        """With another pose at the end of the history; what was undone before is dropped.

        Args:
            step: the pose.
            most: poses to keep.
        """
        steps = (*self.steps[: self.current + 1], step)[-most:]
        return replace(self, steps=steps, current=len(steps) - 1)

    def document(self) -> dict[str, Any]:
        """For `restored`, as JSON can hold it."""
        return asdict(self)

    @classmethod
    def restored(cls, document: Mapping[str, Any]) -> WorkspaceState:
        """What `document` has written.

        Raises:
            InputError: it is something else.
        """
        try:
            given = {name: _file(document[name]) for name in ("ct", "labels", "views")}
            return cls(
                **given,
                revision=int(document["revision"]),
                xrays=tuple(GivenFile(**each) for each in document["xrays"]),
                reading=dict(document["reading"]),
                steps=tuple(
                    Step(**{**each, "camera_from_world": rows(each["camera_from_world"], 4, 4)})
                    for each in document["steps"]
                ),
                current=int(document["current"]),
                landmarks=tuple(map(landmark, document["landmarks"])),
                shapes=tuple(tuple(map(shape, each)) for each in document["shapes"]),
                bones_mode=bones_mode(document["bones_mode"]),
                bones=tuple(map(str, document["bones"])),
                results=tuple(_result(each) for each in document["results"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"the record of the workspace is damaged: {error}; choose another folder", code="view.damaged"
            ) from error


def rows(value: Any, least: int, columns: int, most: int | None = None) -> Rows:
    """Rows of finite numbers.

    Args:
        value: what came from outside.
        least: how many rows there must be.
        columns: numbers in each.
        most: how many rows there may be; as many as there must be when None.

    Raises:
        UsageError: it is something else.
    """
    most = least if most is None else most
    if not isinstance(value, list | tuple) or not least <= len(value) <= most:
        raise UsageError(f"{least} to {most} rows of numbers are needed", code="view.invalid-request")
    return tuple(numbers(each, columns) for each in value)


def numbers(value: Any, count: int) -> tuple[float, ...]:
    """So many finite numbers.

    Raises:
        UsageError: it is something else.
    """
    good = isinstance(value, list | tuple) and len(value) == count and all(map(_is_number, value))
    if not good:
        raise UsageError(f"{count} finite numbers are needed, not {value!r:.80}", code="view.invalid-request")
    return tuple(map(float, value))


def landmark(value: Any) -> Landmark:
    """A landmark from outside.

    Raises:
        UsageError: it is something else.
    """
    name = str(value["name"]).strip() if isinstance(value, Mapping) and "name" in value else ""
    if not name or len(name) > 80:
        raise UsageError("a landmark needs a name of 1 to 80 characters", code="view.invalid-request")
    point, pixel = value.get("point_world"), value.get("stored_px")
    return Landmark(
        name=name,
        point_world=None if point is None else numbers(point, 3),
        stored_px=None if pixel is None else numbers(pixel, 2),
    )


def shape(value: Any) -> Shape:
    """A part of an X-ray to leave out, from outside.

    Raises:
        UsageError: it is something else.
    """
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind == "file":
        return Shape(kind="file", path=str(value["path"]), name=str(value["name"]))
    if kind == "polygon":
        return Shape(kind="polygon", points=rows(value.get("points"), 3, 2, 10_000))
    if kind == "stroke":
        (radius,) = numbers([value.get("radius")], 1)
        if radius > 0:
            return Shape(kind="stroke", points=rows(value.get("points"), 1, 2, 10_000), radius=radius)
    raise UsageError("a mask is made of polygons and brush strokes", code="view.invalid-request")


def bones_mode(value: Any) -> BonesMode:
    """A choice from outside.

    Raises:
        UsageError: it is something else.
    """
    if value not in _MODES:
        raise UsageError(f"bones are one of {', '.join(_MODES)}", code="view.invalid-request")
    return _MODES[_MODES.index(value)]


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e12  # so neither NaN nor infinite


def _file(value: Any) -> GivenFile | None:
    return None if value is None else GivenFile(**value)


def _result(value: Mapping[str, Any]) -> SavedResult:
    texts = {name: tuple(map(tuple, value[name])) for name in ("rows", "structures")}
    pose = rows(value["camera_from_world"], 4, 4)
    return SavedResult(**{**value, **texts, "doubts": tuple(value["doubts"]), "camera_from_world": pose})
