"""How well a network does on held-back X-rays: the mean target registration error it leaves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..geometry import mean_target_registration_error_mm, se3
from ..networks import CanonicalNetwork, PoseSpace, Regressor, SphericalEncoder, predicted_motion
from ..rendering import Projector
from ..similarity import CanonicalSimilarity, SphericalSimilarity, canonical_target
from ..solver import Huber, LMConfig, Problem, levenberg_marquardt
from ..volumes import target_points
from .stream import Batch

_POINTS = 200
# A similarity is judged by where Levenberg-Marquardt ends from that far away.
_START_MM, _START_DEG = 20.0, 20.0 / 3
# Canonical images have unit variance: what is off by more is a tool or a wrong prediction.
_HUBER = 0.5
_SOLVER = LMConfig(
    max_steps=12,
    step_scale=(1 / 60,) * 3 + (1.0,) * 3,
    max_step=40.0,
    step_tolerance=0.1,
    decrease_tolerance=1e-3,
    step_deviation_tolerance=0.0,
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Validation:
    """X-rays of one CT at poses that are not trained on.

    Attributes:
        batch: the X-rays.
        points_world: where errors are measured [N, 3] [mm]: bone, where the CT shows any.
        starts: poses [B, 4, 4] 20 mm and 6.7 degrees from the true ones, for similarities; of a part
            those that the stream has drawn.
        space: of the poses.
        projector: of the moving images.
    """

    batch: Batch
    points_world: Tensor
    starts: Tensor
    space: PoseSpace
    projector: Projector

    @classmethod
    def of(cls, projector: Projector, batch: Batch, space: PoseSpace, *, seed: int) -> Validation:
        """Points and starts drawn by `seed`; the space is that of the batch's CT."""
        generator = torch.Generator().manual_seed(seed)
        poses = batch.fixed_camera_from_world
        turn, shift = torch.nn.functional.normalize(
            torch.randn(2, len(poses), 3, generator=generator, dtype=torch.float64), dim=-1
        )
        tangent = torch.cat([np.deg2rad(_START_DEG) * turn, _START_MM * shift], dim=1)
        return cls(
            batch=batch,
            points_world=target_points(batch.volume, _POINTS, None, generator=np.random.default_rng(seed)),
            starts=se3.perturb(poses, tangent, space.isocentre)
            if batch.hint is None
            else batch.moving_camera_from_world,
            space=space,
            projector=projector,
        )

    def mtre_mm(self, network: nn.Module) -> Tensor:
        """Errors [B] of predicted poses, or of where a similarity leads to [mm]; in evaluation mode."""
        batch = self.batch
        training = network.training
        network.eval()
        with torch.no_grad():
            if isinstance(network, Regressor):
                images = batch.fixed, batch.weight
                found = self.space.pose(
                    predicted_motion(network, *images, batch.volume, self.space, batch.camera)
                )
            else:
                found = levenberg_marquardt(self._problem(network), self.starts, _SOLVER).x
        network.train(training)
        return mean_target_registration_error_mm(
            found.to(self.points_world.device), batch.fixed_camera_from_world, self.points_world
        )

    def _problem(self, network: nn.Module) -> Problem:
        fixed, weight = self.batch.fixed, self.batch.weight
        if isinstance(network, SphericalEncoder):
            return SphericalSimilarity.of(self.projector, network, fixed, weight, self.batch.domain)
        assert isinstance(network, CanonicalNetwork)
        hint = self.batch.hint
        if hint is not None:
            hint = canonical_target(hint.cpu(), network.config).to(fixed)
        return CanonicalSimilarity.of(self.projector, network, fixed, weight, Huber(scale=_HUBER), hint)


def quartiles(errors_mm: Tensor) -> Sequence[float]:
    """25th, 50th and 75th percentiles of errors [B]."""
    quantiles: list[float] = errors_mm.quantile(errors_mm.new_tensor([0.25, 0.5, 0.75])).tolist()
    return quantiles
