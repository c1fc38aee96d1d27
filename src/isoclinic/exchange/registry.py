"""The formats by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ..errors import UsageError
from ..geometry import Camera
from . import diffdrr, itk, nanodrr, opencv, rtk, slicer, xreg
from ._itk_transform import SUFFIXES as ITK_SUFFIXES
from .format_names import FormatName
from .posed_camera import PosedCamera


@dataclass(frozen=True, kw_only=True)
class Format:
    """The functions that write and read another program's file.

    Attributes:
        suffixes: endings that the file's name may have.
        write: function that writes a pose to the path, completely or not at all.
        read: function that reads the path; the camera supplies what the file lacks.
    """

    suffixes: tuple[str, ...]
    write: Callable[[Path, PosedCamera], None]
    read: Callable[[Path, Camera | None], PosedCamera]


FORMATS: Mapping[FormatName, Format] = {
    "slicer": Format(suffixes=ITK_SUFFIXES, write=slicer.write, read=slicer.read),
    "itk": Format(suffixes=ITK_SUFFIXES, write=itk.write, read=itk.read),
    "opencv": Format(suffixes=opencv.SUFFIXES, write=opencv.write, read=opencv.read),
    "diffdrr": Format(suffixes=diffdrr.SUFFIXES, write=diffdrr.write, read=diffdrr.read),
    "nanodrr": Format(suffixes=nanodrr.SUFFIXES, write=nanodrr.write, read=nanodrr.read),
    "xreg": Format(suffixes=ITK_SUFFIXES, write=xreg.write, read=xreg.read),
    "rtk": Format(suffixes=rtk.SUFFIXES, write=rtk.write, read=rtk.read),
}


def write_pose(path: Path | str, posed: PosedCamera, format: FormatName) -> None:
    """Write a pose for another program, whole or not at all.

    Raises:
        UsageError: an unknown format, or a name that does not end as the format's files do.
        InputError: the file cannot be written.
    """
    chosen, file = _format(format), Path(path)
    if file.suffix.lower() not in chosen.suffixes:
        raise UsageError(
            f"{file} must end in {', '.join(chosen.suffixes)} to be a file for {format}",
            code="exchange.invalid-value",
        )
    chosen.write(file, posed)


def read_pose(path: Path | str, format: FormatName, camera: Camera | None = None) -> PosedCamera:
    """Read a pose of another program.

    Args:
        path: the file.
        format: its format.
        camera: supplies what the file lacks: all intrinsics for slicer, itk and xreg, the pixels for rtk, the
            source-detector distance for opencv.

    Raises:
        UsageError: an unknown format, or a file that needs a camera where none is given.
        InputError: the file cannot be read, is of another format, or holds no rigid pose.
    """
    return _format(format).read(Path(path), camera)


def _format(name: FormatName) -> Format:
    if name not in FORMATS:
        raise UsageError(
            f"{name!r} is not a known format; choose one of {', '.join(get_args(FormatName))}",
            code="exchange.unknown-format",
        )
    return FORMATS[name]
