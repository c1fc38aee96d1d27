"""An endless cohort: which anatomy a batch shows depends on the seed and the batch's index alone."""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

import numpy as np

from ..errors import UsageError
from ..volumes import Volume
from .config import CohortConfig
from .skeleton import synthetic_skeleton
from .variation import cut_short, draw_short, draw_variation, vary


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
            raise UsageError("a cohort without CTs can only be of skeletons", code="anatomy.invalid-value")
        self.config = config
        self._seed = seed
        self._volumes = [volume.coarsened(config.voxel_mm) for volume in volumes]
        self._present: dict[int, tuple[int, Volume]] = {}
        # Of those who have one and are still in use somewhere.
        self._short: WeakKeyDictionary[Volume, Volume] = WeakKeyDictionary()

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

    def known_part(self, anatomy: Volume) -> Volume:
        """The CT that there is of an anatomy of the cohort: all of it, or one that ends before it does."""
        return self._short.get(anatomy, anatomy)

    def _newcomer(self, generator: np.random.Generator) -> Volume:
        anatomy = self._whole(generator)
        # The last draw, so that anatomies are those of cohorts whose CTs never end early.
        short = draw_short(self.config.variation, generator)
        if any(short):
            self._short[anatomy] = cut_short(anatomy, short)
        return anatomy

    def _whole(self, generator: np.random.Generator) -> Volume:
        if generator.random() < self.config.skeletons:
            return synthetic_skeleton(self.config.skeleton, generator)
        volume = self._volumes[generator.integers(len(self._volumes))]
        return vary(volume, draw_variation(self.config.variation, volume, generator))

    def _generator(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self._seed, *key])
