"""An X-ray: pixels and the camera that took them, always changed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InputError, UsageError
from ..geometry.camera import Camera, quarter_turns, roll, turn_pixels
from ..geometry.distortion import Distortion
from ._grid import decoding, of_kind
from ._reading import FileReading, PixelScale
from ._resolve import POLARITY_BY_MATCH, POLARITY_GUESSED, resolved, scale_for
from ._warnings import warn_geometry
from .config import XRayOptions
from .dicom_run import DicomRun
from .findings import Finding, gathered
from .identity import Identity
from .polarity import Polarity
from .xray_readers import read_file, xray_file

__all__ = ["POLARITY_BY_MATCH", "POLARITY_GUESSED", "XRay", "XRayOptions"]

# Share of an excluded pixel in an interpolated one that excludes it; less is rounding.
_LEAST_EXCLUDED = 0.01


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
        stored_camera: intrinsics of the image before it was flipped, turned, cropped, padded, binned or
            resized; `camera` itself when omitted.
        turned_deg: by how much the image has been turned clockwise since it was stored, 0 to 270 [deg].
        identity: whom the file says it shows.
        findings: what is odd about the file, but for what options have settled.

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
    turned_deg: int = 0
    identity: Identity = field(default_factory=Identity)
    findings: tuple[Finding, ...] = ()

    def __post_init__(self) -> None:
        where = str(self.path) if self.path else "the X-ray"
        size = (self.camera.height, self.camera.width)
        pixels = np.ascontiguousarray(self.pixels, dtype=np.float32)
        for name, image in (("pixels", pixels), ("an excluded mask", self.excluded)):
            if image is not None and image.shape != size:
                raise InputError(
                    f"{where} has {name} of shape {image.shape}, not (height, width) = {size} of its camera",
                    code="xray.wrong-shape",
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

        DICOM: distances, spacing at the detector, principal point (from the field of view's place on the
        detector), angles, turns, the meaning of pixel values and what is no image (shutter, collimator,
        padding) come from the header; compressed and multi-frame files work. PNG, TIFF, NIfTI, MetaImage and
        NRRD: from a JSON file of the same name beside the image ('knee.png', 'knee.json' or
        'knee.isoclinic.json'), an object with `sdd_mm` and either `pixel_spacing_mm` ([row, column]) or `fx`
        and `fy` [px], and optionally `cx` and `cy` [px] (or `principal_point_px`), `width`, `height`,
        `source_isocentre_mm`, `primary_angle_deg`, `secondary_angle_deg`, `polarity` and `pixel_scale`. Such
        images are turned as the file says that they are to be shown. Options win over the file. A folder
        stands for the one X-ray in it.

        Raises:
            InputError: the file cannot be used; the message names the option that supplies a missing value.
            UsageError: options that do not fit the file.

        Warns:
            GeometryWarning: everything that contradicts or had to be assumed; `findings` keeps it, and what
                nothing in the file settles makes a registration doubtful.
        """
        with gathered("X-ray") as told:
            xray = cls._read(xray_file(Path(path)), options or XRayOptions())
        return replace(xray, findings=tuple(dict.fromkeys((*told, *xray.findings))))

    @classmethod
    @of_kind("xray")
    def read_frame(cls, run: DicomRun, index: int, options: XRayOptions | None = None) -> XRay:
        """Read one frame of a DICOM run with the geometry of that frame, and nothing of the others.

        Args:
            run: the file.
            index: of the frame, counted from 0.
            options: as for `read`, but for `frame`.

        Raises:
            InputError: as for `read`.
            UsageError: as for `read`.

        Warns:
            GeometryWarning: as for `read`.
        """
        with gathered("X-ray") as told:
            reading = run.reading(index)
            provenance = {**reading.provenance, "frame": f"frame {index} of {run.count}"}
            reading = replace(reading, values={**reading.values, "frame": index}, provenance=provenance)
            xray = cls._of_reading(run.path, reading, options or XRayOptions())
        return replace(xray, findings=tuple(dict.fromkeys((*told, *xray.findings))))

    @classmethod
    @of_kind("xray")
    def _read(cls, path: Path, options: XRayOptions) -> XRay:
        return cls._of_reading(path, read_file(path, options.frame), options)

    @classmethod
    def _of_reading(cls, path: Path, reading: FileReading, options: XRayOptions) -> XRay:
        excluded = reading.excluded
        if options.exclude is not None:
            mask = _read_mask(options.exclude, path, reading.pixels.shape)
            excluded = mask if excluded is None else excluded | mask
        height, width = _checked(reading.pixels, str(path), excluded).shape
        found = resolved(path, reading, options.given, excluded)
        values = found.values
        with decoding(path, " as DICOM"):
            identity = Identity.of(reading.header)
        camera = Camera.from_pixel_spacing(
            width=width,
            height=height,
            pixel_spacing_mm=values["pixel_spacing_mm"],
            sdd_mm=values["sdd_mm"],
            principal_point_px=values.get("principal_point_px"),
        )
        left_right, top_bottom, turn = (
            options.flip_left_right,
            options.flip_top_bottom,
            int(options.turn or 0),
        )
        if not (left_right or top_bottom) and options.turn is None:
            left_right, turn = found.mirrored, -found.turned_deg % 360
        # Seen as stored, a mirrored image has negative focal lengths; flipping it makes them positive.
        stored = replace(
            camera,
            fx=-camera.fx if left_right else camera.fx,
            fy=-camera.fy if top_bottom else camera.fy,
        )
        xray = cls(
            pixels=reading.pixels,
            camera=stored,
            polarity=values["polarity"],
            pixel_scale=values["pixel_scale"],
            source_isocentre_mm=values.get("source_isocentre_mm"),
            primary_angle_deg=values.get("primary_angle_deg"),
            secondary_angle_deg=values.get("secondary_angle_deg"),
            provenance=found.provenance,
            path=path,
            excluded=excluded,
            identity=identity,
            findings=found.findings,
        )
        xray = xray.flip(left_right=left_right, top_bottom=top_bottom).turn(turn)
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
                f"{self.camera.height} x {self.camera.width} pixels",
                code="xray.invalid-value",
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

    def turn(self, degrees: int) -> XRay:
        """The image turned clockwise, as displayed, by a multiple of 90 degrees.

        Its camera's frame turns along: with a pose `camera_from_world` of this image, the turned one has
        `geometry.roll(degrees) @ camera_from_world`.

        Raises:
            UsageError: another angle.
        """
        clockwise = -quarter_turns(degrees)
        return replace(
            self,
            pixels=np.rot90(self.pixels, clockwise),
            camera=self.camera.turn(degrees),
            excluded=None if self.excluded is None else np.rot90(self.excluded, clockwise),
            turned_deg=(self.turned_deg + degrees) % 360,
        )

    @property
    def camera_from_stored(self) -> NDArray[np.float64]:
        """[4, 4], from the camera frame of the image as stored to that of this image."""
        matrix: NDArray[np.float64] = roll(self.turned_deg).numpy()
        return matrix

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
        """Where points of the image as stored lie in this image.

        It may be flipped, turned, cropped or resampled.

        Args:
            stored_px: [..., 2], (u, v) [px].

        Returns:
            [..., 2], (u, v) [px]; outside the image for what was cropped away.
        """
        # Both cameras see the same ray in a point, so its place follows from their intrinsics.
        old, new = self.stored_camera or self.camera, self.camera
        turned = old.turn(self.turned_deg)
        scale = np.array([new.fx / turned.fx, new.fy / turned.fy])
        placed = turn_pixels(stored_px, width=old.width, height=old.height, degrees=self.turned_deg)
        return (placed - np.array([turned.cx, turned.cy])) * scale + np.array([new.cx, new.cy])

    def repolarized(self) -> XRay:
        """The same pixels with the other polarity, and with its scale where that was only assumed."""
        polarity: Polarity = "dark_air" if self.polarity == "bright_air" else "bright_air"
        provenance = {**self.provenance, "polarity": POLARITY_BY_MATCH}
        pixel_scale = self.pixel_scale
        if provenance.get("pixel_scale", "").startswith("assumed"):
            pixel_scale = scale_for(polarity)
            provenance["pixel_scale"] = f"assumed for {polarity}"
        return replace(self, polarity=polarity, pixel_scale=pixel_scale, provenance=provenance)

    def recalibrated(self, camera: Camera) -> XRay:
        """The same pixels with other intrinsics, of an image of the same size."""
        old, stored = self.camera, (self.stored_camera or self.camera).turn(self.turned_deg)
        along_u, along_v = camera.fx / old.fx, camera.fy / old.fy
        stored = replace(
            stored,
            fx=stored.fx * along_u,
            fy=stored.fy * along_v,
            cx=stored.cx + (camera.cx - old.cx) * stored.fx / old.fx,
            cy=stored.cy + (camera.cy - old.cy) * stored.fy / old.fy,
            sdd_mm=camera.sdd_mm,
        )
        return replace(self, camera=camera, stored_camera=stored.turn(-self.turned_deg))


