"""Images in the drawings: radiographs, the sides of the patient in them, and what reading makes of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from _frames_patient import MARKER, XRAY, Array
from _frames_scene import AFTER, BEAM, INK, LIGHT, figure_of, heading, note, panel
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from isoclinic.geometry import Camera, se3
from isoclinic.registration import PRESETS
from isoclinic.registration.initialize import view
from isoclinic.rendering import RenderConfig, render
from isoclinic.volumes import Volume

SIDES = {"R": "right", "L": "left", "A": "anterior", "P": "posterior", "S": "superior", "I": "inferior"}
_OPPOSITE = dict(zip("RLAPSI", "LRPAIS", strict=True))


def side(direction: Array) -> str:
    """The side of the patient to which a direction [3] of the world points most nearly: one of RLAPSI."""
    axis = int(np.abs(direction).argmax())
    return "RLAPSI"[2 * axis + int(direction[axis] < 0)]


def radiograph(ct: Volume, camera: Camera, camera_from_world: Tensor) -> Array:
    """Line integrals [H, W]."""
    image: Array = render(ct, camera, camera_from_world, RenderConfig(backend="cpu"))[0].numpy()
    return image


def show(axes: Axes, image: Array, camera_from_world: Tensor | None = None) -> None:
    """An image; with its pose, the sides of the patient are written at its edges."""
    height, width = image.shape
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    axes.imshow(image, cmap="gray", vmin=0, interpolation="nearest", aspect="auto", extent=extent)
    if camera_from_world is None:
        return
    right, down, _ = (side(axis) for axis in se3.inverse(camera_from_world)[:3, :3].numpy().T)
    halo = {"facecolor": "black", "alpha": 0.6, "edgecolor": "none", "pad": 1.2}
    for code, x, y in (
        (right, 0.95, 0.5),
        (_OPPOSITE[right], 0.05, 0.5),
        (down, 0.5, 0.95),
        (_OPPOSITE[down], 0.5, 0.05),
    ):
        note(axes, (x * width, y * height), code, color=LIGHT, bbox=halo)


# From the file to the image that is compared

_MIRRORED = XRAY.camera.crop(top=0, left=30, height=200, width=170).flip(left_right=True)
_CROP = {"top": 20, "left": 40, "height": 120, "width": 120}
_BIN = 8
_STEP_HEIGHT_IN = 3.7
_MARKS: dict[str, dict[str, Any]] = {
    "pixel (0, 0)": {"marker": "s", "ms": 3.5, "color": AFTER, "ls": "", "clip_on": False},
    "principal point (cx, cy)": {"marker": "P", "ms": 8, "color": BEAM, "mec": INK, "ls": ""},
    "lead letter L": {"marker": "o", "ms": 11, "mfc": "none", "mec": AFTER, "mew": 1.8, "ls": ""},
}


def draw_stored(ct: Volume) -> Figure:
    """The same X-ray as stored, flipped, cropped and binned, each with its camera."""
    figure = figure_of(9.0, 3.75)
    upright = _MIRRORED.flip(left_right=True)
    cropped = upright.crop(**_CROP)
    steps = (
        ("As stored", "here mirrored", _MIRRORED),
        ("1  flipped", "--flip-left-right", upright),
        ("2  cropped", "--crop-px {top} {left} {height} {width}".format(**_CROP), cropped),
        ("3  binned: as used", f"--bin {_BIN}", cropped.bin(_BIN)),
    )
    for column, (name, remark, camera) in enumerate(steps):
        axes = panel(figure, (0.06 + 2.24 * column, 0.0, 2.16, _STEP_HEIGHT_IN), (0, 0), 1)
        _draw_step(axes, ct, camera)
        heading(axes, name, remark)
    for row, (words, style) in enumerate(_MARKS.items()):
        height = 0.31 - 0.045 * row
        axes.plot(0.05, height, transform=axes.transAxes, **style)
        axes.text(0.1, height, words, transform=axes.transAxes, fontsize=8, color=INK, va="center")
    return figure


def _draw_step(axes: Axes, ct: Volume, camera: Camera) -> None:
    """An image in its own pixels, millimetres of the detector being as large in all."""
    pose = view(ct, XRAY, *PRESETS["ap"])
    pixels = 620 / camera.pixel_spacing_mm[1]
    tall = pixels * _STEP_HEIGHT_IN / 2.16
    axes.set(xlim=(-0.5, pixels - 0.5), ylim=(0.85 * tall - 0.5, -0.15 * tall - 0.5))
    show(axes, radiograph(ct, camera, pose))
    lead = camera.project(torch.from_numpy(MARKER[None]), pose)[0].numpy()
    for place, style in zip(((0, 0), (camera.cx, camera.cy), lead), _MARKS.values(), strict=True):
        axes.plot(*place, **style)
    rows = (
        f"{camera.width} x {camera.height} px",
        f"fx {camera.fx:6.1f}   cx {camera.cx:5.1f}",
        f"fy {camera.fy:6.1f}   cy {camera.cy:5.1f}",
        "L at ({:.1f}, {:.1f})".format(*lead),
    )
    words = "\n".join(rows).replace("-", "−")
    axes.text(-0.5, 0.84 * tall - 0.5, words, family="monospace", fontsize=8, color=INK, va="bottom")
