"""What was read from the files of a workspace: the CT, the X-rays, and everything odd about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, NoReturn
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ..errors import InputError, IsoclinicError
from ..geometry import se3
from ..registration import View, views_from_angles, views_from_file
from ..registration.views import stacked_views
from ..results import picture_of
from ..results.registered import ct_text, geometry, text
from ..viewer._panels import window
from ..volumes import PreprocessConfig, Volume, XRay, XRayOptions, line_integrals
from ..volumes.xray import _read_mask
from .plan import recorded
from .state import GivenFile, Shape, WorkspaceState


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Why a file cannot be used.

    Attributes:
        message: what is wrong and what to do.
        code: one of `error_codes.CODES`.
        kind: class of the error.
    """

    message: str
    code: str
    kind: type[IsoclinicError] = InputError

    def document(self) -> dict[str, str]:
        """For a page."""
        return {"message": self.message, "code": self.code}

    def raise_it(self) -> NoReturn:
        """Raise the error that it was.

        Raises:
            IsoclinicError: always.
        """
        raise self.kind(self.message, code=self.code)


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneView:
    """One X-ray as the page shows it.

    Attributes:
        xray: as it is registered.
        picture: averaged down to the size of a picture.
        image: [H, W] uint8, the picture, bright where dense.
        counts: [H, W] bool, where it counts.
    """

    xray: XRay
    picture: XRay
    image: NDArray[np.uint8]
    counts: NDArray[np.bool_]

    @classmethod
    def of(cls, xray: XRay, preprocess: PreprocessConfig) -> SceneView:
        """The view of an X-ray."""
        picture = picture_of(xray)
        image, weight = line_integrals(picture, preprocess)
        return cls(
            xray=xray, picture=picture, image=np.rint(255 * window(image, weight > 0)), counts=weight > 0
        )

    @cached_property
    def stored_from_picture(self) -> NDArray[np.float64]:
        """[2, 3], from pixels (u, v, 1) of the picture to those of the X-ray as stored."""
        corners = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        origin, along_u, along_v = self.picture.pixels_from_stored(corners)
        linear = np.linalg.inv(np.column_stack([along_u - origin, along_v - origin]))
        return np.column_stack([linear, -linear @ origin])


