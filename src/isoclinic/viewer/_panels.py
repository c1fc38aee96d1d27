"""Pictures side by side under titles, the common form of this package's images."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .._files import atomic
from ..errors import InputError
from ..geometry import Camera, PatientSides

# Side of a panel [px]: smaller images are magnified to at least half of it, larger ones averaged down.
_PANEL_PX = 640
_GAP_PX = 8
_TITLE_PX = 28
_CAPTION_PX = 48
# From a border to the letter of the patient's side there [px].
_SIDE_PX = 6
# Heights of letters [px]. Pillow's own font is used, so that nothing has to be found on the machine.
_TITLE_FONT_PX, _CAPTION_FONT_PX, _SIDE_FONT_PX = 15, 14, 22
_LINE_PX = 19
SIDES_LEGEND = "letters: sides of the patient at the pose (H: head, F: feet)"
_WINDOW_PERCENT = (1.0, 99.0)
# Of zlib: a third larger than the tightest, several times faster.
_COMPRESSION = 3


def write_panels(
    path: Path,
    panels: dict[str, NDArray[np.floating]],
    caption: str,
    sides: Mapping[str, PatientSides] | None = None,
) -> None:
    """Write pictures side by side as PNG.

    Args:
        path: the file to write.
        panels: RGB [H, W, 3] in 0..1, all of one size, by title.
        caption: text below the images.
        sides: sides of the patient, to be marked in pictures of these titles.

    Raises:
        InputError: the file cannot be written.
    """
    picture = _side_by_side(panels, caption, sides or {})
    with atomic(path) as temporary:
        picture.save(temporary, format="png", compress_level=_COMPRESSION)


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
                f"the {name} has shape {image.shape}, but its camera has (height, width) = {size}",
                code="picture.wrong-shape",
            )


def _side_by_side(
    panels: dict[str, NDArray[np.floating]], caption: str, sides: Mapping[str, PatientSides]
) -> Image.Image:
    """Panels in a row, each image pixel a whole number of screen pixels, so that nothing is interpolated."""
    fitted = {title: _fit(panel) for title, panel in panels.items()}
    height, width = next(iter(fitted.values())).shape[:2]
    total_width = len(fitted) * (width + _GAP_PX) + _GAP_PX
    lines = _wrapped(caption, total_width - 2 * _GAP_PX)
    caption_px = max(_CAPTION_PX, (len(lines) + 1) * _LINE_PX)
    picture = Image.new("RGB", (total_width, _TITLE_PX + height + caption_px), "white")
    pen = ImageDraw.Draw(picture)
    for index, (title, panel) in enumerate(fitted.items()):
        left = _GAP_PX + index * (width + _GAP_PX)
        picture.paste(Image.fromarray(np.rint(255 * panel.clip(0, 1)).astype(np.uint8)), (left, _TITLE_PX))
        place = left + width / 2, _TITLE_PX / 2
        pen.text(place, title, "black", _font(_TITLE_FONT_PX), anchor="mm")
        if title in sides:
            _mark_sides(pen, sides[title], (left, _TITLE_PX, left + width, _TITLE_PX + height))
    top = _TITLE_PX + height + (caption_px - len(lines) * _LINE_PX) / 2
    for number, line in enumerate(lines):
        place = total_width / 2, top + (number + 0.5) * _LINE_PX
        pen.text(place, line, "black", _font(_CAPTION_FONT_PX), anchor="mm")
    return picture


def _mark_sides(pen: ImageDraw.ImageDraw, sides: PatientSides, box: tuple[int, int, int, int]) -> None:
    """Letters at the borders of a picture, as on radiographs; its box is left, top, right, bottom [px]."""
    left, top, right, bottom = box
    across, down = (left + right) / 2, (top + bottom) / 2
    for letters, place, anchor in (
        (sides.left, (left + _SIDE_PX, down), "lm"),
        (sides.right, (right - _SIDE_PX, down), "rm"),
        (sides.top, (across, top + _SIDE_PX), "mt"),
        (sides.bottom, (across, bottom - _SIDE_PX), "mb"),
    ):
        font = _font(_SIDE_FONT_PX)
        pen.text(place, letters, "white", font, anchor=anchor, stroke_width=2, stroke_fill="black")


@cache
def _font(size_px: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size_px)


def _wrapped(text: str, width_px: float) -> list[str]:
    """Lines of a text that are no longer than a width, words apart."""
    font = _font(_CAPTION_FONT_PX)
    lines: list[str] = []
    for line in text.splitlines():
        begun = ""
        for word in line.split():
            longer = f"{begun} {word}" if begun else word
            if begun and font.getlength(longer) > width_px:
                lines.append(begun)
                longer = word
            begun = longer
        lines.append(begun)
    return lines


def _fit(panel: NDArray[np.floating]) -> NDArray[np.floating]:
    """Panel magnified or averaged down by a whole factor."""
    longest = max(panel.shape[:2])
    if longest > _PANEL_PX:
        factor = -(-longest // _PANEL_PX)
        height, width = (size // factor for size in panel.shape[:2])
        blocks = panel[: height * factor, : width * factor].reshape(height, factor, width, factor, -1)
        averaged: NDArray[np.floating] = blocks.mean(axis=(1, 3))
        return averaged
    factor = _PANEL_PX // longest
    return panel.repeat(factor, axis=0).repeat(factor, axis=1)
