"""The canonical residual: DRRs against a network's prediction of the X-ray's DRR.

The network sees the X-ray only, once. The moving side is analytic, so that an iteration costs one rendering
and no network pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import se3
from ..networks import CanonicalConfig, CanonicalImage, CanonicalNetwork, masked
from ..rendering import Projector
from ..solver import Linearization, RobustLoss, normal_equations
from . import _local_kernel


def canonical_target(image: Tensor, config: CanonicalConfig) -> Tensor:
    """Line integrals [B, H, W] standardised within windows, which a canonical network learns to predict."""
    return standardized(image, image.new_zeros(len(image), 0, *image.shape[1:]), config)[0]


@dataclass(frozen=True, kw_only=True, eq=False)
class CanonicalSimilarity:
    """The solver's problem: predictions for X-rays against standardised DRRs of one volume.

    The residual of a pixel is its difference, its weight the precision the network predicts, normalised to
    sum one. With weights that fit the errors this is the maximum likelihood pose.

    Attributes:
        projector: renders the moving images.
        predicted: the network's predictions for the masked X-rays: one for each item, or one for all.
        weight: [b, H, W], where the X-rays show the patient; of each item, or [1, H, W] for all.
        config: settings of the network.
        robust: loss applied to every residual.
    """

    projector: Projector
    predicted: CanonicalImage
    weight: Tensor
    config: CanonicalConfig
    robust: RobustLoss

    @classmethod
    def of(
        cls,
        projector: Projector,
        network: CanonicalNetwork,
        image: Tensor,
        weight: Tensor,
        robust: RobustLoss,
        hint: Tensor | None = None,
    ) -> CanonicalSimilarity:
        """Similarity to X-rays [b, H, W] like line integrals, with weights [b, H, W]; see `masked`.

        The hint [b, H, W] is for a network that takes one.
        """
        with torch.no_grad():
            predicted = network(masked(image, weight), *(() if hint is None else (hint,)))
        return cls(
            projector=projector, predicted=predicted, weight=weight, config=network.config, robust=robust
        )

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """Cost, gradient and Gauss-Newton Hessian at poses [b, 4, 4]; see `Problem.linearize`."""
        image, jacobian = self.projector.image_and_jacobian(x)
        moving, change = standardized(image.cpu(), jacobian.cpu(), self.config)
        chosen = torch.zeros_like(items) if len(self.predicted.target) == 1 else items
        target, log_precision, seen = (
            part.detach().cpu()[chosen].flatten(1) for part in (*self.predicted, self.weight)
        )
        residual = moving.flatten(1) - target
        precision = (log_precision + seen.log()).softmax(-1)
        return normal_equations(residual, change.flatten(2).mT, precision, self.robust)

    def cost(self, x: Tensor) -> Tensor:
        """Cost [b] at poses [b, 4, 4], without derivatives, for a prediction that is the same for all."""
        moving = canonical_target(self.projector.image(x).cpu(), self.config).flatten(1)
        target, log_precision, seen = (
            part.detach().cpu().flatten(1) for part in (*self.predicted, self.weight)
        )
        loss, _ = self.robust(moving - target)
        return ((log_precision + seen.log()).softmax(-1) * loss).sum(-1)

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        """Poses [b, 4, 4] moved along the tangent [b, 6] of `se3.perturb`."""
        return se3.perturb(x, delta, self.projector.isocentre_world)


def standardized(image: Tensor, jacobian: Tensor, config: CanonicalConfig) -> tuple[Tensor, Tensor]:
    """Line integrals [B, H, W] and their derivatives [B, P, H, W], as `canonical_target` has them.

    Where they saturate, L becomes s (1 - exp(-L / s)).
    """
    if config.saturation is not None:
        share = (-image / config.saturation).exp()
        image, jacobian = config.saturation * (1 - share), jacobian * share[:, None]
    weight = image.new_ones(image.shape[1:])
    return _local_kernel.standardize(
        image, jacobian, weight, radius=config.window_px // 2, floor=config.floor
    )