def _checked(
    pixels: NDArray[np.float32], where: str, excluded: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    if bad := np.count_nonzero(~np.isfinite(pixels)):
        raise InputError(
            f"{where} has {bad} pixels that are NaN or infinite; replace them first", code="xray.not-finite"
        )
    usable = pixels if excluded is None else pixels[~excluded]
    if usable.size == 0:
        raise InputError(
            f"{where} has no pixels left: all are excluded (by `exclude`, or by the file)",
            code="xray.all-masked",
        )
    if usable.min() == usable.max():
        rest = "" if excluded is None else " that are not excluded"
        raise InputError(
            f"{where} shows nothing: all its pixels{rest} are {usable.flat[0]:g}", code="xray.blank"
        )
    return pixels


def _read_mask(path: Path, xray: Path, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the image at `path` is not zero, [H, W] of the X-ray's `size`."""
    try:
        reading = read_file(path, frame=None)
    except InputError as error:
        raise InputError(f"`exclude`: {error}", code="xray.unusable-mask") from error
    for note in reading.notes:
        warn_geometry(f"`exclude` {path}: {note}")
    # What a mask does not show, as where it is transparent, is not left out.
    mask = reading.pixels if reading.excluded is None else np.where(reading.excluded, 0, reading.pixels)
    if mask.shape != size:
        raise InputError(
            f"`exclude` {path} has {mask.shape[0]} x {mask.shape[1]} pixels (rows x columns), but {xray} has"
            f" {size[0]} x {size[1]}; draw the mask on the image as stored, before any crop or bin",
            code="xray.unusable-mask",
        )
    if not np.isfinite(mask).all():
        raise InputError(
            f"`exclude` {path} has pixels that are NaN or infinite; use 0 and 1", code="xray.unusable-mask"
        )
    excluded = mask != 0
    for none_or_all, consequence in ((~excluded, "excludes nothing"), (excluded, "excludes every pixel")):
        if none_or_all.all():
            raise InputError(
                f"`exclude` {path} {consequence}: it must be nonzero only where pixels are left out",
                code="xray.unusable-mask",
            )
    return excluded
