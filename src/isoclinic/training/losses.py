"""What networks are trained to: distances, directions and steps that lead to the known pose.

Fixed images are simulated X-rays, moving images clean DRRs; the poses of both are known. Chen & Kong (WACV
2026) train an encoder so that the distance of embeddings on the sphere approximates the geodesic distance of
the poses. The direction loss is the double-backward loss of ProST (Gao et al. 2020, MICCAI) and SOPI (Gao et
al. 2023, IEEE TMI), here through the renderer's Jacobian: only the encoder is differentiated twice.
Normalisations, floors and the step loss are ours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import se3
from ..networks import CanonicalImage, ImageDomain, PoseSpace, SphericalEncoder
from ..rendering import Projector
from ..similarity import SphericalSimilarity, linearize_embedding
from ..solver import L2, DampedStep, LMConfig, levenberg_marquardt

# Gradients below this count as none, for want of a direction.
_NO_GRADIENT = 1e-12


@dataclass(frozen=True, kw_only=True)
class ValueLoss:
    """Relative error of the network's distance D against the geodesic distance d of the poses.

    mean of ((D - d) / (d + floor))^2, so that it teaches as much close to the truth as far from it.

    Attributes:
        floor_rad: distance of poses below which errors count absolutely [rad of SO(4)].
    """

    floor_rad: float = 0.02

    def __call__(self, network_squared_distance: Tensor, squared_distance: Tensor) -> Tensor:
        """Loss [] of squared distances [B] [rad^2] of embeddings and of poses (`PoseSpace`)."""
        expected = squared_distance.to(network_squared_distance)
        # D - d through the squares, whose derivatives exist at zero; equal distances cost exactly nothing.
        margin = (1e-3 * self.floor_rad) ** 2
        error = (network_squared_distance - expected) / (
            (network_squared_distance + margin).sqrt() + (expected + margin).sqrt()
        )
        return (error / (expected.sqrt() + self.floor_rad)).square().mean()


@dataclass(frozen=True, kw_only=True)
class MotionLoss:
    """What an embedding with a reading reads is the motion between two poses, and its length their distance.

    With t the logarithm of the motion from the moving to the fixed pose in SO(4), d = |t| / sqrt(2) its
    geodesic length, r the residual and D = |r| / sqrt(2) the distance of the embeddings: mean of
    s(|r_6 - t| / sqrt(2)) + value_share s(D - d), where r_6 are the first six numbers of r and
    s(e) = sqrt(1 + e^2 / (d + floor)^2) - 1 is the relative error, squared where it is small. The first part
    alone would make D too small: a motion of which only the size is known has the mean zero. The numbers
    after the sixth may hold that size.

    Attributes:
        floor_rad: distance of poses below which errors count absolutely [rad of SO(4)].
        value_share: weight of the second part.
    """

    floor_rad: float = 0.02
    value_share: float = 2.0

    def __call__(self, residual: Tensor, motion: Tensor) -> Tensor:
        """Loss [] of residuals [N, R] and logarithms of motions [N, 6], see `so4.residual`."""
        motion = motion.to(residual)
        # Lengths with derivatives at zero, as in `ValueLoss`.
        margin = 2 * (1e-3 * self.floor_rad) ** 2
        found, length = ((each.square().sum(-1) + margin).sqrt() for each in (residual, motion))
        unit = length + math.sqrt(2) * self.floor_rad
        by_motion = (residual[:, :6] - motion).square().sum(-1) / unit.square()
        by_value = ((found - length) / unit).square()
        return (_robust(by_motion) + self.value_share * _robust(by_value)).mean()


@dataclass(frozen=True, kw_only=True)
class DirectionLoss:
    """The network's gradient by the pose of the moving image points where the geodesic's does.

    With g = J^T dD^2/dI and g* the gradient of d^2, both along `se3.perturb`, and hats for unit vectors:
    mean of |g_r^ - g*_r^|^2 + |g_t^ - g*_t^|^2 over rotations r and translations t apart.

    Attributes:
        rotation_share: weight of the rotation part.
        translation_share: weight of the translation part.
    """

    rotation_share: float = 1.0
    translation_share: float = 1.0

    def __call__(self, gradient: Tensor, expected: Tensor) -> Tensor:
        """Loss [] of gradients [B, 6]; a part of `expected` that is zero has no direction and costs nothing.

        Args:
            gradient: `network_gradient`.
            expected: `PoseSpace.squared_distance_gradient`.
        """
        expected = expected.to(gradient)
        rotation = _angular(gradient[:, :3], expected[:, :3])
        translation = _angular(gradient[:, 3:], expected[:, 3:])
        return (self.rotation_share * rotation + self.translation_share * translation).mean()


def network_gradient(squared_distance: Tensor, image: Tensor, jacobian: Tensor) -> Tensor:
    """Gradient [B, 6] of network distances by the poses of their moving images, differentiable once more.

    Args:
        squared_distance: [B], of the embedding of `image` and another.
        image: [B, H, W], which requires a gradient.
        jacobian: [B, 6, H, W], of the image along `se3.perturb`.
    """
    (by_image,) = torch.autograd.grad(squared_distance.sum(), image, create_graph=True)
    return torch.einsum("bphw,bhw->bp", jacobian, by_image)


@dataclass(frozen=True, kw_only=True)
class StepLoss:
    """One damped Gauss-Newton step on the embeddings should lead all the way to the fixed pose.

    mean of sqrt(1 + e^2) - 1 with e = |z - z*| / sqrt(|z*|^2 + floor^2), where z is the step and z* the known
    relative pose, both (length omega, v) in millimetres: training does exactly what inference does.

    Attributes:
        damping: lambda of the step, times the diagonal of the Hessian.
        length_mm: millimetres that count as one radian.
        max_step_mm: longer steps are shortened: an ill-conditioned one would drown all others.
        floor_mm: relative pose below which errors count absolutely.
    """

    damping: float = 1e-2
    length_mm: float = 100.0
    max_step_mm: float = 300.0
    floor_mm: float = 1.0

    def __call__(
        self, encoder: SphericalEncoder, fixed: Tensor, moving: Tensor, jacobian: Tensor, tangent: Tensor
    ) -> Tensor:
        """Loss [] of a batch.

        Args:
            encoder: of both images.
            fixed: [B, H, W], simulated X-rays.
            moving: [B, H, W], DRRs.
            jacobian: [B, 6, H, W], of the DRRs along `se3.perturb`.
            tangent: [B, 6], `se3.perturbation` from the moving to the fixed pose.
        """
        at = linearize_embedding(encoder, encoder(fixed), moving, jacobian, L2())
        scale = at.gradient.new_tensor([1 / self.length_mm] * 3 + [1.0] * 3)
        descent = DampedStep(damping_matrix="diagonal", scale=scale, max_length=self.max_step_mm)
        step = descent(at, torch.full_like(at.cost, self.damping)).delta / scale
        expected = tangent.to(step) / scale
        error = (step - expected).square().sum(-1) / (expected.square().sum(-1) + self.floor_mm**2)
        return ((1 + error).sqrt() - 1).mean()


@dataclass(frozen=True, kw_only=True)
class UnrolledLoss:
    """Levenberg-Marquardt itself, so many steps of it, should end at the fixed pose.

    mean of sqrt(1 + e^2) - 1 with e = |z| / sqrt(|z0|^2 + floor^2), where z and z0 are what is left of the
    way to the
    fixed pose at the end and at the beginning, (length omega, v) in millimetres. The derivative goes through
    every
    step: the encoder, the X-ray's embedding, the renderer with its Jacobian, damping and acceptance. A step
    that the solver rejects moves nothing and teaches nothing.

    Attributes:
        steps: K.
        length_mm: millimetres that count as one radian.
        max_step_mm: longer steps are shortened.
        floor_mm: way from which errors count absolutely.
    """

    steps: int = 3
    length_mm: float = 100.0
    max_step_mm: float = 40.0
    floor_mm: float = 1.0

    def __call__(
        self,
        encoder: SphericalEncoder,
        projector: Projector,
        images: tuple[Tensor, Tensor],
        starts: Tensor,
        truth: Tensor,
        domain: ImageDomain = "line_integrals",
    ) -> Tensor:
        """Loss [] of a batch.

        Args:
            encoder: of both images.
            projector: of the moving ones.
            images: simulated X-rays [B, H, W] and where they show the patient [B, H, W].
            starts: poses [B, 4, 4] to start from.
            truth: poses [B, 4, 4] of the X-rays.
            domain: of the X-rays.
        """
        problem = SphericalSimilarity.of(projector, encoder, *images, domain)
        scale = (1 / self.length_mm,) * 3 + (1.0,) * 3
        found = levenberg_marquardt(problem, starts, self._solver(scale)).x
        unit = starts.new_tensor(scale)
        centre = projector.isocentre_world
        left, way = (se3.perturbation(pose, truth, centre) / unit for pose in (found, starts))
        error = left.square().sum(-1) / (way.square().sum(-1) + self.floor_mm**2)
        return ((1 + error).sqrt() - 1).mean()

    def _solver(self, scale: tuple[float, ...]) -> LMConfig:
        return LMConfig(
            max_steps=self.steps,
            step_scale=scale,
            max_step=self.max_step_mm,
            step_tolerance=0.0,
            decrease_tolerance=0.0,
            gradient_tolerance=0.0,
            step_deviation_tolerance=0.0,
        )


def pose_loss(predicted: Tensor, truth: Tensor, space: PoseSpace) -> Tensor:
    """Mean squared geodesic distance [] [rad^2] of poses [B, 4, 4] float64 in SO(4)."""
    return space.squared_distance(predicted, truth).mean()


@dataclass(frozen=True, kw_only=True)
class CanonicalLoss:
    """Regression of a standardised DRR together with the precision of every pixel of it.

    mean of e^2 / 2 + nll_share (exp(s) e^2 - s) / 2 with e the error and s the log precision: the second
    term is the negative log likelihood of a normal error with variance exp(-s) (Nix & Weigend 1994; Kendall &
    Gal 2017, NeurIPS), least where that is the mean squared error. The first keeps hopeless pixels learning.

    Attributes:
        nll_share: weight of the likelihood.
    """

    nll_share: float = 0.5

    def __call__(self, predicted: CanonicalImage, target: Tensor) -> Tensor:
        """Loss [] of predictions for B images against `similarity.canonical_target` [B, H, W]."""
        square = (predicted.target - target).square()
        precision = predicted.log_precision
        likelihood = precision.exp() * square - precision
        return (square + self.nll_share * likelihood).mean() / 2


def _robust(square: Tensor) -> Tensor:
    """Half of squared errors where they are small, errors where they are large."""
    return (1 + square).sqrt() - 1


def _angular(gradient: Tensor, expected: Tensor) -> Tensor:
    """Squared distance [B] of the directions of vectors [B, 3]."""
    known = expected.square().sum(-1) > _NO_GRADIENT**2
    return known * (_direction(gradient) - _direction(expected)).square().sum(-1)


def _direction(vector: Tensor) -> Tensor:
    return vector * (vector.square().sum(-1, keepdim=True) + _NO_GRADIENT**2).rsqrt()
