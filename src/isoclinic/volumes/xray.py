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
from ..geometry.distortion import Distortion
from ._warnings import GeometryWarning
from .polarity import Polarity, polarity_from_statistics
from .xray_readers import PixelScale, Reading, read_file

# Where a polarity comes from that no header and no option says.
POLARITY_GUESSED = "image statistics"

# Share of an excluded pixel in an interpolated one that excludes it; less is rounding.
_LEAST_EXCLUDED = 0.01

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
        crop_px: (top, left, height, width) of the part to use [px], after flipping.
        bin: average blocks of this many pixels in each direction.
        exclude: an image (PNG, TIFF, NIfTI or DICOM) of the stored X-ray's size that is not zero where the
            X-ray must not be used, such as on tools and implants.

    Raises:
        UsageError: a length that is not positive, an angle or point that is not finite, or `bin` below 1.
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
    exclude: Path | None = None

    def __post_init__(self) -> None:
        for name in ("sdd_mm", "source_isocentre_mm", "pixel_spacing_mm"):
            value = getattr(self, name)
            if value is not None and not _all_positive(value):
                raise UsageError(f"--{name.replace('_', '-')} must be positive, not {value}")
        for name in ("principal_point_px", "primary_angle_deg", "secondary_angle_deg"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                raise UsageError(f"--{name.replace('_', '-')} must be finite, not {value}")
        if self.bin < 1:
            raise UsageError(f"--bin must be at least 1, not {self.bin}")


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
        excluded: [H, W] bool, True on pixels that must not be used; None where all may be.
        stored_camera: intrinsics of the image before it was flipped, cropped, padded, binned or resized;
            `camera` itself when omitted.

    Raises:
        InputError: pixels that are not one finite grey image of the camera's size, that are all excluded, or
            that are constant where they are not.
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
    excluded: NDArray[np.bool_] | None = None
    stored_camera: Camera | None = None

    def __post_init__(self) -> None:
        where = str(self.path) if self.path else "the X-ray"
        size = (self.camera.height, self.camera.width)
        pixels = np.ascontiguousarray(self.pixels, dtype=np.float32)
        for name, image in (("pixels", pixels), ("an excluded mask", self.excluded)):
            if image is not None and image.shape != size:
                raise InputError(
                    f"{where} has {name} of shape {image.shape}, not (height, width) = {size} of its camera"
                )
        object.__setattr__(self, "pixels", _checked(pixels, where, self.excluded))
        object.__setattr__(self, "stored_camera", self.stored_camera or self.camera)

    @property
    def usable_pixels(self) -> NDArray[np.float32]:
        """Values [N] of the pixels that are not excluded."""
        return self.pixels.ravel() if self.excluded is None else self.pixels[~self.excluded]

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
        excluded = (
            None if options.exclude is None else _read_mask(options.exclude, path, reading.pixels.shape)
        )
        height, width = _checked(reading.pixels, str(path), excluded).shape
        values, provenance = _resolve(path, reading, options, excluded)
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
            excluded=excluded,
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
        window = np.s_[top : top + height, left : left + width]
        return replace(
            self,
            pixels=self.pixels[window],
            camera=self.camera.crop(top=top, left=left, height=height, width=width),
            excluded=None if self.excluded is None else self.excluded[window],
        )

    def pad(self, *, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0) -> XRay:
        """The image with that many pixels of its lowest value added on each side; they are excluded."""
        added = ((top, bottom), (left, right))
        excluded = np.zeros(self.pixels.shape, dtype=bool) if self.excluded is None else self.excluded
        return replace(
            self,
            pixels=np.pad(self.pixels, added, constant_values=self.pixels.min()),
            camera=self.camera.pad(top=top, bottom=bottom, left=left, right=right),
            excluded=np.pad(excluded, added, constant_values=True),
        )

    def bin(self, factor: int) -> XRay:
        """The image averaged over blocks of `factor` x `factor` pixels; a remainder is dropped.

        A block with an excluded pixel is excluded.

        Raises:
            InputError: a factor below one or larger than the image.
        """
        camera = self.camera.bin(factor)

        def blocks(image: NDArray[Any]) -> NDArray[Any]:
            kept = image[: camera.height * factor, : camera.width * factor]
            return kept.reshape(camera.height, factor, camera.width, factor)

        return replace(
            self,
            pixels=blocks(self.pixels).mean(axis=(1, 3), dtype=np.float64),
            camera=camera,
            excluded=None if self.excluded is None else blocks(self.excluded).max(axis=(1, 3)),
        )

    def resize(self, *, height: int, width: int) -> XRay:
        """The same field of view sampled with `height` x `width` pixels (bilinear, antialiased).

        What an excluded pixel contributes to is excluded.
        """

        def resized(image: NDArray[np.float32]) -> NDArray[np.float32]:
            # Without aligned corners torch keeps pixel edges, as the camera does.
            sampled: NDArray[np.float32] = torch.nn.functional.interpolate(
                torch.from_numpy(image)[None, None],
                size=(height, width),
                mode="bilinear",
                align_corners=False,
                antialias=True,
            )[0, 0].numpy()
            return sampled

        return replace(
            self,
            pixels=resized(self.pixels),
            camera=self.camera.resize(height=height, width=width),
            excluded=None if self.excluded is None else resized(self.excluded.astype(np.float32)) > 0,
        )

    def flip(self, *, left_right: bool = False, top_bottom: bool = False) -> XRay:
        """The mirrored image; its camera's focal lengths change sign, so it shows the same scene."""
        rows, columns = (slice(None, None, -1 if flag else 1) for flag in (top_bottom, left_right))
        return replace(
            self,
            pixels=self.pixels[rows, columns],
            camera=self.camera.flip(left_right=left_right, top_bottom=top_bottom),
            excluded=None if self.excluded is None else self.excluded[rows, columns],
        )

    def undistorted(self, distortion: Distortion) -> XRay:
        """The image as it would be without a distortion; what a pixel excluded contributes to is excluded."""

        def straight(image: NDArray[Any]) -> NDArray[np.float32]:
            moved = distortion.undistorted(torch.from_numpy(image.astype(np.float32))[None], self.camera)
            straightened: NDArray[np.float32] = moved[0].numpy()
            return straightened

        # Bicubic interpolation overshoots at edges, where no beam would become negative.
        pixels = np.clip(straight(self.pixels), self.pixels.min(), self.pixels.max())
        excluded = None if self.excluded is None else straight(self.excluded) > _LEAST_EXCLUDED
        return replace(self, pixels=pixels, excluded=excluded)

    def pixels_from_stored(self, stored_px: NDArray[np.float64]) -> NDArray[np.float64]:
        """Where points of the image as stored lie in this image, which may be flipped, cropped or resampled.

        Args:
            stored_px: [..., 2], (u, v) [px].

        Returns:
            [..., 2], (u, v) [px]; outside the image for what was cropped away.
        """
        # Both cameras see the same ray in a point, so its place follows from their intrinsics.
        old, new = self.stored_camera or self.camera, self.camera
        scale = np.array([new.fx / old.fx, new.fy / old.fy])
        return (stored_px - np.array([old.cx, old.cy])) * scale + np.array([new.cx, new.cy])

    def recalibrated(self, camera: Camera) -> XRay:
        """The same pixels with other intrinsics, of an image of the same size."""
        old, stored = self.camera, self.stored_camera or self.camera
        along_u, along_v = camera.fx / old.fx, camera.fy / old.fy
        stored = replace(
            stored,
            fx=stored.fx * along_u,
            fy=stored.fy * along_v,
            cx=stored.cx + (camera.cx - old.cx) * stored.fx / old.fx,
            cy=stored.cy + (camera.cy - old.cy) * stored.fy / old.fy,
            sdd_mm=camera.sdd_mm,
        )
        return replace(self, camera=camera, stored_camera=stored)


def _checked(
    pixels: NDArray[np.float32], where: str, excluded: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    if bad := np.count_nonzero(~np.isfinite(pixels)):
        raise InputError(f"{where} has {bad} pixels that are NaN or infinite; replace them first")
    usable = pixels if excluded is None else pixels[~excluded]
    if usable.size == 0:
        raise InputError(f"{where} has no pixels left: all are excluded (--exclude)")
    if usable.min() == usable.max():
        rest = "" if excluded is None else " that are not excluded"
        raise InputError(f"{where} shows nothing: all its pixels{rest} are {usable.flat[0]:g}")
    return pixels


def _read_mask(path: Path, xray: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the image at `path` is not zero, [H, W] of the X-ray's `size`."""
    try:
        mask = read_file(path, frame=None).pixels
    except InputError as error:
        raise InputError(f"--exclude: {error}") from error
    if mask.shape != size:
        raise InputError(
            f"--exclude {path} has {mask.shape[0]} x {mask.shape[1]} pixels (rows x columns), but {xray} has"
            f" {size[0]} x {size[1]}; draw the mask on the image as stored, before any crop or bin"
        )
    if not np.isfinite(mask).all():
        raise InputError(f"--exclude {path} has pixels that are NaN or infinite; use 0 and 1")
    excluded = mask != 0
    for none_or_all, consequence in ((~excluded, "excludes nothing"), (excluded, "excludes every pixel")):
        if none_or_all.all():
            raise InputError(f"--exclude {path} {consequence}: it must be nonzero on what to leave out only")
    return excluded


def _resolve(
    path: Path, reading: Reading, options: XRayOptions, excluded: NDArray[np.bool_] | None
) -> tuple[dict[str, Any], dict[str, str]]:
    """Values and their provenance after options have overridden what the file says."""
    values, provenance = dict(reading.values), dict(reading.provenance)
    for name in (
        *("sdd_mm", "source_isocentre_mm", "pixel_spacing_mm", "principal_point_px"),
        *("primary_angle_deg", "secondary_angle_deg", "polarity", "pixel_scale"),
    ):
        given = getattr(options, name)
        if given is not None and given != "auto":
            values[name], provenance[name] = given, f"option --{name.replace('_', '-')}"
    for name, doubt in reading.doubts.items():
        if not provenance.get(name, "").startswith("option"):
            _warn(f"{path}: {doubt} (--{name.replace('_', '-')} overrides)")
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
        guess = polarity_from_statistics(reading.pixels, excluded)
        values["polarity"], provenance["polarity"] = guess.polarity, POLARITY_GUESSED
        _warn(
            f"{path} does not say whether air is bright or dark; guessed {guess.polarity} from the image,"
            f" {'where all signs agree' if guess.agreed else 'unsurely: its signs disagree'}"
            " (--polarity overrides)"
        )
    if "pixel_scale" not in values:
        # Detectors deliver intensities; images with dark air have been through a display curve.
        values["pixel_scale"] = "linear" if values["polarity"] == "bright_air" else "log"
        provenance["pixel_scale"] = f"assumed for {values['polarity']}"
    return values, provenance


def _warn(message: str) -> None:
    warnings.warn(message, GeometryWarning, stacklevel=4)


def _all_positive(value: float | tuple[float, float]) -> bool:
    numbers = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(number) and number > 0 for number in numbers)
