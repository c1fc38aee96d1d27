"""Errors to expect in an X-ray's intrinsics, by where they come from."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from ..volumes import XRay

_LARGEST_PERCENT, _LARGEST_MM = 30.0, 200.0


@dataclass(frozen=True, kw_only=True)
class IntrinsicsConfig:
    """Errors to expect in the geometry of an X-ray, and when its image contradicts it.

    Uncertainties are standard deviations. They enter the expected error; 0 takes a value for exact, as after
    a calibration. Which of them counts depends on where a value comes from.

    Attributes:
        sdd_percent: standard deviation of the source-detector distance of a file, header or option [%].
            Devices must indicate it to within 2 % (21 CFR 1020.31(e)), here taken for two standard
            deviations.
        pixel_spacing_percent: standard deviation of the detector's pixel spacing [%]. Flat panels are made
            more exactly; half a per cent allows for a wrong rounding or binning.
        scaled_spacing_percent: standard deviation of a spacing that is not the detector's own, but was scaled
            to the patient (DICOM PixelSpacing) or computed from an image intensifier's nominal field [%].
        principal_point_mm: standard deviation of a principal point that a file or option gives, along each
            side [mm].
        assumed_principal_point_mm: standard deviation of the image centre where nothing is given, along each
            side [mm]: a flat panel is centred on the beam about so well.
        check: free intrinsics and distortion where a registration ends, to compare the image with them.
        error_factor: factor by which errors of freed values are larger than those of a pose with the same
            scatter; a fit to errors measured (benchmarks/trust.py, docs/results.md).
        unmodelled_factor: how much larger errors are than what freeing the CT's borders and scatter moves the
            pose by; a fit over five CTs (docs/results.md).
        least_deviation_percent: smallest standard deviation of the freed focal length: what scatter, tone and
            the borders of the CT do to it that its scatter does not show [%].
        above_deviations: standard deviations by which the image must contradict the focal length to count; it
            is also what refined intrinsics must differ by to be kept (0 keeps them whatever they are).
        above_move_mm: move of the CT from which that makes a result doubtful [mm].
        distortion_above_deviations: standard deviations by which a distortion must differ from none to count.
        distortion_above_percent: distortion half of the longer side from the principal point, as a share of
            that length, from which it makes a result doubtful [%].

    Raises:
        UsageError: a value that is negative, not finite or beyond all use.
    """

    sdd_percent: float = 1.0
    pixel_spacing_percent: float = 0.5
    scaled_spacing_percent: float = 3.0
    principal_point_mm: float = 0.5
    assumed_principal_point_mm: float = 1.0
    check: bool = True
    error_factor: float = 1.5
    unmodelled_factor: float = 3.0
    least_deviation_percent: float = 0.25
    above_deviations: float = 1.7
    above_move_mm: float = 4.5
    distortion_above_deviations: float = 4.0
    distortion_above_percent: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            value, option = getattr(self, field.name), f"`intrinsics.{field.name}`"
            limit = _LARGEST_MM if field.name.endswith("_mm") else _LARGEST_PERCENT
            if not 0 <= value <= limit:
                raise UsageError(
                    f"{option} must lie between 0 and {limit:g}, not {value}",
                    code="registration.invalid-value",
                )

    def focal_percent(self, xray: XRay) -> float:
        """Standard deviation of the focal length, the source-detector distance over the pixel spacing [%]."""
        source = xray.provenance.get("pixel_spacing_mm", "")
        scaled = ("PixelSpacing" in source and "ImagerPixelSpacing" not in source) or "Intensifier" in source
        return math.hypot(
            self.sdd_percent, self.scaled_spacing_percent if scaled else self.pixel_spacing_percent
        )

    def centre_mm(self, xray: XRay) -> float:
        """Standard deviation of the principal point along each side [mm]."""
        assumed = "assumed" in xray.provenance.get("principal_point_px", "")
        return self.assumed_principal_point_mm if assumed else self.principal_point_mm

    @classmethod
    def exact(cls) -> IntrinsicsConfig:
        """Settings that assume exact intrinsics and do not check them against the image."""
        return cls(
            sdd_percent=0,
            pixel_spacing_percent=0,
            scaled_spacing_percent=0,
            principal_point_mm=0,
            assumed_principal_point_mm=0,
            check=False,
        )
