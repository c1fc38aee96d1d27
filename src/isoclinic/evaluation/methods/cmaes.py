"""CMA-ES on this library's DRRs: intensity-based registration without derivatives, coarse to fine.

In the spirit of xReg (github.com/rg2/xreg, `apps/hip_surgery/pelvis_single_view_regi_2d_3d`; Grupp et al.,
IJCARS 2020), from which the similarity (gradient correlation in patches), the population, the first scale's
standard deviations and the search in the Lie algebra are. Its second scale is BOBYQA within bounds; here it
is CMA-ES once more, with standard deviations of half those bounds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..._optional import require
from ...datasets import Sample
from ...errors import UsageError
from ...geometry import se3
from ...registration._fixed import FixedImage
from ...registration.initialize import initial_pose
from ...rendering import Projector, RenderConfig
from ...similarity import ImageSimilarity, SimilarityConfig, SimilarityTerm
from ...volumes import PreprocessConfig, Volume
from ._peer import versions
from .method import MethodResult

_EXTRA = "peers"


@dataclass(frozen=True, kw_only=True)
class CmaEsScale:
    """One resolution.

    Attributes:
        pixels: longer side of the image [px].
        rotation_deg: first standard deviation about the camera's axes [deg].
        translation_mm: along the camera's axes, depth last [mm].
        population: poses of a generation.
        generations: at most.
    """

    pixels: int
    rotation_deg: tuple[float, float, float]
    translation_mm: tuple[float, float, float]
    population: int
    generations: int

    def __post_init__(self) -> None:
        if self.population < 4 or self.generations < 1 or min(*self.rotation_deg, *self.translation_mm) <= 0:
            raise UsageError(
                "a scale of CMA-ES needs population >= 4, generations >= 1 and standard deviations above 0",
                code="evaluation.incomplete",
            )


_SCALES = (
    CmaEsScale(
        pixels=64,
        rotation_deg=(15.0, 15.0, 30.0),
        translation_mm=(50.0, 50.0, 100.0),
        population=100,
        generations=60,
    ),
    CmaEsScale(
        pixels=128,
        rotation_deg=(1.25, 1.25, 1.25),
        translation_mm=(2.5, 2.5, 5.0),
        population=20,
        generations=40,
    ),
)


@dataclass(frozen=True, kw_only=True)
class CmaEsConfig:
    """Settings of the registration with CMA-ES.

    Attributes:
        preprocess: of the X-ray, as for this library's registration.
        similarity: what is compared.
        scales: coarse to fine.
        tolerance: standard deviation, as a share of a scale's first ones, at which the scale ends.
        seed: of the draws.
        backend: where to render; see `RenderConfig`.
    """

    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    similarity: SimilarityConfig = field(
        default_factory=lambda: SimilarityConfig(terms=(SimilarityTerm(image="gradient", window_px=11),))
    )
    scales: tuple[CmaEsScale, ...] = _SCALES
    tolerance: float = 0.01
    seed: int = 0
    backend: Literal["auto", "cpu", "cuda"] = "auto"


@dataclass(frozen=True, kw_only=True)
class CmaEs:
    """The method.

    Attributes:
        name: as reports call it.
        config: its settings.
    """

    name: str = "cmaes"
    config: CmaEsConfig = field(default_factory=CmaEsConfig)

    @property
    def settings(self) -> Mapping[str, Any]:
        """See `Method.settings`."""
        return {**versions("cmaes", extra=_EXTRA), **asdict(self.config)}

    def register(self, sample: Sample, start: Tensor | str | None) -> MethodResult:
        """See `Method.register`; without a start it takes that of this library."""
        require("cmaes", extra=_EXTRA)
        began = time.perf_counter()
        initial = initial_pose(sample.volume, sample.xray, start).camera_from_world
        fixed = FixedImage.of(sample.xray, self.config.preprocess)
        pose, correlation = initial, float("nan")
        for scale in self.config.scales:
            pose, correlation = self._search(sample.volume, fixed.at(scale.pixels), pose, scale)
        return MethodResult(
            camera_from_world=pose,
            initial_camera_from_world=initial,
            seconds=time.perf_counter() - began,
            similarity=correlation,
        )

    def _search(
        self, volume: Volume, fixed: FixedImage, start: Tensor, scale: CmaEsScale
    ) -> tuple[Tensor, float]:
        """Best pose of one scale and its correlation."""
        render = RenderConfig(method="trilinear", backend=self.config.backend)
        projector = Projector.of(volume, fixed.camera, start[None], render)
        similarity = ImageSimilarity(
            projector=projector, fixed=fixed.image, weight=fixed.weight, config=self.config.similarity
        )
        deviations = torch.from_numpy(np.concatenate([np.deg2rad(scale.rotation_deg), scale.translation_mm]))
        optimiser = require("cmaes", extra=_EXTRA).CMA(
            mean=np.zeros(6), sigma=1.0, seed=self.config.seed, population_size=scale.population
        )
        best_pose, best = start, similarity.correlation(start[None]).item()
        for _ in range(scale.generations):
            drawn = np.stack([optimiser.ask() for _ in range(scale.population)])
            poses = se3.perturb(start, torch.from_numpy(drawn) * deviations, projector.isocentre_world)
            correlation = similarity.correlation(poses)
            if correlation.max() > best:
                best_pose, best = poses[correlation.argmax()], correlation.max().item()
            optimiser.tell(list(zip(drawn, (-correlation).tolist(), strict=True)))
            if drawn.std(axis=0).max() < self.config.tolerance or optimiser.should_stop():
                break
        return best_pose, best
