"""Pictures side by side under titles, the common form of this package's images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray
from skimage.measure import block_reduce

from .._files import atomic
from ..errors import InputError
from ..geometry import Camera, PatientSides

# Side of a panel [px]: smaller images are magnified to at least half of it, larger ones averaged down.
_PANEL_PX = 640
_GAP_PX = 8
_TITLE_PX = 28
_CAPTION_PX = 48
_DPI = 100
# From a border to the letter of the patient's side there [px].
_SIDE_PX = 6
SIDES_LEGEND = "letters: sides of the patient at the pose (H: head, F: feet)"
_WINDOW_PERCENT = (1.0, 99.0)


def write_panels(
    path: Path,
    panels: dict[str, NDArray[np.floating]],
    caption: str,
    sides: Mapping[str, PatientSides] | None = None,
) -> None:
    """Write pictures side by side as PNG.

    Args:
        path: where to.
        panels: RGB [H, W, 3] in 0..1, all of one size, by title.
        caption: what there is to say.
        sides: of the patient, to be marked in pictures of these titles.

    Raises:
        InputError: the file cannot be written.
    """
    figure = _side_by_side(panels, caption, sides or {})
    with atomic(path) as temporary:
        figure.savefig(temporary, format="png")


def window(
    image: NDArray[np.floating],
    seen: NDArray[np.bool_],
    percent: tuple[float, float] = _WINDOW_PERCENT,
) -> NDArray[np.float64]:
    """Image scaled to 0..1 between two percentiles of the pixels seen; a constant image becomes 0."""
    values = image[seen] if seen.any() else image
    low, high = np.percentile(values, percent)
    return np.clip((image - low) / (high - low if high > low else 1.0), 0.0, 1.0)


def grey_to_rgb(image: NDArray[np.floating]) -> NDArray[np.floating]:
    """The image [H, W] in three equal channels [H, W, 3]."""
    return np.repeat(image[..., None], 3, axis=-1)


def check_size(camera: Camera, images: dict[str, NDArray[np.floating]]) -> None:
    """Refuse images, by name, of another size than their camera's.

    Raises:
        InputError: there is one.
    """
    size = (camera.height, camera.width)
    for name, image in images.items():
        if image.shape != size:
            raise InputError(
                f"the {name} has shape {image.shape}, but its camera has (height, width) = {size}"
            )


def _side_by_side(
    panels: dict[str, NDArray[np.floating]], caption: str, sides: Mapping[str, PatientSides]
) -> Figure:
    """Panels in a row, each image pixel a whole number of screen pixels, so that nothing is interpolated."""
    fitted = {title: _fit(panel) for title, panel in panels.items()}
    height, width = next(iter(fitted.values())).shape[:2]
    total_width = len(fitted) * (width + _GAP_PX) + _GAP_PX
    total_height = _TITLE_PX + height + _CAPTION_PX
    figure = Figure(figsize=(total_width / _DPI, total_height / _DPI), dpi=_DPI)
    for index, (title, panel) in enumerate(fitted.items()):
        left = _GAP_PX + index * (width + _GAP_PX)
        axes = figure.add_axes(
            (left / total_width, _CAPTION_PX / total_height, width / total_width, height / total_height)
        )
        axes.imshow(panel, interpolation="nearest", aspect="auto", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title(title, fontsize=11, pad=5)
        if title in sides:
            _mark_sides(axes, sides[title], width, height)
    figure.text(0.5, 0.5 * _CAPTION_PX / total_height, caption, ha="center", va="center", fontsize=10)
    return figure


def _mark_sides(axes: Axes, sides: PatientSides, width: int, height: int) -> None:
    """Letters at the borders of a picture of this size [px], as on radiographs."""
    across, down = _SIDE_PX / width, _SIDE_PX / height
    for letters, x, y, horizontal, vertical in (
        (sides.left, across, 0.5, "left", "center"),
        (sides.right, 1 - across, 0.5, "right", "center"),
        (sides.top, 0.5, 1 - down, "center", "top"),
        (sides.bottom, 0.5, down, "center", "bottom"),
    ):
        mark = axes.text(
            x,
            y,
            letters,
            transform=axes.transAxes,
            ha=horizontal,
            va=vertical,
            fontsize=15,
            fontweight="bold",
            color="white",
        )
        mark.set_path_effects([withStroke(linewidth=3, foreground="black")])


def _fit(panel: NDArray[np.floating]) -> NDArray[np.floating]:
    """Panel magnified or averaged down by a whole factor."""
    longest = max(panel.shape[:2])
    if longest > _PANEL_PX:
        factor = -(-longest // _PANEL_PX)
        height, width = (size // factor * factor for size in panel.shape[:2])
        return block_reduce(panel[:height, :width], (factor, factor, 1), np.mean)
    factor = _PANEL_PX // longest
    return panel.repeat(factor, axis=0).repeat(factor, axis=1)