class Told(NamedTuple):
    """What reading a file has told.

    Attributes:
        rows: name, value and source of everything that was read.
        warnings: what is odd.
        problem: why it cannot be used; None where it can.
    """

    rows: list[tuple[str, str, str]]
    warnings: list[str]
    problem: Problem | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """What was read from the files of a workspace.

    Attributes:
        volume: the CT with its labels; None where there is none, or none that can be used.
        xrays: one for each file; None where it cannot be used.
        view_from_first: [V, 4, 4]; None where it is not known how the X-rays lie.
        told: what reading has told, by "ct", "labels", "xray-0", "xray-1", ..., "views".
    """

    volume: Volume | None
    xrays: tuple[SceneView | None, ...]
    view_from_first: Tensor | None
    told: Mapping[str, Told]

    @property
    def ready(self) -> bool:
        """Whether there is a CT and an X-ray, and everything that was given can be used."""
        usable = self.volume is not None and bool(self.xrays) and self.view_from_first is not None
        return usable and all(each.problem is None for each in self.told.values())

    @property
    def shown(self) -> tuple[SceneView, ...]:
        """The X-rays that can be used."""
        return tuple(each for each in self.xrays if each is not None)

    @property
    def views(self) -> list[View]:
        """The X-rays for a registration; `ready` is so."""
        assert self.view_from_first is not None
        return [
            View(xray=each.xray, view_from_first=matrix if index else None)
            for index, (each, matrix) in enumerate(zip(self.shown, self.view_from_first, strict=True))
        ]

    @property
    def warnings(self) -> list[str]:
        """Everything odd, once."""
        return list(dict.fromkeys(text for each in self.told.values() for text in each.warnings))

    def poses(self, camera_from_world: Tensor) -> Tensor:
        """The pose of every X-ray [V, 4, 4] at one of the first [4, 4]."""
        assert self.view_from_first is not None
        return self.view_from_first @ camera_from_world


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneReader:
    """Reads the files of a workspace; what did not change since the last scene is taken from there.

    Attributes:
        options: how X-rays are read.
        preprocess: how they become line integrals.
        wording: see `LivePlan`.
        mask_path: gives the place for the image of what is left out of an X-ray.
    """

    options: XRayOptions
    preprocess: PreprocessConfig
    wording: Callable[[str], str]
    mask_path: Callable[[], Path]

    def read(self, state: WorkspaceState, before: tuple[WorkspaceState, Scene] | None = None) -> Scene:
        """The scene of a state."""
        old, scene = before or (WorkspaceState(), None)
        told: dict[str, Told] = {}
        if scene is not None and (old.ct, old.labels) == (state.ct, state.labels):
            volume = scene.volume
            told |= {name: scene.told[name] for name in ("ct", "labels") if name in scene.told}
        else:
            volume = self._volume(state, told)
        xrays = []
        for index, file in enumerate(state.xrays):
            name, shapes = f"xray-{index}", _at(state.shapes, index)
            same = _at(old.xrays, index) == file and old.reading == state.reading
            if scene is not None and same and (_at(old.shapes, index) or ()) == (shapes or ()):
                xrays.append(scene.xrays[index])
                told[name] = scene.told[name]
            else:
                xrays.append(self._xray(name, file, shapes or (), state, told))
        placed = scene is not None and tuple(xrays) == scene.xrays and old.views == state.views
        if scene is not None and placed:
            relative = scene.view_from_first
            told |= {name: each for name, each in scene.told.items() if name == "views"}
        else:
            relative = self._relative(state, xrays, told)
        if scene is not None and placed and volume is scene.volume:
            # Nothing was read, so that what has been derived from the scene holds on.
            return scene if told == scene.told else replace(scene, told=told)
        return Scene(volume=volume, xrays=tuple(xrays), view_from_first=relative, told=told)

    def options_of(self, state: WorkspaceState) -> XRayOptions:
        """How X-rays are read, with what the page says.

        Raises:
            UsageError: a value that makes no sense.
        """
        return replace(self.options, **{**state.reading})

    def excluded_by(self, state: WorkspaceState, index: int) -> Path | None:
        """The image of what is left out of an X-ray by shapes and options, which is written for it.

        Raises:
            IsoclinicError: a file that cannot be used.
        """
        shapes = _at(state.shapes, index) or ()
        options = self.options_of(state)
        if not shapes:
            return options.exclude
        path = Path(state.xrays[index].path)
        plain = XRay.read(path, replace(options, exclude=None))
        camera = plain.stored_camera or plain.camera
        size = (camera.height, camera.width)
        mask = (
            np.zeros(size, dtype=bool) if options.exclude is None else _read_mask(options.exclude, path, size)
        )
        for each in shapes:
            mask |= _read_mask(Path(each.path), path, size) if each.kind == "file" else drawn(each, size)
        place = self.mask_path()
        Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).save(place, format="png")
        return place

    def _volume(self, state: WorkspaceState, told: dict[str, Told]) -> Volume | None:
        if state.ct is None:
            return None
        path = Path(state.ct.path)
        volume, told["ct"] = self._told(lambda: Volume.read(path), _volume_rows)
        if volume is None or state.labels is None:
            return volume
        labels = Path(state.labels.path)
        labelled: Volume | None
        labelled, told["labels"] = self._told(lambda: Volume.read(path, labels=labels), _label_rows)
        known = set(told["ct"].warnings)
        told["labels"] = told["labels"]._replace(
            warnings=[each for each in told["labels"].warnings if each not in known]
        )
        return labelled or volume

    def _xray(
        self,
        name: str,
        file: GivenFile,
        shapes: Sequence[Shape],
        state: WorkspaceState,
        told: dict[str, Told],
    ) -> SceneView | None:
        def read() -> SceneView:
            options = self.options_of(state)
            if shapes:
                options = replace(options, exclude=self.excluded_by(state, state.xrays.index(file)))
            return SceneView.of(XRay.read(Path(file.path), options), self.preprocess)

        view, told[name] = self._told(read, self._xray_rows)
        return view

    def _relative(
        self, state: WorkspaceState, xrays: Sequence[SceneView | None], told: dict[str, Told]
    ) -> Tensor | None:
        known = [each.xray for each in xrays if each is not None]
        if not known or len(known) < len(xrays):
            return None
        if len(known) == 1:
            return torch.eye(4, dtype=torch.float64)[None]

        def read() -> Tensor:
            if state.views is None:
                return stacked_views(views_from_angles(known))
            return stacked_views(views_from_file(known, state.views.path))

        relative, told["views"] = self._told(read, _views_rows)
        return relative

    def _told(self, read: Callable[[], Any], rows: Callable[[Any], list[tuple[str, str, str]]]) -> Any:
        """What was read, None where it cannot be, and what reading has told."""
        problem, found = None, None
        with recorded(self.wording) as said:
            try:
                found = read()
            except IsoclinicError as error:
                problem = Problem(message=self.wording(str(error)), code=error.code, kind=type(error))
            except OSError as error:
                problem = Problem(message=f"{error.filename}: {error.strerror}", code="input.unreadable")
        return found, Told([] if found is None else rows(found), said, problem)

    def _xray_rows(self, view: SceneView) -> list[tuple[str, str, str]]:
        camera = view.xray.camera
        found = [("size", f"{camera.width} x {camera.height} px", "")]
        for name, value in geometry(view.xray).items():
            if value is not None:
                found.append((name, text(value), self.wording(view.xray.provenance.get(name, ""))))
        return found


