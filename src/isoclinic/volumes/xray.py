"""An X-ray: pixels and the camera that took them, always changed together."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..geometry.camera import Camera
from ._warnings import GeometryWarning
from .xray_readers import PixelScale, Polarity, Reading, polarity_from_statistics, read_file

_REQUIRED = {
    "sdd_mm": ("the source-detector distance", "--sdd-mm MM"),
    "pixel_spacing_mm": ("the detector's pixel spacing", "--pixel-spacing-mm ROW COLUMN"),
}


@dataclass(frozen=True, kw_only=True)
class XRayOptions:
    """What to believe instead of the X-ray file, and which part of the image to use.

    Values left at None are read from the file. Geometry describes the image as stored: it holds before
    the image is flipped, cropped and binned, in this order.

    Attributes:
        sdd_mm: distance from the source to the detector [mm].
        source_isocentre_mm: distance from the source to the isocentre [mm].
        pixel_spacing_mm: (row, column) spacing of the detector's pixels [mm].
        principal_point_px: (cx, cy), column and row where the central ray meets the detector [px], the
            centre of the top left pixel being (0, 0); the image centre when nothing says otherwise.
        primary_angle_deg: C-arm angle towards the patient's left (DICOM PositionerPrimaryAngle) [deg].
        secondary_angle_deg: C-arm angle towards the head (DICOM PositionerSecondaryAngle) [deg].
        frame: which image of a multi-frame file, counted from 0. DICOM runs default to the middle one, the
            first being taken while the exposure settles.
        polarity: whether the unattenuated beam is bright ('bright_air', as the detector measures it) or
            dark ('dark_air', as radiographs are shown).
        pixel_scale: whether pixels follow the beam's intensity ('linear') or its logarithm ('log').
        flip_left_right: the stored image is mirrored left to right; mirror it back.
        flip_top_bottom: the stored image is mirrored top to bottom; mirror it back.
        crop_px: (top, left, height, width) of the part to use [px].
        bin: average blocks of this many pixels in each direction.
    """

    sdd_mm: float | None = None
    source_isocentre_mm: float | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    principal_point_px: tuple[float, float] | None = None
    primary_angle_deg: float | None = None
    secondary_angle_deg: float | None = None
    frame: int | None = None
    polarity: Literal["auto", "bright_air", "dark_air"] = "auto"
    pixel_scale: Literal["auto", "linear", "log"] = "auto"
    flip_left_right: bool = False
    flip_top_bottom: bool = False
    crop_px: tuple[int, int, int, int] | None = None
    bin: int = 1

    def __post_init__(self) -> None:
        for name in ("sdd_mm", "source_isocentre_mm", "pixel_spacing_mm"):
            value = getattr(self, name)
            if value is not None and not _all_positive(value):
                raise UsageError(f"--{name.replace('_', '-')} must be positive, not {value}")


@dataclass(frozen=True, eq=False, kw_only=True)
class XRay:
    """One X-ray image with its geometry.

    Attributes:
        pixels: [H, W] float32, as stored (rescale slope and intercept applied), finite.
        camera: intrinsics of exactly these pixels.
        polarity: 'bright_air' where pixels grow with the beam that arrives, 'dark_air' where they shrink.
        pixel_scale: 'linear' where pixels follow the beam's intensity, 'log' where they follow its logarithm.
        source_isocentre_mm: distance from the source to the isocentre [mm], where known.
        primary_angle_deg: DICOM PositionerPrimaryAngle [deg], where known.
        secondary_angle_deg: DICOM PositionerSecondaryAngle [deg], where known.
        provenance: where each value came from, by the name of its option.
        path: the file it was read from.

    Raises:
        InputError: pixels that are not one finite, non-constant grey image of the camera's size.
    """

    pixels: NDArray[np.float32]
    camera: Camera
    polarity: Polarity = "bright_air"
    pixel_scale: PixelScale = "linear"
    source_isocentre_mm: float | None = None
    primary_angle_deg: float | None = None
    secondary_angle_deg: float | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)
    path: Path | None = None

    def __post_init__(self) -> None:
        where = str(self.path) if self.path else "the X-ray"
        pixels = _checked(np.ascontiguousarray(self.pixels, dtype=np.float32), where)
        if pixels.shape != (self.camera.height, self.camera.width):
            raise InputError(
                f"{where} has pixels of shape {pixels.shape}, not (height, width) = "
                f"{(self.camera.height, self.camera.width)} of its camera"
            )
        object.__setattr__(self, "pixels", pixels)

    @classmethod
    def read(cls, path: str | Path, options: XRayOptions | None = None) -> XRay:
        """Read an X-ray and its geometry.

        DICOM: distances, spacing (ImagerPixelSpacing, then PixelSpacing), angles and the meaning of pixel
        values come from the header; compressed and multi-frame files work. PNG, TIFF and NIfTI: from a
        JSON file of the same name beside the image ('knee.png', 'knee.json'), an object with `sdd_mm` and
        either `pixel_spacing_mm` ([row, column]) or `fx` and `fy` [px], and optionally `cx` and `cy` [px]
        (or `principal_point_px`), `width`, `height`, `source_isocentre_mm`, `primary_angle_deg`,
        `secondary_angle_deg`, `polarity` and `pixel_scale`. Options win over the file.

        Raises:
            InputError: the file cannot be used; the message names the option that supplies a missing value.
            UsageError: options that do not fit the file.
        """
        path, options = Path(path), options or XRayOptions()
        reading = read_file(path, options.frame)
        height, width = _checked(reading.pixels, str(path)).shape
        values, provenance = _resolve(path, reading, options)
        camera = Camera.from_pixel_spacing(
            width=width,
            height=height,
            pixel_spacing_mm=values["pixel_spacing_mm"],
            sdd_mm=values["sdd_mm"],
            principal_point_px=values.get("principal_point_px"),
        )
        # Seen as stored, a mirrored image has negative focal lengths; flipping it makes them positive.
        stored = replace(
            camera,
            fx=-camera.fx if options.flip_left_right else camera.fx,
            fy=-camera.fy if options.flip_top_bottom else camera.fy,
        )
        xray = cls(
            pixels=reading.pixels,
            camera=stored,
            polarity=values["polarity"],
            pixel_scale=values["pixel_scale"],
            source_isocentre_mm=values.get("source_isocentre_mm"),
            primary_angle_deg=values.get("primary_angle_deg"),
            secondary_angle_deg=values.get("secondary_angle_deg"),
            provenance=provenance,
            path=path,
        )
        xray = xray.flip(left_right=options.flip_left_right, top_bottom=options.flip_top_bottom)
        if options.crop_px is not None:
            top, left, height, width = options.crop_px
            xray = xray.crop(top=top, left=left, height=height, width=width)
        return xray if options.bin == 1 else xray.bin(options.bin)

    def crop(self, *, top: int, left: int, height: int, width: int) -> XRay:
        """The window of `height` x `width` pixels whose top left pixel is (left, top).

        Raises:
            UsageError: the window does not lie inside the image.
        """
        inside = top >= 0 and left >= 0 and height >= 1 and width >= 1
        if not (inside and top + height <= self.camera.height and left + width <= self.camera.width):
            raise UsageError(
                f"crop (top {top}, left {left}, height {height}, width {width}) does not fit the image of "
                f"{self.camera.height} x {self.camera.width} pixels"
            )
        camera = self.camera.crop(top=top, left=left, height=height, width=width)
        return replace(self, pixels=self.pixels[top : top + height, left : left + width], camera=camera)

    def pad(self, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> XRay:
        """The image with that many pixels of its lowest value added on each side."""
        pixels = np.pad(
            self.pixels, ((top, bottom), (left, right)), mode="constant", constant_values=self.pixels.min()
        )
        return replace(
            self, pixels=pixels, camera=self.camera.pad(top=top, bottom=bottom, left=left, right=right)
        )

    def bin(self, factor: int) -> XRay:
        """The image averaged over blocks of `factor` x `factor` pixels; a remainder is dropped.

        Raises:
            InputError: a factor below one or larger than the image.
        """
        camera = self.camera.bin(factor)
        kept = self.pixels[: camera.height * factor, : camera.width * factor]
        blocks = kept.reshape(camera.height, factor, camera.width, factor)
        return replace(self, pixels=blocks.mean(axis=(1, 3), dtype=np.float64), camera=camera)

    def resize(self, *, height: int, width: int) -> XRay:
        """The same field of view sampled with `height` x `width` pixels (bilinear, antialiased)."""
        camera = self.camera.resize(height=height, width=width)
        image = torch.from_numpy(self.pixels)[None, None]
        # Without aligned corners torch keeps pixel edges, as the camera does.
        resized = torch.nn.functional.interpolate(
            image, size=(height, width), mode="bilinear", align_corners=False, antialias=True
        )
        return replace(self, pixels=resized[0, 0].numpy(), camera=camera)

    def flip(self, *, left_right: bool = False, top_bottom: bool = False) -> XRay:
        """The mirrored image; its camera's focal lengths change sign, so it shows the same scene."""
        rows, columns = (slice(None, None, -1 if flag else 1) for flag in (top_bottom, left_right))
        return replace(
            self,
            pixels=self.pixels[rows, columns],
            camera=self.camera.flip(left_right=left_right, top_bottom=top_bottom),
        )


