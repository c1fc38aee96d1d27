"""Drawing in space: points of the world through a distant `Camera` onto matplotlib axes, in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.transforms import Affine2D
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from scipy.spatial import ConvexHull, KDTree
from torch import Tensor

from isoclinic.geometry import Camera, se3

Array = NDArray[np.float64]

INK, FAINT, PAPER = "#1f2933", "#66727e", "#ffffff"
AXIS_COLORS = ("#c8500a", "#00875f", "#0068ac")
BEAM, BEFORE, AFTER = "#e0a800", "#29a7e1", "#f08a24"
LIGHT = "#ffd76a"
SKIN, _SKIN_EDGE, _HEART = "#e9edf1", "#9aa7b3", "#c0392b"
_DPI = 170

# So far away that parallels stay parallel: a millimetre of the world is one of the drawing, wherever it is.
_EYE_DISTANCE_MM = 1e6
_EYE = Camera(
    width=1, height=1, fx=_EYE_DISTANCE_MM, fy=_EYE_DISTANCE_MM, cx=0, cy=0, sdd_mm=_EYE_DISTANCE_MM
)


def looking(along: ArrayLike, up: ArrayLike) -> Tensor:
    """camera_from_world [4, 4] of an eye that looks `along` at the origin, with `up` upwards, both [3]."""
    forward = np.asarray(along, dtype=np.float64)
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, up)
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return se3.rigid(torch.from_numpy(rotation), torch.tensor([0.0, 0.0, _EYE_DISTANCE_MM]).double())


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What an eye sees, on axes whose unit is the millimetre and whose y runs down.

    Attributes:
        axes: to draw on; their limits are left alone.
        eye_from_world: [4, 4].
    """

    axes: Axes
    eye_from_world: Tensor

    def at(self, points: ArrayLike) -> Array:
        """Where points [..., 3] of the world are on the axes [..., 2]."""
        on_axes: Array = _EYE.project(
            torch.tensor(np.atleast_2d(points)).double(), self.eye_from_world
        ).numpy()
        return on_axes.reshape(*np.shape(points)[:-1], 2)

    def depth(self, points: ArrayLike) -> Array:
        """Distance [...] of points [..., 3] from the eye, but for a constant [mm]."""
        return np.asarray(points) @ self.eye_from_world[2, :3].numpy()

    def line(self, points: ArrayLike, **style: Any) -> None:
        """A line through points [N, 3]."""
        self.axes.plot(*self.at(points).T, **{"color": INK, "lw": 1.0, "solid_capstyle": "round", **style})

    def area(self, points: ArrayLike, **style: Any) -> None:
        """A filled polygon with corners [N, 3]."""
        self.axes.fill(*self.at(points).T, **{"lw": 0, **style})

    def dot(self, point: ArrayLike, **style: Any) -> None:
        """A point [3]."""
        self.axes.plot(*self.at(point), **{"marker": "o", "ms": 5, "color": INK, "ls": "", **style})

    def arrow(self, start: ArrayLike, end: ArrayLike, label: str = "", **style: Any) -> None:
        """An arrow from one point [3] to another, with its label beyond the tip."""
        arrow(self.axes, self.at(start), self.at(end), label, **style)

    def frame(self, origin: ArrayLike, directions: Array, labels: Sequence[str], **style: Any) -> None:
        """Arrows from a point [3] along directions, the columns of [3, N], in `colors`, those of x, y, z."""
        colors = style.pop("colors", AXIS_COLORS)
        for direction, label, color in zip(directions.T, labels, colors, strict=True):
            self.arrow(origin, np.asarray(origin) + direction, label, color=color, **style)

    def dimension(self, start: ArrayLike, end: ArrayLike, label: str, **style: Any) -> None:
        """A distance between two points [3]."""
        dimension(self.axes, self.at(start), self.at(end), label, **style)

    def text(self, point: ArrayLike, words: str, **style: Any) -> None:
        """Words at a point [3]; `offset` [points] moves them."""
        note(self.axes, self.at(point), words, **style)

    def picture(self, image: NDArray[np.floating], corners: Array, **style: Any) -> None:
        """An image [H, W] on a parallelogram whose top left, top right and bottom left corners are given."""
        (x0, y0), (x1, y1), (x2, y2) = self.at(corners)
        height, width = image.shape
        onto = np.array(
            [
                [(x1 - x0) / width, (x2 - x0) / height, x0],
                [(y1 - y0) / width, (y2 - y0) / height, y0],
                [0, 0, 1],
            ]
        )
        shown = self.axes.imshow(image, cmap="gray", extent=(0, width, height, 0), aspect="auto", **style)
        shown.set_transform(Affine2D(onto) + self.axes.transData)

    def patient(self, solids: list[Array], heart: ArrayLike) -> None:
        """A body of convex solids, the far ones first, with its eyes and its heart."""
        for order, solid in enumerate(sorted(solids, key=lambda points: -float(self.depth(points).mean()))):
            flat = self.at(solid)
            outline = flat[ConvexHull(flat).vertices]
            style = {"fc": SKIN, "ec": _SKIN_EDGE, "lw": 0.8}
            self.axes.fill(*outline.T, zorder=1 + 0.01 * order, **style)
        for eye in ((-28, 103, 405), (28, 103, 405)):
            self.dot(eye, ms=2.2, color=FAINT)
        self.text(heart, "♥", color=_HEART, fontsize=12, bbox=None)


