"""How X-rays of a part of a body are simulated: options only, importable without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ..anatomy.config import CohortConfig, SkeletonConfig, VariationConfig
from ..errors import UsageError
from ._ranges import Range, check_range


def _neighbours() -> VariationConfig:
    return VariationConfig(tumble_probability=1.0, scale=(0.5, 1.7), stretch=(0.6, 1.5), bend_mm=6.0)


@dataclass(frozen=True, kw_only=True)
class SurroundingsConfig:
    """What else an X-ray of a part shows: nothing that is known of any patient, but things of all kinds.

    Attributes:
        things: fewest and most other things in an X-ray: synthetic skeletons, and variations of the CT, so
            that there are bones beside a bone and implants beside an implant.
        skeletons: share of the synthetic skeletons among them.
        strength: factor on the attenuation of each.
        tissue: smooth soft tissue about the part, its deviation and its mean [line integrals].
        continued_probability: probability that a bone goes on where its CT ends, as it does in the patient.
        tissue_scale: sizes of its lumps, as shares of the image.
        rest_probability: probability that the rest of the CT is there as well, where the part is a structure
            of it; it lies about where it does in the patient.
        rest_reach_mm: largest shift of that rest along each axis [mm]; it turns by a third as many degrees.
        voxels: number of voxels of the grid of a thing, along each axis; their size follows from the pixels.
        present: things at a time; every batch shows one or two of them from many sides.
        batches: after so many batches, on average, a thing is replaced by a new one.

    Raises:
        UsageError: a range turned round, or numbers that cannot be.
    """

    things: tuple[int, int] = (0, 4)
    skeletons: float = 0.6
    strength: Range = (0.15, 1.3)
    tissue: Range = (0.0, 0.5)
    tissue_scale: Range = (0.15, 0.7)
    continued_probability: float = 0.7
    rest_probability: float = 0.7
    rest_reach_mm: float = 15.0
    voxels: int = 80
    present: int = 8
    batches: int = 12

    def __post_init__(self) -> None:
        check_range(self, "strength", "tissue", low=0.0)
        check_range(self, "tissue_scale", low=1e-3)
        low, high = self.things
        shares = (self.skeletons, self.rest_probability, self.continued_probability)
        if not 0 <= low <= high or not all(0 <= share <= 1 for share in shares):
            raise UsageError(
                "things must be a fewest and a most; skeletons, rest_probability and continued_probability "
                "lie between 0 and 1",
                code="training.invalid-value",
            )
        if self.voxels < 16 or self.present < 1 or self.batches < 1 or not self.rest_reach_mm >= 0:
            raise UsageError(
                "surroundings need at least 16 voxels, present and batches at least 1, and a rest_reach_mm "
                "that is not negative",
                code="training.invalid-value",
            )

    def cohort(self, voxel_mm: float) -> CohortConfig:
        """The cohort of things of that voxel size."""
        return CohortConfig(
            present=self.present,
            batches=self.batches,
            skeletons=self.skeletons,
            voxel_mm=voxel_mm,
            variation=_neighbours(),
            skeleton=SkeletonConfig(voxels=self.voxels, voxel_mm=voxel_mm),
        )


@dataclass(frozen=True, kw_only=True)
class PartConfig:
    """What a training on a part of a body has: it may be turned any way, and there is more in the picture.

    The part is a bone or an implant alone in its CT, or structures of a CT with a label map.

    Attributes:
        structures: labels or names of the CT's structures that are the part; all tissue when None.
        field_of_view: side of the field of view over the diameter of the part. It is centred where the part
            lies at the start, and what starts may be off by must fit in.
        start_mm: smallest and largest shift across the beam of a start [mm], log-uniform between.
        start_deg: smallest and largest turn of a start [deg], log-uniform between.
        start_depth_mm: largest shift of a start along the beam, at the largest of `start_mm` [mm].
        strength: factor on the attenuation of the part: a bone displaces soft tissue, tubes have other
            voltages, and the scale of a model's Hounsfield units may be nominal.
        surroundings: all else in the picture.

    Raises:
        UsageError: a field smaller than the part, or ranges that cannot be.
    """

    structures: tuple[int | str, ...] | None = None
    field_of_view: float = 1.5
    start_mm: Range = (0.5, 35.0)
    start_deg: Range = (0.5, 35.0)
    start_depth_mm: float = 40.0
    strength: Range = (0.4, 1.5)
    surroundings: SurroundingsConfig = field(default_factory=SurroundingsConfig)

    def __post_init__(self) -> None:
        check_range(self, "start_mm", "start_deg", "strength", low=1e-6)
        if self.structures == () or not 1 <= self.field_of_view < math.inf or not self.start_depth_mm >= 0:
            raise UsageError(
                "a part needs a field_of_view of at least 1, a start_depth_mm that is not negative, and at "
                "least one of the structures, or None",
                code="training.invalid-value",
            )
