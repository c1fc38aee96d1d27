"""How anatomies are varied and made up: options only, importable without any array library."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..errors import UsageError

Range = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class VariationConfig:
    """Ranges of what a variation changes; (1, 1) for factors and 0 for the rest leaves it as it is.

    Attributes:
        turn_deg: largest turn about a random axis through the CT's centre [deg].
        tumble_probability: probability of a turn by any angle instead, so that anatomy is seen from where it
            never is.
        mirror_probability: probability that left and right are exchanged.
        scale: factor on all lengths.
        stretch: factor on the lengths along each axis of the patient, besides.
        shift_mm: largest shift along each axis [mm].
        bend_mm: standard deviation of the displacement of the control points of a smooth deformation [mm].
        bend_spacing_mm: distance of these control points [mm].
        bone: factor on what voxels have above 150 HU.
        soft_tissue_hu: added to soft tissue [HU].
        blur_mm: largest standard deviation of a blur along a random axis of the grid: thick slices [mm].
        cut_probability: probability that a side of the field of view is cut off, for each side.
        cut: largest share of the grid cut off on a side.
        short_probability: probability that the CT ends before the patient does: X-rays show all of the
            anatomy, and the CT that they are compared with lacks one or both of its ends.
        short: share of the grid that the CT then lacks at an end of the patient's long axis.

    Raises:
        UsageError: a range turned round, or a number that cannot be.
    """

    turn_deg: float = 15.0
    tumble_probability: float = 0.2
    mirror_probability: float = 0.5
    scale: Range = (0.8, 1.25)
    stretch: Range = (0.88, 1.14)
    shift_mm: float = 30.0
    bend_mm: float = 8.0
    bend_spacing_mm: float = 80.0
    bone: Range = (0.6, 1.4)
    soft_tissue_hu: Range = (-40.0, 40.0)
    blur_mm: float = 2.0
    cut_probability: float = 0.15
    cut: float = 0.25
    short_probability: float = 0.2
    short: Range = (0.1, 0.4)

    def __post_init__(self) -> None:
        for name in ("scale", "stretch", "bone", "soft_tissue_hu"):
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise UsageError(
                    f"{name} must be a range (lower, upper), not {(low, high)}", code="anatomy.invalid-value"
                )
        if min(self.scale[0], self.stretch[0], self.bend_spacing_mm) <= 0 or self.bone[0] < 0:
            raise UsageError(
                "scale, stretch and bend_spacing_mm must be positive, and bone not negative",
                code="anatomy.invalid-value",
            )
        for name in (
            "tumble_probability",
            "mirror_probability",
            "cut_probability",
            "cut",
            "short_probability",
        ):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    f"{name} must lie between 0 and 1, not {getattr(self, name)}",
                    code="anatomy.invalid-value",
                )
        if min(self.turn_deg, self.shift_mm, self.bend_mm, self.blur_mm) < 0 or self.cut >= 0.5:
            raise UsageError(
                "turn_deg, shift_mm, bend_mm and blur_mm must not be negative, cut below 0.5",
                code="anatomy.invalid-value",
            )
        if not 0 <= self.short[0] <= self.short[1] < 0.5:
            raise UsageError(
                f"short must be a range (lower, upper) within 0 to below 0.5, not {self.short}",
                code="anatomy.invalid-value",
            )


Counts = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SkeletonConfig:
    """Size and inventory of a synthetic patient.

    Attributes:
        voxels: number of voxels of the grid, along each axis.
        voxel_mm: their size [mm].
        columns: fewest and most rows of blocks, as vertebrae are.
        tubes: fewest and most straight or bent tubes, as long bones and ribs are.
        plates: fewest and most curved plates, as pelvis, shoulder blade and skull are.
        balls: fewest and most balls, as heads of joints are.
        organs: fewest and most soft-tissue balls of another density.
        cavities: fewest and most balls that are filled with air.
    """

    voxels: int = 96
    voxel_mm: float = 3.5
    columns: Counts = (0, 2)
    tubes: Counts = (2, 14)
    plates: Counts = (0, 4)
    balls: Counts = (0, 4)
    organs: Counts = (2, 8)
    cavities: Counts = (0, 4)

    def __post_init__(self) -> None:
        if self.voxels < 8 or not self.voxel_mm > 0:
            raise UsageError(
                "a synthetic skeleton needs at least 8 voxels a side and a positive voxel_mm",
                code="anatomy.invalid-value",
            )
        for name in ("columns", "tubes", "plates", "balls", "organs", "cavities"):
            low, high = getattr(self, name)
            if not 0 <= low <= high:
                raise UsageError(
                    f"{name} must be a fewest and a most, not {(low, high)}", code="anatomy.invalid-value"
                )


@dataclass(frozen=True, kw_only=True)
class CohortConfig:
    """Who is in a cohort, and how long.

    Attributes:
        present: anatomies at a time; every batch is of one of them, drawn at random.
        batches: after so many batches of its own, on average, an anatomy is replaced by a new one.
        skeletons: share of anatomies that are synthetic skeletons; the others are variations of CTs.
        voxel_mm: CTs are averaged to about this voxel size before they are varied [mm].
        variation: variation of the CTs.
        skeleton: the synthetic ones.
    """

    present: int = 8
    batches: int = 32
    skeletons: float = 0.25
    voxel_mm: float = 3.0
    variation: VariationConfig = field(default_factory=VariationConfig)
    skeleton: SkeletonConfig = field(default_factory=SkeletonConfig)

    def __post_init__(self) -> None:
        if self.present < 1 or self.batches < 1 or not 0 <= self.skeletons <= 1 or not self.voxel_mm > 0:
            raise UsageError(
                "a cohort needs present and batches of at least 1, skeletons between 0 and 1, and a "
                "positive voxel_mm",
                code="anatomy.invalid-value",
            )