def _checked(pixels: NDArray[np.float32], where: str) -> NDArray[np.float32]:
    if bad := np.count_nonzero(~np.isfinite(pixels)):
        raise InputError(f"{where} has {bad} pixels that are NaN or infinite; replace them first")
    if pixels.min() == pixels.max():
        raise InputError(f"{where} shows nothing: all its pixels are {pixels.flat[0]:g}")
    return pixels


def _resolve(path: Path, reading: Reading, options: XRayOptions) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and their provenance after options have overridden what the file says."""
    values, provenance = dict(reading.values), dict(reading.provenance)
    for name in (
        *("sdd_mm", "source_isocentre_mm", "pixel_spacing_mm", "principal_point_px"),
        *("primary_angle_deg", "secondary_angle_deg", "polarity", "pixel_scale"),
    ):
        given = getattr(options, name)
        if given is not None and given != "auto":
            values[name], provenance[name] = given, f"option --{name.replace('_', '-')}"
    for name, (meaning, option) in _REQUIRED.items():
        if name not in values:
            reason = reading.problems.get(name, "the file does not give it")
            raise InputError(f"{path} lacks {meaning}: {reason}; supply it with {option}")
        if not _all_positive(values[name]):
            raise InputError(
                f"{path}: {meaning} ({provenance[name]}) is {values[name]}, not positive;"
                f" supply it with {option}"
            )
    if "principal_point_px" not in values:
        provenance["principal_point_px"] = "image centre (assumed)"
    if "polarity" not in values:
        values["polarity"] = polarity_from_statistics(reading.pixels)
        provenance["polarity"] = "image statistics"
        warnings.warn(
            f"{path} does not say whether air is bright or dark; guessed {values['polarity']} from the image"
            " (--polarity overrides)",
            GeometryWarning,
            stacklevel=3,
        )
    if "pixel_scale" not in values:
        # Detectors deliver intensities; images with dark air have been through a display curve.
        values["pixel_scale"] = "linear" if values["polarity"] == "bright_air" else "log"
        provenance["pixel_scale"] = f"assumed for {values['polarity']}"
    return values, provenance


def _all_positive(value: float | tuple[float, float]) -> bool:
    numbers = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(number) and number > 0 for number in numbers)
