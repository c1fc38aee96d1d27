"""How CTSpine1K is prepared: options only, importable without any array library."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...errors import UsageError

if TYPE_CHECKING:
    from ...geometry import Camera

# Siemens Cios Fusion, a mobile C-arm, with which DeepFluoro was taken: MakeNaiveCIOSFusionMetaDR in
# lib/file_formats/xregCIOSFusionDICOM.cpp of https://github.com/rg2/xreg at c2bdd99.
_SIDE_PX = 1536

_PIXEL_MM = 0.194

_SDD_MM = 1020.0


@dataclass(frozen=True, kw_only=True)
class DrrConfig:
    """The DRRs of a CT, and the poses of the C-arm. AP is at 180/0 in DICOM's angles, lateral at 90/0.

    Attributes:
        images: number of images of each CT.
        images_per_file: an interrupted preparation loses as many at most.
        binning: detector pixels averaged along each side; 6 leaves 256 x 256 pixels of 1.164 mm.
        primary_angle_deg: smallest and largest primary C-arm angle [deg].
        secondary_angle_deg: smallest and largest secondary C-arm angle [deg].
        source_isocentre_mm: smallest and largest distance from the source to the centre of the lumbar
            spine [mm]; the isocentre of the Cios Fusion is at 632 (CIOSFusionCBCTExtrins of xReg).
        in_plane_reach_deg: largest turn in the image plane [deg].
        lateral_reach_mm: largest shift along each axis of the image [mm], at the patient.
        seed: seed of the poses; those of a CT depend on it and on the name of the case alone.

    Raises:
        UsageError: a number or range that makes no sense.
    """

    images: int = 500
    images_per_file: int = 100
    binning: int = 6
    primary_angle_deg: tuple[float, float] = (75.0, 285.0)
    secondary_angle_deg: tuple[float, float] = (-30.0, 30.0)
    source_isocentre_mm: tuple[float, float] = (580.0, 720.0)
    in_plane_reach_deg: float = 15.0
    lateral_reach_mm: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("images", "images_per_file"):
            if getattr(self, name) < 1:
                raise UsageError(
                    f"{name} must be at least 1, not {getattr(self, name)}", code="preparation.invalid-value"
                )
        if not 1 <= self.binning <= _SIDE_PX // 8:
            raise UsageError(
                f"binning must lie between 1 and {_SIDE_PX // 8}, not {self.binning}",
                code="preparation.invalid-value",
            )
        if self.seed < 0:
            raise UsageError(f"seed must not be negative, not {self.seed}", code="preparation.invalid-value")
        for name in ("primary_angle_deg", "secondary_angle_deg", "source_isocentre_mm"):
            low, high = getattr(self, name)
            if not -math.inf < low <= high < math.inf:
                raise UsageError(
                    f"{name} must be a smaller and a larger number, not {low} and {high}",
                    code="preparation.invalid-value",
                )
        if not 0 < self.source_isocentre_mm[0] <= self.source_isocentre_mm[1] < _SDD_MM:
            raise UsageError(
                f"source_isocentre_mm must lie between 0 and {_SDD_MM:g}, the detector's distance",
                code="preparation.invalid-value",
            )
        for name in ("in_plane_reach_deg", "lateral_reach_mm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(
                    f"{name} must be zero or a positive number, not {getattr(self, name)}",
                    code="preparation.invalid-value",
                )

    @property
    def camera(self) -> Camera:
        """Of every DRR; the central ray meets the middle of the detector."""
        from ...geometry import Camera  # it takes torch with it, which options do without

        detector = Camera.from_pixel_spacing(
            width=_SIDE_PX, height=_SIDE_PX, pixel_spacing_mm=(_PIXEL_MM, _PIXEL_MM), sdd_mm=_SDD_MM
        )
        return detector.bin(self.binning)

    def file_of(self, image: int) -> str:
        """Name of the file that an image is in."""
        return f"drrs-{image // self.images_per_file:03d}.h5"


@dataclass(frozen=True, kw_only=True)
class LandmarkConfig:
    """The piece of the surface over which a landmark is averaged.

    Attributes:
        radius_mm: around an axis, for end plates and front wall [mm].
        tip_radius_mm: around the point farthest out, for processes [mm]; spinous processes end in a ridge.
        tip_mm: distance from the plane farthest out, for processes [mm].

    Raises:
        UsageError: a length that is not positive.
    """

    radius_mm: float = 5.0
    tip_radius_mm: float = 12.0
    tip_mm: float = 3.0

    def __post_init__(self) -> None:
        if not min(self.radius_mm, self.tip_radius_mm, self.tip_mm) > 0:
            raise UsageError(
                "radius_mm, tip_radius_mm and tip_mm must be positive", code="preparation.invalid-value"
            )


@dataclass(frozen=True, kw_only=True)
class LumbarConfig:
    """The part of a CT that is kept.

    Attributes:
        margin_mm: around the lumbar vertebrae [mm].
        vertebrae_only: make everything air but the lumbar vertebrae.
        denoising_mm2: duration of the curvature flow that evens out noise and keeps edges [mm2]; 0 leaves the
            CT alone.

    Raises:
        UsageError: a negative number.
    """

    margin_mm: float = 40.0
    vertebrae_only: bool = False
    denoising_mm2: float = 0.3

    def __post_init__(self) -> None:
        if not self.margin_mm >= 0 or not self.denoising_mm2 >= 0:
            raise UsageError(
                "margin_mm and denoising_mm2 must not be negative", code="preparation.invalid-value"
            )


@dataclass(frozen=True, kw_only=True)
class QualityConfig:
    """Our rules for the selection of cases; the rules that left 651 of 1005 CTs are unpublished.

    Attributes:
        least_lumbar: number of the vertebrae L1 to L5 that the mask must show, 1 to 5.
        least_vertebra_cm3: smallest volume of a vertebra that counts [cm3]; a lumbar one has about 60.
        largest_spacing_mm: largest voxel spacing along any axis [mm].
        least_border_mm: smallest distance of the lumbar vertebrae from the edge of the CT [mm]; nearer ones
            count as cut off.
        vertebra_hu: smallest and largest mean of the lumbar vertebrae [HU]. Their spongy bone alone has 50
            to 300 HU (Pickhardt et al. 2013, Ann. Intern. Med. 158:588); a CT without its offset of -1024
            HU, or normalised, is outside.
        vertebra_distance_mm: smallest and largest distance of the centres of neighbouring lumbar
            vertebrae [mm]; 30 to 45 is usual.

    Raises:
        UsageError: a value that admits nothing.
    """

    least_lumbar: int = 5
    least_vertebra_cm3: float = 10.0
    largest_spacing_mm: float = 3.0
    least_border_mm: float = 2.0
    vertebra_hu: tuple[float, float] = (50.0, 800.0)
    vertebra_distance_mm: tuple[float, float] = (15.0, 60.0)

    def __post_init__(self) -> None:
        if not 1 <= self.least_lumbar <= 5:
            raise UsageError(
                f"least_lumbar must lie between 1 and 5, not {self.least_lumbar}",
                code="preparation.invalid-value",
            )
        for name in ("vertebra_hu", "vertebra_distance_mm"):
            low, high = getattr(self, name)
            if not low < high:
                raise UsageError(
                    f"{name} must be a smaller and a larger number, not {low} and {high}",
                    code="preparation.invalid-value",
                )
        if not self.largest_spacing_mm > 0 or self.least_border_mm < 0 or self.least_vertebra_cm3 < 0:
            raise UsageError(
                "largest_spacing_mm must be positive, least_border_mm and least_vertebra_cm3 not negative",
                code="preparation.invalid-value",
            )


@dataclass(frozen=True, kw_only=True)
class SurfaceConfig:
    """How the surface of a vertebra is found.

    Attributes:
        threshold_hu: bone is above [HU]; low, because thin processes fill their voxels only in part, and the
            mask keeps soft tissue out.
        rim_mm: bone may be as far outside its mask [mm], and is filled where it is deeper inside than that.
        closing_mm: gaps narrower than twice this are closed [mm].

    Raises:
        UsageError: a negative length.
    """

    threshold_hu: float = 100.0
    rim_mm: float = 1.5
    closing_mm: float = 1.5

    def __post_init__(self) -> None:
        if not (self.rim_mm >= 0 and self.closing_mm >= 0):
            raise UsageError("rim_mm and closing_mm must not be negative", code="preparation.invalid-value")


@dataclass(frozen=True, kw_only=True)
class PreparationConfig:
    """How CTSpine1K is prepared.

    Attributes:
        quality: rules for the cases that are used.
        lumbar: the part of a CT that is kept.
        surface: settings of how surfaces of vertebrae are found.
        landmarks: settings of how landmarks are found on them.
        drrs: settings of the renderings.
    """

    quality: QualityConfig = field(default_factory=QualityConfig)
    lumbar: LumbarConfig = field(default_factory=LumbarConfig)
    surface: SurfaceConfig = field(default_factory=SurfaceConfig)
    landmarks: LandmarkConfig = field(default_factory=LandmarkConfig)
    drrs: DrrConfig = field(default_factory=DrrConfig)
