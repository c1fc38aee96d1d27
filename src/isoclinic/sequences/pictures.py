"""Pictures of frames: the X-ray with the CT's edges at its pose, one by one and as an animation."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .._files import atomic
from ..errors import InputError
from ..geometry import Camera
from ..registration import RegistrationConfig
from ..results.pictures import bone_of, drr
from ..solver import Status
from ..viewer._panels import window
from ..viewer.overlay import edges
from ..volumes import Volume, XRay, line_integrals
from .config import SequenceConfig
from .frames import Frames, quietly
from .record import FrameRecord

# Entries of the palette after the greys: edges at the pose, doubt, jump, writing.
_GREYS = 250
_EDGE, _DOUBT, _JUMP, _INK = 250, 251, 252, 253
_COLOURS = {_EDGE: (255, 140, 0), _DOUBT: (230, 40, 40), _JUMP: (240, 228, 66), _INK: (255, 255, 255)}
_FONT_PX, _BORDER_PX, _BAR_PX = 13, 4, 20
# GIF counts in hundredths of a second; programs show shorter frames longer.
_SHORTEST_MS = 20
_LONGEST_MS = 2000


def planes_picture(
    volume: Volume, planes: Sequence[Frames], record: FrameRecord, config: RegistrationConfig, pixels: int
) -> Image.Image:
    """The pictures of a frame in all planes, side by side; see `frame_picture`.

    Args:
        volume: the CT.
        planes: of the run.
        record: of the frame.
        config: of the registration.
        pixels: longer side of the picture in each plane, about.
    """
    pictures = [
        frame_picture(volume, frames, record, config, pixels, plane=plane)
        for plane, frames in enumerate(planes)
    ]
    if len(pictures) == 1:
        return pictures[0]
    size = sum(each.width for each in pictures), max(each.height for each in pictures)
    whole = Image.new("P", size, 0)
    whole.putpalette(_palette())
    left = 0
    for each in pictures:
        whole.paste(each, (left, size[1] - each.height))
        left += each.width
    return whole


def frame_picture(
    volume: Volume,
    frames: Frames,
    record: FrameRecord,
    config: RegistrationConfig,
    pixels: int,
    *,
    plane: int = 0,
) -> Image.Image:
    """The X-ray of a frame, bright where dense, with the edges of the CT at its pose; a black one without.

    Args:
        volume: the CT.
        frames: of the run, in that plane.
        record: of the frame.
        config: of the registration.
        pixels: longer side of the picture, about.
        plane: which of its X-rays it is, counted from 0.

    Returns:
        an image of mode P, all with one palette.
    """
    try:
        with quietly():
            xray = frames.read(record.index)
        camera = record.cameras[plane] if plane < len(record.cameras) else None
        if camera is not None and _size(xray) == (camera.width, camera.height):
            xray = _as_registered(xray, record, camera)
        shown = _levels(volume, xray, record.pose_in(plane), config, pixels)
    except InputError:
        shown = np.zeros((pixels, pixels), dtype=np.uint8)
    return _marked(shown, record)


def write_animation(
    path: Path,
    volume: Volume,
    planes: Sequence[Frames],
    records: Sequence[FrameRecord],
    registration: RegistrationConfig,
    config: SequenceConfig,
) -> int:
    """Write a run as an animated GIF; returns how many of its frames it shows.

    Args:
        path: where to.
        volume: the CT.
        planes: of the run, shown side by side.
        records: of the frames.
        registration: how the run was registered.
        config: size and length.

    Raises:
        InputError: the file cannot be written.
    """
    shown = chosen(records, config.animation_frames)
    pictures = _same_size(
        planes_picture(volume, planes, record, registration, config.animation_pixels) for record in shown
    )
    first = next(pictures)
    with atomic(path) as temporary:
        first.save(
            temporary,
            format="gif",
            save_all=True,
            append_images=pictures,
            duration=_durations_ms(shown, config),
            loop=0,
            optimize=False,
        )
    return len(shown)


def chosen(records: Sequence[FrameRecord], most: int) -> list[FrameRecord]:
    """At most so many frames, evenly spread."""
    if len(records) <= most:
        return list(records)
    return [records[round(index)] for index in np.linspace(0, len(records) - 1, most)]


def _size(xray: XRay) -> tuple[int, int]:
    return xray.camera.width, xray.camera.height


def _as_registered(xray: XRay, record: FrameRecord, camera: Camera) -> XRay:
    if record.mirrored:
        xray = replace(
            xray,
            pixels=np.fliplr(xray.pixels),
            excluded=None if xray.excluded is None else np.fliplr(xray.excluded),
        )
    return xray.recalibrated(camera)


def _levels(
    volume: Volume, xray: XRay, pose: Tensor | None, config: RegistrationConfig, pixels: int
) -> NDArray[np.uint8]:
    """Entries of the palette [H, W]."""
    longer = max(_size(xray))
    factor = math.ceil(longer / pixels)
    picture = xray.bin(factor) if factor > 1 else xray
    image, weight = line_integrals(picture, config.preprocess)
    seen = weight > 0 if weight.any() else np.ones_like(weight, dtype=bool)
    levels = np.rint((_GREYS - 1) * window(image, seen)).astype(np.uint8)
    enlarged = max(1, pixels // max(levels.shape))
    levels = levels.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
    if pose is not None:
        # Lines are as thin as a pixel of the picture, not of a small X-ray.
        height, width = levels.shape
        camera = picture.camera.resize(height=height, width=width)
        rendered = drr(volume, camera, pose, config)
        bone = bone_of(volume, camera, pose, config, rendered)
        lines = edges(window(bone, np.ones_like(bone, dtype=bool)))
        levels[lines & seen.repeat(enlarged, axis=0).repeat(enlarged, axis=1)] = _EDGE
    return levels


def _marked(levels: NDArray[np.uint8], record: FrameRecord) -> Image.Image:
    """A picture with a line of writing below, and a border where the frame needs a look."""
    height, width = levels.shape
    picture = Image.new("P", (width, height + _BAR_PX), 0)
    picture.putpalette(_palette())
    picture.paste(_as_palette(levels), (0, 0))
    pen = ImageDraw.Draw(picture)
    words = [f"{record.index}" if record.time_s is None else f"{record.index}, {record.time_s:.2f} s"]
    colour = None
    if record.jumped:
        words, colour = [*words, "jump"], _JUMP
    if record.unchanged:
        words.append("unchanged")
    if not record.right:
        words, colour = [*words, "no pose" if not record.usable else "doubtful"], _DOUBT
    elif record.status == Status.MAX_STEPS:
        words.append("not settled")
    if colour is not None:
        pen.rectangle((0, 0, width - 1, height - 1), outline=colour, width=_BORDER_PX)
    pen.text((6, height + 3), ", ".join(words), _INK if colour is None else colour, _font())
    return picture


def _as_palette(levels: NDArray[np.uint8]) -> Image.Image:
    """Entries of the palette as a picture."""
    height, width = levels.shape
    picture = Image.frombytes("P", (width, height), levels.tobytes())
    picture.putpalette(_palette())
    return picture


@cache
def _palette() -> bytes:
    greys = [round(255 * level / (_GREYS - 1)) for level in range(_GREYS)]
    colours = [(grey, grey, grey) for grey in greys]
    colours += [_COLOURS.get(index, (0, 0, 0)) for index in range(_GREYS, 256)]
    return bytes(channel for colour in colours for channel in colour)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_PX)


def _same_size(pictures: Iterator[Image.Image]) -> Iterator[Image.Image]:
    """Pictures put into the middle of one as large as the first: a run may change its size."""
    size: tuple[int, int] | None = None
    for picture in pictures:
        size = size or picture.size
        if picture.size == size:
            yield picture
            continue
        fitted = Image.new("P", size, 0)
        fitted.putpalette(_palette())
        fitted.paste(picture, ((size[0] - picture.width) // 2, (size[1] - picture.height) // 2))
        yield fitted


def _durations_ms(shown: Sequence[FrameRecord], config: SequenceConfig) -> list[int]:
    """How long each frame is shown: until the next one was taken."""
    usual = config.frame_time_s
    times = [record.time_s for record in shown]
    steps = [
        after - before if before is not None and after is not None else usual
        for before, after in pairwise(times)
    ]
    steps.append(steps[-1] if steps else usual)
    return [round(min(max(1000 * step, _SHORTEST_MS), _LONGEST_MS) / 10) * 10 for step in steps]
