"""The prior of a structure's motion: bones move little."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import se3
from ..similarity import JointSimilarity
from ..solver import L2, Linearization, normal_equations


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionPrior:
    """Points of a structure are normally distributed about where the overall pose puts them.

    Attributes:
        overall: camera_from_world [4, 4] about which the prior is centred.
        points_world: [N, 3] of the structure [mm].
        centroid_world: [3], about which poses are perturbed [mm].
        deviation_mm: standard deviation of a point's motion along each axis.
        share: cost of one such standard deviation, times two.
    """

    overall: Tensor
    points_world: Tensor
    centroid_world: Tensor
    deviation_mm: float
    share: float

    def linearize(self, x: Tensor) -> Linearization:
        """Half the mean square of the points' scaled motion, times `share`, at poses [b, 4, 4]."""
        jacobian = se3.point_jacobian(x, self.points_world, self.centroid_world).flatten(1, 2)
        moved = se3.transform_points(x, self.points_world) - se3.transform_points(
            self.overall, self.points_world
        )
        residual, jacobian = moved.flatten(1) / self.deviation_mm, jacobian / self.deviation_mm
        weight = torch.full_like(residual, self.share / len(self.points_world))
        return normal_equations(residual, jacobian, weight, L2())


@dataclass(frozen=True, kw_only=True, eq=False)
class LikelyMotion:
    """The solver's problem: the cost of the X-ray plus that of the prior.

    Attributes:
        image: similarity of X-ray and radiograph.
        prior: the prior of the motion.
    """

    image: JointSimilarity
    prior: MotionPrior

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """Cost, gradient and Gauss-Newton Hessian at poses [b, 4, 4]; see `Problem.linearize`."""
        return self.image.linearize(x, items) + self.prior.linearize(x)

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        """Poses [b, 4, 4] moved along the tangent [b, 6] of `se3.perturb`, about the centroid."""
        return self.image.retract(x, delta)
