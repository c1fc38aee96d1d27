"""Learned similarity as least squares: distances of embeddings, with their derivatives by the pose."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from ..geometry import se3
from ..networks import Embedding, ImageDomain, in_domain, jacobian_in_domain, masked
from ..rendering import Projector
from ..solver import L2, Linearization, RobustLoss, normal_equations


class Encoder(Protocol):
    """Embeds images and compares embeddings, as `SphericalEncoder` does."""

    def __call__(self, image: Tensor, /) -> Embedding:
        """Embedding of images [B, H, W]."""
        ...

    def residual(self, moving: Embedding, fixed: Embedding) -> Tensor:
        """Residual [B, N] whose squared norm is twice the squared distance."""
        ...


def residual_and_slopes(
    encoder: Encoder, fixed: Embedding, image: Tensor, jacobian: Tensor
) -> tuple[Tensor, Tensor]:
    """Residual of an image's embedding and its derivative by what moves the image.

    One pass of the encoder in forward mode for all P tangents (`torch.func`). What comes out is itself
    differentiable in the encoder's weights, the image and the Jacobian.

    Args:
        encoder: the encoder of both images.
        fixed: embedding of the X-rays, B images.
        image: [B, H, W], the moving images.
        jacobian: [B, P, H, W], the derivative of each by P parameters.

    Returns:
        (residual [B, N], slopes [B, P, N]).
    """

    def compared(moving: Tensor) -> Tensor:
        return encoder.residual(encoder(moving), fixed)

    def along(tangent: Tensor) -> tuple[Tensor, Tensor]:
        residual, slope = torch.func.jvp(compared, (image,), (tangent,))[:2]
        return residual, slope

    # Dropout of probability zero asks for random numbers too.
    residuals, slopes = torch.func.vmap(along, in_dims=1, randomness="same")(jacobian)
    return residuals[0], slopes.movedim(0, 1)


def linearize_embedding(
    encoder: Encoder, fixed: Embedding, image: Tensor, jacobian: Tensor, robust: RobustLoss
) -> Linearization:
    """Gauss-Newton model of the squared distance of embeddings; arguments as of `residual_and_slopes`.

    With the plain L2 loss the cost is the squared distance itself.
    """
    residual, slopes = residual_and_slopes(encoder, fixed, image, jacobian)
    return normal_equations(residual, slopes.mT, None, robust)


@dataclass(frozen=True, kw_only=True, eq=False)
class SphericalSimilarity:
    """The solver's problem: X-rays against DRRs of one volume, compared by a learned encoder.

    An iteration costs one rendering with its Jacobian and one pass of the encoder with six tangents. For the
    global, the dense and the Euclidean embedding alike.

    Attributes:
        projector: renders the moving images.
        encoder: embeds both.
        fixed: embedding of the masked X-rays: one for each item, or one for all.
        weight: [b, H, W], where the X-rays show the patient; of each item, or [1, H, W] for all.
        domain: the domain in which the encoder sees line integrals.
        robust: loss applied to every residual.
    """

    projector: Projector
    encoder: Encoder
    fixed: Embedding
    weight: Tensor
    domain: ImageDomain = "line_integrals"
    robust: RobustLoss = field(default_factory=L2)

    @classmethod
    def of(
        cls,
        projector: Projector,
        encoder: Encoder,
        image: Tensor,
        weight: Tensor,
        domain: ImageDomain = "line_integrals",
    ) -> SphericalSimilarity:
        """Similarity to X-rays [b, H, W] in the encoder's domain, with weights [b, H, W]; see `masked`.

        The embedding of the X-rays keeps its graph, as all else does: a solution is differentiable in the
        X-rays, the encoder's weights and the start. To register with nothing to be learned from it, work
        under `torch.no_grad`.
        """
        fixed = encoder(masked(image, weight))
        return cls(projector=projector, encoder=encoder, fixed=fixed, weight=weight, domain=domain)

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """Cost, gradient and Gauss-Newton Hessian at poses [b, 4, 4]; see `Problem.linearize`.

        All three are differentiable in the poses, through the image and through its Jacobian (`Projector`).
        """
        fixed, weight = self._fixed(items)
        image, jacobian = (part.to(weight) for part in self.projector.image_and_jacobian(x))
        image, jacobian = jacobian_in_domain(image, jacobian, weight, self.domain)
        image, jacobian = masked(image, weight), masked(jacobian, weight[:, None])
        at = linearize_embedding(self.encoder, fixed, image, jacobian, self.robust)
        return Linearization(at.cost.to(x.device), at.gradient.to(x.device), at.hessian.to(x.device))

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        """Poses [b, 4, 4] moved along the tangent [b, 6] of `se3.perturb`."""
        return se3.perturb(x, delta, self.projector.isocentre_world)

    def squared_distance(self, x: Tensor) -> Tensor:
        """Squared distance [b] [rad^2] of the DRRs at poses [b, 4, 4]: ranks starts without derivatives."""
        fixed, weight = self._fixed(torch.arange(len(x)))
        image = in_domain(self.projector.image(x).to(weight), weight, self.domain)
        moving = self.encoder(masked(image, weight))
        return self.encoder.residual(moving, fixed).square().sum(-1) / 2

    def _fixed(self, items: Tensor) -> tuple[Embedding, Tensor]:
        shared = len(self.weight) == 1
        items = (torch.zeros_like(items) if shared else items).to(self.weight.device)
        return self.fixed.select(items), self.weight[items]
