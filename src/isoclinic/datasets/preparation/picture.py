"""A picture of a prepared case, for a person to check: surface and landmarks from three sides, and a DRR."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from ..._files import atomic
from ...geometry import Camera
from .originals import VERTEBRAE
from .surface import Surface
from .vertebrae import Array

# Where a viewer is, and what points to the right and up there; RAS.
_VIEWS = {
    "from the front": ((0, 1, 0), (-1, 0, 0), (0, 0, 1)),
    "from the patient's left": ((-1, 0, 0), (0, -1, 0), (0, 0, 1)),
    "from behind": ((0, -1, 0), (1, 0, 0), (0, 0, 1)),
}
_MARKERS = {
    "centroid": ("o", "white"),
    "superior": ("^", "red"),
    "inferior": ("v", "blue"),
    "anterior": ("D", "yellow"),
    "posterior": ("s", "magenta"),
    "left": ("<", "cyan"),
    "right": (">", "lime"),
}
_SIZE_INCH = (20.0, 8.0)
_DPI = 80
_COLOURS = "tab10"


def write_picture(
    path: Path,
    title: str,
    surface: Surface,
    landmarks: Mapping[str, Array],
    drr: NDArray[np.float32],
    camera: Camera,
    camera_from_world: Tensor,
) -> None:
    """Write a PNG.

    Args:
        path: the path of the PNG.
        title: above the picture.
        surface: the surface of the vertebrae.
        landmarks: points [3] by name, world [mm].
        drr: line integrals [H, W].
        camera: the camera of the DRR.
        camera_from_world: pose of the DRR [4, 4].

    Raises:
        InputError: the file cannot be written.
    """
    points = np.stack(list(landmarks.values()))
    figure = Figure(figsize=_SIZE_INCH, dpi=_DPI, layout="constrained")
    figure.suptitle(title)
    axes = figure.subplots(1, len(_VIEWS) + 1, width_ratios=[*[1] * len(_VIEWS), 1.6])
    for each, (name, (towards, right, up)) in zip(axes, _VIEWS.items(), strict=False):
        _draw_surface(each, surface, np.array(towards), np.stack([right, up]))
        _draw_landmarks(each, landmarks, points @ np.stack([right, up]).T)
        _name_vertebrae(each, surface, np.stack([right, up]))
        each.set_title(name)
        each.set_axis_off()
    axes[-1].imshow(drr, cmap="gray", vmin=np.percentile(drr, 5), vmax=np.percentile(drr, 99.9))
    pixels = camera.project(from_numpy(points), camera_from_world).numpy()
    _draw_landmarks(axes[-1], landmarks, pixels)
    axes[-1].set(xlim=(-0.5, camera.width - 0.5), ylim=(camera.height - 0.5, -0.5), title="the first DRR")
    axes[-1].set_axis_off()
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(_MARKERS), facecolor="grey")
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png")


def _draw_surface(axes: Axes, surface: Surface, towards: Array, plane: Array) -> None:
    """Its triangles on a plane (right and up [2, 3]), those nearest to the viewer last, lit from there."""
    corners = surface.vertices_world[surface.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    light = normals @ towards / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)
    seen = np.flatnonzero(light > 0)
    seen = seen[np.argsort((corners[seen] @ towards).mean(axis=1))]
    labels = surface.labels[surface.triangles[seen, 0]]
    colours = colormaps[_COLOURS](labels % colormaps[_COLOURS].N)
    colours[:, :3] *= 0.25 + 0.75 * light[seen, None]
    triangles: Any = corners[seen] @ plane.T  # as an array they are drawn faster
    axes.add_collection(PolyCollection(triangles, facecolors=colours, edgecolors="face", lw=0.3))
    axes.set_aspect("equal")
    axes.autoscale_view()


def _draw_landmarks(axes: Axes, landmarks: Mapping[str, Array], points: Array) -> None:
    """Landmarks at points [N, 2] of the axes."""
    kinds = np.array([name.partition("/")[2] for name in landmarks])
    for kind, (marker, colour) in _MARKERS.items():
        columns, rows = points[kinds == kind].T
        axes.scatter(columns, rows, marker=marker, c=colour, edgecolors="black", s=40, label=kind, zorder=2)


def _name_vertebrae(axes: Axes, surface: Surface, plane: Array) -> None:
    low = (surface.vertices_world @ plane[0]).min()
    for label in np.unique(surface.labels):
        height = (surface.vertices_of(label) @ plane[1]).mean()
        axes.text(low, height, VERTEBRAE[label], ha="right", va="center")
