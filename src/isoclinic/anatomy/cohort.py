"""An endless cohort: which anatomy a batch shows depends on the seed and the batch's index alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import UsageError
from ..volumes import Volume
from .skeleton import SkeletonConfig, synthetic_skeleton
from .variation import VariationConfig, draw_variation, vary


@dataclass(frozen=True, kw_only=True)
class CohortConfig:
    """Who is in a cohort, and how long.

    Attributes:
        present: anatomies at a time; every batch is of one of them, drawn at random.
        batches: after so many batches of its own, on average, an anatomy is replaced by a new one.
        skeletons: share of anatomies that are synthetic skeletons; the others are variations of CTs.
        voxel_mm: CTs are averaged to about this voxel size before they are varied [mm].
        variation: of the CTs.
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
                "positive voxel_mm"
            )


class Cohort:
    """Anatomies by the index of the batch.

    Each of the places in the cohort is taken by one anatomy after another, those of different places at
    different times, so that there is never a batch that meets nobody known.

    Args:
        volumes: real CTs.
        config: who is in the cohort.
        seed: of everything drawn.

    Raises:
        UsageError: no CT, unless all anatomies are synthetic.
    """

    def __init__(self, volumes: Sequence[Volume], config: CohortConfig, *, seed: int) -> None:
        if not volumes and config.skeletons < 1:
            raise UsageError("a cohort without CTs can only be of skeletons")
        self.config = config
        self._seed = seed
        self._volumes = [volume.coarsened(config.voxel_mm) for volume in volumes]
        self._present: dict[int, tuple[int, Volume]] = {}

    def anatomy(self, index: int) -> Volume:
        """The anatomy that batch `index` shows."""
        config = self.config
        place = int(self._generator(index, 0, 0).integers(config.present))
        # One newcomer every so many batches, place by place.
        generation = (index + config.batches * place) // (config.batches * config.present)
        known = self._present.get(place)
        if known is None or known[0] != generation:
            known = generation, self._newcomer(self._generator(place, generation, 1))
            self._present[place] = known
        return known[1]

    def _newcomer(self, generator: np.random.Generator) -> Volume:
        if generator.random() < self.config.skeletons:
            return synthetic_skeleton(self.config.skeleton, generator)
        volume = self._volumes[generator.integers(len(self._volumes))]
        return vary(volume, draw_variation(self.config.variation, volume, generator))

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *key])
