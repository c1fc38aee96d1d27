"""Predictions of a model's networks for an X-ray: a start, and refinements of starts."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from ..errors import UsageError
from ..networks import (
    CanonicalNetwork,
    Checkpoint,
    Network,
    Regressor,
    SphericalEncoder,
    in_domain,
    masked,
    predicted_motion,
)
from ..rendering import Projector, RenderConfig
from ..similarity import CanonicalSimilarity, SphericalSimilarity
from ..solver import Huber, Problem, levenberg_marquardt
from ..volumes import Volume
from ._fixed import FixedImage
from .config import RegistrationConfig
from .initialize import MODEL, InitialPose
from .result import StageResult


@dataclass(frozen=True, kw_only=True, eq=False)
class Learned:
    """The networks that take part, and the one X-ray they see.

    Attributes:
        model: the networks, in evaluation mode, and the record of their training.
        volume: the CT.
        fixed: the X-ray in the camera and the domain of the training.
        config: settings of the registration.
    """

    model: Checkpoint
    volume: Volume
    fixed: FixedImage
    config: RegistrationConfig

    @classmethod
    def of(cls, model: Checkpoint, volume: Volume, fixed: FixedImage, config: RegistrationConfig) -> Learned:
        """Prepare the networks of a model for an X-ray in its own camera.

        Raises:
            UsageError: the model has no network that is to be used.
        """
        seen = fixed.through(model.record.camera)
        if model.record.domain != "line_integrals":
            if config.preprocess.method != "beer_lambert":
                raise UsageError(
                    "the model brings line integrals into the domain it was trained in by itself: leave "
                    f"preprocess.method at beer_lambert, not {config.preprocess.method}",
                    code="model.unused",
                )
            image, weight = seen.image[None], seen.weight[None]
            seen = replace(seen, image=in_domain(image, weight, model.record.domain)[0])
        learned = cls(model=model, volume=volume, fixed=seen, config=config)
        if not (learned._regressor or learned._refining or learned._rescuing):
            held = ", ".join(model.networks) or "no network"
            raise UsageError(
                f"no part of the model is used: it holds {held}; choose parts by `learned.initialize`, "
                "`learned.coarse`, `learned.fine`, `learned.canonical` and `learned.rescue`, or leave out "
                "the model",
                code="model.unused",
            )
        return learned

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the networks that refine a start, in their order, for people to read."""
        return tuple(kind.replace("_", " ") for kind in self._refining)

    @torch.no_grad()
    def start(self) -> InitialPose | None:
        """The pose that the regressor predicts; None where it is not to be used."""
        if self._regressor is None:
            return None
        isocentre = torch.as_tensor(self.volume.isocentre_world, dtype=torch.float64)
        space, network = self.model.record.space.about_isocentre(isocentre), self._regressor.to(self._device)
        (motion,) = predicted_motion(network, *self._images, self.volume, space, self.fixed.camera)
        pose = space.pose(motion).cpu()
        return InitialPose(camera_from_world=pose, source=MODEL, rough=True)

    @torch.no_grad()
    def refine(self, points: Tensor) -> list[StageResult]:
        """One stage for each network, from poses [B, 4, 4]; the result with the lowest cost counts."""
        results: list[StageResult] = []
        if not self._refining:
            return results
        rendering = RenderConfig(method=self.model.record.renderer, backend=self.config.backend)
        projector = Projector.of(self.volume, self.fixed.camera, points, rendering)
        settings = self.config.learned.solver(self.config.length_mm, self.config.max_step_mm)
        for name, (kind, network) in zip(self.names, self._refining.items(), strict=True):
            began = time.perf_counter()
            solution = levenberg_marquardt(self._problem(kind, network, projector), points, settings)
            results.append(
                StageResult(
                    name=f"{name}, {self.fixed.camera.width} x {self.fixed.camera.height} px",
                    solution=solution,
                    best=int(solution.cost.argsort()[0]),  # NaN comes last, unlike with argmin
                    seconds=time.perf_counter() - began,
                )
            )
            points = solution.x
        return results

    @cached_property
    def canonical_image(self) -> FixedImage | None:
        """The canonical network's image of the X-ray, to be searched in its place; None where it is off.

        Pixels of which the network is unsure have weight 0, too.
        """
        network = self._rescuing
        if network is None:
            return None
        with torch.no_grad():
            target, log_precision = (
                part[0].cpu() for part in network.to(self._device)(masked(*self._images))
            )
        seen = self.fixed.weight > 0
        least = math.log(max(self.config.learned.least_precision, 1e-9)) + log_precision[seen].median()
        weight = self.fixed.weight * (log_precision > least)
        return FixedImage(image=target, weight=weight, camera=self.fixed.camera)

    def _problem(self, kind: str, network: Network, projector: Projector) -> Problem:
        network.to(self._device)
        if kind == "canonical":
            robust = Huber(scale=self.config.learned.robust_scale)
            return CanonicalSimilarity.of(projector, cast(CanonicalNetwork, network), *self._images, robust)
        domain = self.model.record.domain
        return SphericalSimilarity.of(projector, cast(SphericalEncoder, network), *self._images, domain)

    @property
    def _regressor(self) -> Regressor | None:
        """The network of this patient, or else the general one."""
        networks = self.model.networks if self.config.learned.initialize else {}
        return cast(Regressor | None, networks.get("pose_regressor", networks.get("ct_regressor")))

    @property
    def _rescuing(self) -> CanonicalNetwork | None:
        network = self.model.networks.get("canonical") if self.config.learned.rescue else None
        return cast(CanonicalNetwork | None, network)

    @cached_property
    def _refining(self) -> Mapping[str, Network]:
        parts, networks = self.config.learned, self.model.networks
        on = {"coarse_encoder": parts.coarse, "fine_encoder": parts.fine, "canonical": parts.canonical}
        return {kind: networks[kind] for kind in on if on[kind] and kind in networks}

    @property
    def _device(self) -> torch.device:
        return torch.device("cuda" if self.config.backend == "cuda" else "cpu")

    @cached_property
    def _images(self) -> tuple[Tensor, Tensor]:
        """Image and weight [1, H, W], where the networks are."""
        return self.fixed.image[None].to(self._device), self.fixed.weight[None].to(self._device)
