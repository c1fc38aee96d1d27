"""The picture that shows whether to believe a pose: X-ray, DRR, edge overlay and checkerboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from skimage.feature import canny
from skimage.measure import block_reduce

from .._files import atomic
from ..errors import InputError
from ..geometry import Camera

# Side of a panel [px]: smaller images are magnified to at least half of it, larger ones averaged down.
_PANEL_PX = 640
_GAP_PX = 8
_TITLE_PX = 28
_CAPTION_PX = 48
_DPI = 100
_TILES = 8
_EDGE_COLOUR = (1.0, 0.55, 0.0)
_EDGE_SIGMA_PX = 2.0
# Quantiles of the gradient: the strongest tenth starts an edge, the next tenth continues it.
_EDGE_QUANTILES = (0.8, 0.9)
_WINDOW_PERCENT = (1.0, 99.0)


def write_overlay(
    path: Path | str,
    *,
    xray: NDArray[np.floating],
    drr: NDArray[np.floating],
    camera: Camera,
    weight: NDArray[np.floating] | None = None,
    caption: str = "",
) -> None:
    """Write a PNG with X-ray, DRR, edge overlay and checkerboard side by side.

    Args:
        path: where to.
        xray: [H, W], bright where dense.
        drr: [H, W], the same view, bright where dense.
        camera: of both.
        weight: [H, W]; pixels of weight zero do not set the X-ray's tones, and carry no edges.
        caption: what else there is to say, such as the status and the expected error.

    Raises:
        InputError: images of different sizes, or the file cannot be written.
    """
    weight = np.ones_like(xray) if weight is None else weight
    size = (camera.height, camera.width)
    for name, image in (("X-ray", xray), ("DRR", drr), ("weight map", weight)):
        if image.shape != size:
            raise InputError(
                f"the {name} has shape {image.shape}, but its camera has (height, width) = {size}"
            )
    seen = weight > 0
    fixed, moving = _window(xray, seen), _window(drr, np.ones_like(seen))
    panels = {
        "X-ray": _grey_to_rgb(fixed),
        "DRR at the pose": _grey_to_rgb(moving),
        "edges of the DRR on the X-ray": edge_overlay(fixed, moving, seen),
        "checkerboard, X-ray top left": _grey_to_rgb(checkerboard(fixed, moving)),
    }
    row_mm, column_mm = camera.pixel_spacing_mm
    frame = (
        f"seen from the source, bright where dense; {camera.width} x {camera.height} pixels "
        f"of {column_mm:.3g} x {row_mm:.3g} mm on the detector"
    )
    figure = _side_by_side(panels, "\n".join(line for line in (caption, frame) if line))
    with atomic(Path(path)) as temporary:
        figure.savefig(temporary, format="png")


def checkerboard(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """[H, W] with tiles alternately from a and b, [H, W] each; eight along the shorter side, a's top left."""
    tile = max(1, round(min(a.shape) / _TILES))
    rows, columns = np.indices(a.shape) // tile
    return np.where((rows + columns) % 2 == 0, a, b)


def edge_overlay(
    background: NDArray[np.floating], outlined: NDArray[np.floating], seen: NDArray[np.bool_]
) -> NDArray[np.floating]:
    """RGB [H, W, 3]: grey background with the Canny edges of `outlined` drawn in, both [H, W] in 0..1.

    Args:
        background: drawn in grey.
        outlined: whose edges are drawn.
        seen: [H, W], where edges may be drawn.
    """
    low, high = _EDGE_QUANTILES
    edges = canny(outlined, sigma=_EDGE_SIGMA_PX, low_threshold=low, high_threshold=high, use_quantiles=True)
    picture = _grey_to_rgb(background)
    picture[edges & seen] = _EDGE_COLOUR
    return picture


def _window(image: NDArray[np.floating], seen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Image scaled to 0..1 between two percentiles of the pixels seen; a constant image becomes 0."""
    values = image[seen] if seen.any() else image
    low, high = np.percentile(values, _WINDOW_PERCENT)
    return np.clip((image - low) / (high - low if high > low else 1.0), 0.0, 1.0)


def _grey_to_rgb(image: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.repeat(image[..., None], 3, axis=-1)


def _side_by_side(panels: dict[str, NDArray[np.floating]], caption: str) -> Figure:
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
    figure.text(0.5, 0.5 * _CAPTION_PX / total_height, caption, ha="center", va="center", fontsize=10)
    return figure


def _fit(panel: NDArray[np.floating]) -> NDArray[np.floating]:
    """Panel magnified or averaged down by a whole factor."""
    longest = max(panel.shape[:2])
    if longest > _PANEL_PX:
        factor = -(-longest // _PANEL_PX)
        height, width = (size // factor * factor for size in panel.shape[:2])
        return block_reduce(panel[:height, :width], (factor, factor, 1), np.mean)
    factor = _PANEL_PX // longest
    return panel.repeat(factor, axis=0).repeat(factor, axis=1)
