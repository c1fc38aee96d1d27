"""How CTs and X-rays are read and prepared: options only, importable without any array library."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..errors import UsageError

Material = Literal["all", "soft_tissue", "bone"]

# Options that override what a file says about its geometry, and about its pixels.
GEOMETRY = (
    *("sdd_mm", "source_isocentre_mm", "pixel_spacing_mm", "principal_point_px"),
    *("primary_angle_deg", "secondary_angle_deg"),
)

MEANING = ("polarity", "pixel_scale")


def all_positive(value: float | tuple[float, float]) -> bool:
    """Whether a number, or both of a pair, are positive and finite."""
    numbers = value if isinstance(value, tuple) else (value,)
    return all(math.isfinite(number) and number > 0 for number in numbers)


def _finite(value: float | tuple[float, float]) -> bool:
    """Whether a number, or both of a pair, are finite."""
    return all(map(math.isfinite, value if isinstance(value, tuple) else (value,)))


@dataclass(frozen=True, kw_only=True)
class MetalConfig:
    """What counts as metal, on an image of about 256 pixels across.

    Attributes:
        edge_ratio: slope of a metal edge over the upper quartile of all slopes in the image.
        max_width_px: widest bar (wire, pin, screw, drill).
        min_length_px: shortest bar.
        min_coverage: share of a bar's length on which both its edges must be found.
        min_evidence_px: least length times slope of its edges, the slope over that quartile: a short bar
            must stand out more than a long one.
        max_contrast_spread: interquartile range of the contrast along a bar, over its median.
        outline_ratio: slope along a closed outline, over the same quartile, that makes its inside metal.
        max_area: largest such inside, as a share of the image.

    Raises:
        UsageError: a `max_width_px` of less than 2 or more than the image.
    """

    edge_ratio: float = 1.6
    max_width_px: int = 16
    min_length_px: float = 18.0
    min_coverage: float = 0.6
    min_evidence_px: float = 90.0
    max_contrast_spread: float = 0.4
    outline_ratio: float = 3.5
    max_area: float = 0.15

    def __post_init__(self) -> None:
        if not 2 <= self.max_width_px <= 256:
            raise UsageError(
                f"metal.max_width_px must lie between 2 and 256, not {self.max_width_px}",
                code="preprocess.invalid-value",
            )


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """What is looked for in an X-ray and kept out of the comparison with the CT.

    Attributes:
        find_collimation: look for collimator blades, circular fields and blank borders; what lies beyond may
            be blank or lit by scatter.
        find_saturation: look for areas at the detector's upper or lower limit.
        find_metal: look for wires, screws, instruments and implants.
        margin: extra distance kept from collimation and metal, as a share of the image's longer side;
            covers blur. Beyond it the weight rises from 0 to 1 over the same distance again.
        min_plateau: smallest connected area of one extreme value that counts as saturated, as a share
            of the image.
        metal: the criteria of metal.

    Raises:
        UsageError: a share outside 0 to 1.
    """

    find_collimation: bool = True
    find_saturation: bool = True
    find_metal: bool = True
    margin: float = 0.008
    min_plateau: float = 0.001
    metal: MetalConfig = field(default_factory=MetalConfig)

    def __post_init__(self) -> None:
        for name in ("margin", "min_plateau"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    f"masks.{name} must lie between 0 and 1, not {getattr(self, name)}",
                    code="preprocess.invalid-value",
                )


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """How an X-ray becomes an image of line integrals.

    Attributes:
        method: 'beer_lambert' for -log(I / I0); 'log_ratio' for 1 - log(1 + I) / log(1 + I0) of intensities
            normalised to their maximum, which compresses dark areas less. Images that are logarithmic
            already are only inverted where needed.
        floor: intensities below this share of the open beam count as this share: what arrives there is
            scatter and noise.
        open_beam_percentile: percentile of the pixels taken for the open beam I0; below 100 so that hot
            pixels do not set it.
        noise: noise of single pixels, as a share of the image's span, above which registration averages
            pixels before it takes their logarithm; infinite for never. Usual X-rays have less than 0.01, and
            some 60 quanta in a pixel of the open beam give 0.05 to 0.2.
        masks: settings of how parts are found that do not show the patient.

    Raises:
        UsageError: a floor outside 0 to 1 or a percentile outside 0 to 100, bounds excluded at 0, or negative
            noise.
    """

    method: Literal["beer_lambert", "log_ratio"] = "beer_lambert"
    floor: float = 1e-3
    open_beam_percentile: float = 99.9
    noise: float = 0.03
    masks: MaskConfig = field(default_factory=MaskConfig)

    def __post_init__(self) -> None:
        if not 0 < self.floor < 1:
            raise UsageError(
                f"floor must lie between 0 and 1, not {self.floor}", code="preprocess.invalid-value"
            )
        if not 0 < self.open_beam_percentile <= 100:
            raise UsageError(
                f"open_beam_percentile must lie in (0, 100], not {self.open_beam_percentile}",
                code="preprocess.invalid-value",
            )
        if not self.noise >= 0:
            raise UsageError(f"noise must not be negative, not {self.noise}", code="preprocess.invalid-value")

    @property
    def unaveraged(self) -> PreprocessConfig:
        """The same without averaging noisy pixels, which would leave too few of them across a bone."""
        return replace(self, noise=math.inf)


@dataclass(frozen=True, kw_only=True)
class XRayOptions:
    """What to believe instead of the X-ray file, and which part of the image to use.

    Values left at None are read from the file. Geometry describes the image as stored (and shown, where
    the file has an orientation): it holds before the image is flipped, turned, cropped and binned, in this
    order.

    Attributes:
        sdd_mm: distance from the source to the detector [mm].
        source_isocentre_mm: distance from the source to the isocentre [mm].
        pixel_spacing_mm: (row, column) spacing of the detector's pixels [mm].
        principal_point_px: (cx, cy), column and row where the central ray meets the detector [px], the centre
            of the top left pixel being (0, 0); the image centre if neither this option nor the file says
            otherwise.
        primary_angle_deg: C-arm angle towards the patient's left (DICOM PositionerPrimaryAngle) [deg].
        secondary_angle_deg: C-arm angle towards the head (DICOM PositionerSecondaryAngle) [deg].
        frame: the image of a multi-frame file, counted from 0. The default for DICOM runs is the middle one,
            because the exposure still settles in the first ones.
        polarity: whether the unattenuated beam is bright ('bright_air', as the detector measures it) or
            dark ('dark_air', as radiographs are shown).
        pixel_scale: whether pixels follow the beam's intensity ('linear') or its logarithm ('log').
        flip_left_right: the stored image is mirrored left to right; mirror it back.
        flip_top_bottom: the stored image is mirrored top to bottom; mirror it back.
        turn: turn the stored image clockwise by 90, 180 or 270 degrees, after flipping. Where neither this
            nor a flip is given, a DICOM header's FieldOfViewRotation and FieldOfViewHorizontalFlip are
            undone; 0 leaves the image as it is stored.
        crop_px: (top, left, height, width) of the part to use [px], after flipping and turning.
        bin: average blocks of this many pixels in each direction.
        exclude: an image of the stored X-ray's size, in any format that X-rays may have, that is not zero
            where the X-ray must not be used, such as on tools and implants.

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
    turn: Literal[0, 90, 180, 270] | None = None
    crop_px: tuple[int, int, int, int] | None = None
    bin: int = 1
    exclude: Path | None = None

    def __post_init__(self) -> None:
        for name in ("sdd_mm", "source_isocentre_mm", "pixel_spacing_mm"):
            value = getattr(self, name)
            if value is not None and not all_positive(value):
                raise UsageError(f"`{name}` must be positive, not {value}", code="xray.invalid-value")
        for name in ("principal_point_px", "primary_angle_deg", "secondary_angle_deg"):
            value = getattr(self, name)
            if value is not None and not _finite(value):
                raise UsageError(f"`{name}` must be finite, not {value}", code="xray.invalid-value")
        if self.turn not in (None, 0, 90, 180, 270):
            raise UsageError(
                f"`turn` must be 0, 90, 180 or 270 degrees, not {self.turn}", code="xray.invalid-value"
            )
        if self.bin < 1:
            raise UsageError(f"`bin` must be at least 1, not {self.bin}", code="xray.invalid-value")

    @property
    def given(self) -> dict[str, Any]:
        """What is to be believed instead of the file: values by the names of their options."""
        values = {name: getattr(self, name) for name in (*GEOMETRY, *MEANING)}
        found = {name: value for name, value in values.items() if value not in (None, "auto")}
        flips = {name for name in ("flip_left_right", "flip_top_bottom") if getattr(self, name)}
        found |= dict.fromkeys(flips, True)
        more = {"turn": self.turn, "exclude": self.exclude}
        return found | {name: value for name, value in more.items() if value is not None}