class PlacedCamera:
    """Where the parts of a camera are in the world.

    Attributes:
        camera: intrinsics.
        world_from_camera: [4, 4].
    """

    def __init__(self, camera: Camera, camera_from_world: Tensor) -> None:
        self.camera = camera
        self.world_from_camera = se3.inverse(camera_from_world).numpy()

    @property
    def axes(self) -> Array:
        """Directions of x, y, z in the world, the columns of [3, 3]."""
        return self.world_from_camera[:3, :3]

    def points(self, points_camera: ArrayLike) -> Array:
        """World points of camera points [..., 3]."""
        moved: Array = np.asarray(points_camera) @ self.axes.T + self.world_from_camera[:3, 3]
        return moved

    @property
    def source(self) -> Array:
        """World point [3] of the source."""
        return self.points((0, 0, 0))

    def detector(self, u: float, v: float) -> Array:
        """World point [3] of a pixel on the detector."""
        return self.points(self.camera.detector_from_pixel.numpy() @ (u, v, 1))

    @property
    def principal_point(self) -> Array:
        """World point [3] of the principal point on the detector."""
        return self.detector(self.camera.cx, self.camera.cy)

    @property
    def image_corners(self) -> Array:
        """World points [4, 3]: top left, top right, bottom right and bottom left corner of the image."""
        right, bottom = self.camera.width - 0.5, self.camera.height - 0.5
        return np.stack(
            [self.detector(u, v) for u, v in ((-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom))]
        )


def figure_of(width_in: float, height_in: float) -> Figure:
    """An empty white figure."""
    return Figure(figsize=(width_in, height_in), facecolor=PAPER)


def save(figure: Figure, path: Path) -> None:
    """Write PNG of 256 colours, a third as large: greys, and the others in shades for soft edges.

    Its words, one text a line, are the PNG's description: they can be compared where a picture can hardly.
    """
    named = (INK, FAINT, *AXIS_COLORS, BEAM, BEFORE, AFTER, LIGHT, SKIN, _SKIN_EDGE, _HEART)
    shades = [np.linspace(0, 1, 64)[:, None] * np.ones(3)]
    for color in np.array([to_rgb(name) for name in named]):
        shades += [
            color * np.linspace(0.2, 0.8, 5)[:, None],
            1 - (1 - color) * np.linspace(0.1, 1, 11)[:, None],
        ]
    palette = np.rint(255 * np.concatenate(shades)).astype(np.uint8)
    pixels = BytesIO()
    figure.savefig(pixels, dpi=_DPI)
    _, nearest = KDTree(palette).query(np.asarray(Image.open(pixels).convert("RGB")))
    image = Image.fromarray(nearest.astype(np.uint8))
    image.putpalette(palette.tobytes())
    words = PngInfo()
    texts = [text.get_text() for drawn in (figure, *figure.axes) for text in drawn.texts]
    words.add_itxt("Description", "\n".join(filter(None, texts)))
    image.save(path, optimize=True, pnginfo=words)


