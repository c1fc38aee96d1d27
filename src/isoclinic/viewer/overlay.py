"""The picture that shows whether to believe a pose: X-ray, DRR, edge overlay and checkerboard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.feature import canny

from ..geometry import Camera, PatientSides
from ._panels import SIDES_LEGEND, check_size, grey_to_rgb, window, write_panels

TILES = 8
EDGE_COLOUR, START_COLOUR = (1.0, 0.55, 0.0), (0.337, 0.706, 0.914)
_EDGE_SIGMA_PX = 2.0
# Quantiles of the gradient: the strongest tenth starts an edge, the next tenth continues it.
_EDGE_QUANTILES = (0.8, 0.9)


def write_overlay(
    path: Path | str,
    *,
    xray: NDArray[np.floating],
    drr: NDArray[np.floating],
    camera: Camera,
    bones: NDArray[np.floating] | None = None,
    start_bones: NDArray[np.floating] | None = None,
    weight: NDArray[np.floating] | None = None,
    sides: PatientSides | None = None,
    caption: str = "",
) -> None:
    """Write a PNG with X-ray, DRR, edge overlay and checkerboard side by side.

    Edges of the result are orange, those of the start blue.

    Args:
        path: the file to write.
        xray: [H, W], bright where dense.
        drr: [H, W], the same view, bright where dense.
        camera: the camera of all images.
        bones: [H, W], bone alone in the same view, whose edges are drawn; those of the DRR if None.
        start_bones: [H, W], bone alone where the registration started, whose edges are drawn below, if given.
        weight: [H, W]; pixels of weight zero do not set the X-ray's tones, and carry no edges.
        sides: sides of the patient at the pose, to be marked.
        caption: text below the images, such as the status and the expected error.

    Raises:
        InputError: images of different sizes, or the file cannot be written.
    """
    weight = np.ones_like(xray) if weight is None else weight
    given = {"X-ray": xray, "DRR": drr, "bone": bones, "bone at the start": start_bones, "weight map": weight}
    check_size(camera, {name: image for name, image in given.items() if image is not None})
    seen = weight > 0
    everywhere = np.ones_like(seen)
    fixed, moving = window(xray, seen), window(drr, everywhere)
    outlined = moving if bones is None else window(bones, everywhere)
    before = None if start_bones is None else window(start_bones, everywhere)
    title = "edges of the result on the X-ray" if before is None else "edges: start blue, result orange"
    panels = {
        "X-ray": grey_to_rgb(fixed),
        "DRR at the pose": grey_to_rgb(moving),
        title: edge_overlay(fixed, outlined, seen, before),
        "checkerboard, X-ray top left": grey_to_rgb(checkerboard(fixed, moving)),
    }
    row_mm, column_mm = camera.pixel_spacing_mm
    frame = (
        f"seen from the source, bright where dense; {camera.width} x {camera.height} pixels "
        f"of {column_mm:.3g} x {row_mm:.3g} mm on the detector"
    )
    marked = {} if sides is None else dict.fromkeys(panels, sides)
    if marked:
        frame = f"{frame}; {SIDES_LEGEND}"
    write_panels(Path(path), panels, "\n".join(line for line in (caption, frame) if line), marked)


def write_overview(
    path: Path | str,
    *,
    xray: NDArray[np.floating],
    start: NDArray[np.floating],
    drr: NDArray[np.floating],
    camera: Camera,
    weight: NDArray[np.floating],
    start_sides: PatientSides | None = None,
    sides: PatientSides | None = None,
    caption: str = "",
) -> None:
    """Write a PNG with X-ray, DRR at the start, DRR at the result, and the latter's edges on the X-ray.

    Args:
        path: the file to write.
        xray: [H, W], bright where dense.
        start: [H, W], DRR at the initial pose.
        drr: [H, W], DRR at the result.
        camera: the camera of all three.
        weight: [H, W]; pixels of weight zero are black in the X-ray, and carry no edges.
        start_sides: sides of the patient at the start, to be marked.
        sides: sides of the patient at the result, to be marked.
        caption: text below the images.

    Raises:
        InputError: images of different sizes, or the file cannot be written.
    """
    check_size(camera, {"X-ray": xray, "DRR at the start": start, "DRR": drr, "weight map": weight})
    seen = weight > 0
    fixed = np.where(seen, window(xray, seen), 0.0)
    before, after = (window(image, np.ones_like(seen)) for image in (start, drr))
    panels = {
        "X-ray": grey_to_rgb(fixed),
        "CT rendered at the start": grey_to_rgb(before),
        "CT rendered at the result": grey_to_rgb(after),
        "edges of the result on the X-ray": edge_overlay(fixed, after, seen),
    }
    marked = {} if sides is None else dict.fromkeys(panels, sides)
    marked |= {} if start_sides is None else {"CT rendered at the start": start_sides}
    write_panels(Path(path), panels, caption, marked)


def checkerboard(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """Tiles alternately from a and b [H, W]; eight along the shorter side, a's at the top left."""
    tile = max(1, round(min(a.shape) / TILES))
    rows, columns = np.indices(a.shape) // tile
    return np.where((rows + columns) % 2 == 0, a, b)


def edge_overlay(
    background: NDArray[np.floating],
    outlined: NDArray[np.floating],
    seen: NDArray[np.bool_],
    before: NDArray[np.floating] | None = None,
) -> NDArray[np.floating]:
    """RGB [H, W, 3]: grey background with the Canny edges of `outlined` drawn in, both [H, W] in 0..1.

    Args:
        background: drawn in grey.
        outlined: the image whose edges are drawn.
        seen: [H, W], where edges may be drawn.
        before: [H, W] in 0..1, whose edges are drawn below the others', in the colour of the start.
    """
    picture = grey_to_rgb(background)
    if before is not None:
        picture[edges(before) & seen] = START_COLOUR
    picture[edges(outlined) & seen] = EDGE_COLOUR
    return picture


def edges(image: NDArray[np.floating]) -> NDArray[np.bool_]:
    """The Canny edges of an image, [H, W] in 0..1."""
    low, high = _EDGE_QUANTILES
    return canny(image, sigma=_EDGE_SIGMA_PX, low_threshold=low, high_threshold=high, use_quantiles=True)
