"""What an X-ray file says, and what its readers share: one grey image of one frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ._dicom_header import DicomHeader

PixelScale = Literal["linear", "log"]


@dataclass(frozen=True, kw_only=True)
class FileReading:
    """One X-ray file: its pixels and everything it says about them.

    Attributes:
        pixels: [H, W] float32.
        values: name of an `XRayOptions` field -> value found in the file; absent names were not found.
        provenance: the same names -> where the value came from.
        problems: names of required fields that the file gives wrongly -> what is wrong.
        doubts: names of fields that the file gives in two ways, or wrongly and that are not required -> what
            to warn of where no option says better.
        header: the header of a DICOM file, which says where detector and source were, and who was in between.
        notes: what else to warn of.
        excluded: [H, W] bool, True where the file says that there is no image; None where it says nothing.
    """

    pixels: NDArray[np.float32]
    values: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)
    header: DicomHeader | None = None
    notes: tuple[str, ...] = ()
    excluded: NDArray[np.bool_] | None = None


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An image of a format that does not say how the X-ray was taken.

    Attributes:
        pixels: [H, W] float32, upright.
        excluded: [H, W] bool, where there is no image; None where there is everywhere.
        pixel_spacing_mm: (row, column) spacing that the file gives; None where it gives none.
        orientation: what was done to what is stored, and why; empty where nothing was.
        stored_shape: (height, width) as stored, where something was done.
        exchanged: whether rows are columns of what is stored.
        notes: what to warn of.
    """

    pixels: NDArray[np.float32]
    excluded: NDArray[np.bool_] | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    orientation: str = ""
    stored_shape: tuple[int, int] | None = None
    exchanged: bool = False
    notes: tuple[str, ...] = ()


def one_channel(path: Path, pixels: NDArray[Any]) -> NDArray[Any]:
    """[H, W] of pixels [H, W] or [H, W, 1 or 3 equal channels]."""
    if pixels.ndim == 3 and pixels.shape[-1] in (1, 3):
        if np.any(pixels != pixels[..., :1]):
            raise InputError(f"{path} is a colour image; convert it to one grey channel", code="xray.colour")
        return pixels[..., 0]
    return pixels


def grey_image(path: Path, pixels: NDArray[Any], *, frame: int | None) -> NDArray[np.float32]:
    """The one grey image in `pixels`, [H, W] or [planes, H, W]."""
    if pixels.ndim == 3:
        if frame is None and pixels.shape[0] > 1:
            raise InputError(
                f"{path} holds {pixels.shape[0]} planes of {pixels.shape[2]} x {pixels.shape[1]} pixels, not"
                " one X-ray: choose one with `frame`, or give it as the volume (`volume`) if it is a CT",
                code="xray.several-images",
            )
        pixels = pixels[frame_index(path, pixels.shape[0], frame)]
    elif pixels.ndim == 2 and frame is not None:
        frame_index(path, 1, frame)
    if pixels.ndim != 2 or pixels.dtype.kind not in "biuf":
        raise InputError(
            f"{path} is no grey image: array of shape {pixels.shape}, type {pixels.dtype}",
            code="xray.wrong-shape",
        )
    if not pixels.size:
        raise InputError(f"{path} has no pixels: array of shape {pixels.shape}", code="xray.wrong-shape")
    with np.errstate(over="ignore"):  # who needs finite pixels checks them
        return np.ascontiguousarray(pixels, dtype=np.float32)


def frame_index(path: Path, frames: int, frame: int | None) -> int:
    if frame is None:
        return frames // 2
    if not 0 <= frame < frames:
        raise UsageError(
            f"`frame` {frame} does not exist: {path} has frames 0 to {frames - 1}", code="xray.frame-missing"
        )
    return frame