def panel(figure: Figure, box: tuple[float, float, float, float], centre: ArrayLike, width: float) -> Axes:
    """Axes without ticks on a box (left, bottom, width, height) [inches], of equal scale, y down.

    Args:
        figure: to draw on.
        box: its place.
        centre: [2], in the middle of the box, in the unit of the axes.
        width: of the box, in the unit of the axes.
    """
    figure_width, figure_height = figure.get_size_inches()
    left, bottom, box_width, box_height = box
    axes = figure.add_axes(
        (left / figure_width, bottom / figure_height, box_width / figure_width, box_height / figure_height)
    )
    (x, y), height = np.asarray(centre, dtype=np.float64), width * box_height / box_width
    axes.set(xlim=(x - width / 2, x + width / 2), ylim=(y + height / 2, y - height / 2))
    axes.set_axis_off()
    axes.set_autoscale_on(False)
    return axes


def heading(axes: Axes, words: str, remark: str = "") -> None:
    """A bold heading at the top left of the axes, with a remark below it."""
    axes.text(0, 1, words, transform=axes.transAxes, weight="bold", fontsize=10, color=INK, va="top")
    axes.annotate(
        remark,
        (0, 1),
        (0, -14),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=8.5,
        color=INK,
        va="top",
    )


def arrow(axes: Axes, start: ArrayLike, end: ArrayLike, label: str = "", **style: Any) -> None:
    """An arrow between points [2] of the axes, with its label beyond the tip."""
    start, end = np.asarray(start), np.asarray(end)
    color, width = style.pop("color", INK), style.pop("lw", 2.0)
    fontsize = style.pop("fontsize", 9)
    axes.annotate(
        "",
        end,
        start,
        arrowprops={
            "arrowstyle": "-|>",
            "color": color,
            "lw": width,
            "mutation_scale": 6 + 3.5 * width,
            "shrinkA": 0,
            "shrinkB": 0,
            **style,
        },
        zorder=5,
    )
    if label:
        right, down = (end - start) / np.linalg.norm(end - start)
        ha = "center" if abs(right) < 0.5 else "left" if right > 0 else "right"
        gap = 9 if ha == "center" else 4
        note(axes, end, label, offset=(gap * right, -gap * down), color=color, fontsize=fontsize, ha=ha)


def dimension(axes: Axes, start: ArrayLike, end: ArrayLike, label: str, **style: Any) -> None:
    """A distance between two points [2] of the axes, its label `offset` [points] from the middle."""
    arrowprops = {"arrowstyle": "<|-|>", "color": FAINT, "lw": 1.0, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", end, start, arrowprops=arrowprops, zorder=4)
    note(axes, (np.asarray(start) + np.asarray(end)) / 2, label, **style)


def note(axes: Axes, point: ArrayLike, words: str, **style: Any) -> None:
    """Words at a point [2] of the axes, moved by `offset` [points], with a halo of paper."""
    offset = style.pop("offset", (0, 0))
    defaults = {"fontsize": 9, "color": INK, "ha": "center", "va": "center", "zorder": 6}
    halo = {"facecolor": PAPER, "alpha": 0.75, "edgecolor": "none", "pad": 0.8}
    axes.annotate(
        words,
        np.asarray(point),
        offset,
        textcoords="offset points",
        annotation_clip=False,
        **{**defaults, "bbox": halo, **style},
    )