def drawn(shape: Shape, size: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels [H, W] of an image of this size that a shape covers."""
    height, width = size
    canvas = Image.new("1", (width, height))
    draw = ImageDraw.Draw(canvas)
    points = [(u, v) for u, v in shape.points]
    if shape.kind == "polygon":
        draw.polygon(points, fill=1, outline=1)
    else:
        wide = max(1, round(2 * shape.radius))
        if len(points) > 1:
            draw.line(points, fill=1, width=wide)
        for u, v in points:
            r = shape.radius
            draw.ellipse((u - r, v - r, u + r, v + r), fill=1)
    return np.array(canvas, dtype=bool)


def _at(values: Sequence[Any], index: int) -> Any:
    return values[index] if index < len(values) else None


def _volume_rows(volume: Volume) -> list[tuple[str, str, str]]:
    low, high = int(volume.hu.min()), int(volume.hu.max())
    return [("grid", ct_text(volume), ""), ("values", f"{low} to {high} HU", "")]


def _label_rows(volume: Volume) -> list[tuple[str, str, str]]:
    names = ", ".join(str(each) for each in structure_labels(volume))
    return [("structures", names or "none", "")]


# Structures of CTs that are in use: to find them takes a look at every voxel.
_STRUCTURES: WeakKeyDictionary[Volume, list[str]] = WeakKeyDictionary()


def structure_labels(volume: Volume) -> list[str]:
    """Names of a CT's structures that have a voxel; the label as text where there is no name."""
    if volume.labels is None:
        return []
    if volume not in _STRUCTURES:
        found = np.flatnonzero(np.bincount(volume.labels.ravel())).tolist()
        _STRUCTURES[volume] = [volume.label_names.get(label, str(label)) for label in found if label > 0]
    return _STRUCTURES[volume]


def _views_rows(relative: Tensor) -> list[tuple[str, str, str]]:
    angles = se3.rotation_angle_deg(relative[:1], relative[1:])
    return [
        (f"X-ray {number}", f"turned by {float(angle):.1f} deg from the first", "")
        for number, angle in enumerate(angles.reshape(-1), start=2)
    ]
