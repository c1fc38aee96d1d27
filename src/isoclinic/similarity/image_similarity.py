"""Image similarity as least squares: local and gradient correlation with exact pose derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from ..errors import UsageError
from ..geometry import se3
from ..rendering import Projector
from ..solver import Linearization, PseudoHuber, normal_equations
from . import _local_kernel


@dataclass(frozen=True, kw_only=True)
class SimilarityTerm:
    """One normalised correlation of the two images.

    Attributes:
        image: what is compared: "intensity" (line integrals) or "gradient" (both derivatives of them).
        window_px: side of the window within which images are standardised [px], odd; 0 for the whole image.
        share: weight of this term among all.
    """

    image: Literal["intensity", "gradient"] = "intensity"
    window_px: int = 9
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.window_px != 0 and (self.window_px < 3 or self.window_px % 2 == 0):
            raise UsageError(
                f"window_px must be odd and at least 3, or 0 for the whole image, not {self.window_px}"
            )
        if not self.share > 0:
            raise UsageError(f"a term's share must be positive, not {self.share}")


@dataclass(frozen=True, kw_only=True)
class SimilarityConfig:
    """What is compared, and how outliers count.

    Attributes:
        terms: the correlations that are added up.
        floor: contrast below which a window counts as flat, as a fraction of the X-ray's own contrast and,
            for the DRR, in line integrals.
        robust_scale: standardised difference from which a pixel pulls less (pseudo-Huber).
    """

    terms: tuple[SimilarityTerm, ...] = (SimilarityTerm(),)
    floor: float = 0.05
    robust_scale: float = 1.5

    def __post_init__(self) -> None:
        if not self.terms:
            raise UsageError("a similarity needs at least one term")
        if not (self.floor > 0 and self.robust_scale > 0):
            raise UsageError("floor and robust_scale must be positive")


class _Prepared(NamedTuple):
    """A term with all that does not depend on the pose."""

    term: SimilarityTerm
    radius: int
    weight: Tensor  # [h, w] of the standardisation
    target: Tensor  # [N] standardised X-ray
    pixel_weight: Tensor  # [N], sum 1


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageSimilarity:
    """The solver's problem: an X-ray against DRRs of one volume, at one resolution.

    The residual is the difference of the two images, standardised within windows: its sum of squares is
    local NCC (see `local_standardization`); the derivatives are the renderer's, carried through exactly.

    Attributes:
        projector: renders the moving image.
        fixed: X-ray as line integrals up to an unknown tone [H, W], float32.
        weight: confidence of its pixels [H, W] in 0..1, float32.
        config: terms and robustness.
        background: line integrals of what the projector does not render, the same at every pose [H, W].
    """

    projector: Projector
    fixed: Tensor
    weight: Tensor
    config: SimilarityConfig
    background: Tensor | float = 0.0

    @property
    def _robust(self) -> PseudoHuber:
        return PseudoHuber(scale=self.config.robust_scale)

    @cached_property
    def _terms(self) -> tuple[_Prepared, ...]:
        contrast = _weighted_deviation(self.fixed, self.weight)
        return tuple(self._prepare(term, contrast) for term in self.config.terms)

    def _prepare(self, term: SimilarityTerm, contrast: float) -> _Prepared:
        height, width = self.fixed.shape
        radius = term.window_px // 2 if term.window_px else max(height, width)
        weight = self.weight if term.image == "intensity" else _gradient_weight(self.weight)
        flat = self.fixed.new_zeros(1, 0, height, width)
        features, no_change = _features(self.fixed[None] / contrast, flat, term)
        target, _ = _local_kernel.standardize(
            features, no_change, weight, radius=radius, floor=self.config.floor
        )
        pixel_weight = weight.expand_as(target).flatten()
        pixel_weight = pixel_weight / pixel_weight.sum().clamp(min=1e-6)
        return _Prepared(term, radius, weight, target.flatten(), pixel_weight)

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """Cost, gradient and Gauss-Newton Hessian at poses [b, 4, 4]; see `Problem.linearize`."""
        return self.linearize_images(*self.projector.image_and_jacobian(x))

    def linearize_images(self, image: Tensor, jacobian: Tensor) -> Linearization:
        """The same of images [b, H, W] with derivatives [b, P, H, W] along any P parameters."""
        total: Linearization | None = None
        for prepared in self._terms:
            moving, change = self._standardized(image, jacobian, prepared)
            share = prepared.pixel_weight * prepared.term.share
            residual = moving - prepared.target
            part = normal_equations(residual, change.mT, share.expand_as(residual), self._robust)
            total = part if total is None else total + part
        assert total is not None
        return total

    def tile_gradients(self, x: Tensor, tile_px: int) -> Tensor:
        """What each square of `tile_px` pixels contributes to the cost's gradient: [b, T, 6], float64.

        They add up to the gradient of `linearize`. Pixels near each other err alike, tiles larger than the
        window much less so: their scatter tells how far the optimum itself is uncertain.
        """
        return self.tile_images(*self.projector.image_and_jacobian(x), tile_px)

    def tile_images(self, image: Tensor, jacobian: Tensor, tile_px: int) -> Tensor:
        """The same [b, T, P] of images [b, H, W] with derivatives [b, P, H, W] along any P parameters."""
        height, width = self.fixed.shape
        total = jacobian.new_zeros(*jacobian.shape[:2], height, width, dtype=torch.float64)
        for prepared in self._terms:
            moving, change = self._standardized(image, jacobian, prepared)
            residual = moving - prepared.target
            weight = prepared.pixel_weight * prepared.term.share * self._robust(residual)[1]
            border = (height - prepared.weight.shape[0]) // 2
            pixels = (change * (weight * residual)[:, None]).unflatten(2, (-1, *prepared.weight.shape))
            inner = total[..., border : height - border, border : width - border]
            inner += pixels.sum(2, dtype=torch.float64)
        tiles = avg_pool2d(total, tile_px, ceil_mode=True, divisor_override=1)
        return tiles.flatten(2).mT

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        """Poses [b, 4, 4] moved along the tangent [b, 6] of `se3.perturb`."""
        return se3.perturb(x, delta, self.projector.isocentre_world)

    def correlation(self, x: Tensor) -> Tensor:
        """Correlation [b] of the standardised images at poses [b, 4, 4], averaged over terms: 1 is perfect.

        Unlike the cost it does not reward a view that leaves the image flat, so it can rank any poses.
        """
        return self.correlate_images(self.projector.image(x))

    def correlate_images(self, image: Tensor) -> Tensor:
        """The same [b] of images [b, H, W]."""
        image = image.cpu()
        flat = image.new_zeros(len(image), 0, *image.shape[1:])
        total = image.new_zeros(len(image))
        for prepared in self._terms:
            moving, _ = self._standardized(image, flat, prepared)
            w, target = prepared.pixel_weight, prepared.target
            energy = (moving.square() @ w) * (target.square() @ w)
            total += prepared.term.share * (moving @ (w * target)) / energy.clamp(min=1e-12).sqrt()
        return total / sum(prepared.term.share for prepared in self._terms)

    def _standardized(self, image: Tensor, jacobian: Tensor, prepared: _Prepared) -> tuple[Tensor, Tensor]:
        """Standardised features [b, N] and their derivatives [b, P, N] of images [b, H, W]."""
        whole = image.cpu() + self.background
        features, changes = _features(whole, jacobian.cpu(), prepared.term)
        moving, change = _local_kernel.standardize(
            features, changes, prepared.weight, radius=prepared.radius, floor=self.config.floor
        )
        batch, parameters = jacobian.shape[:2]
        per_image = len(moving) // batch
        change = change.unflatten(0, (batch, per_image)).movedim(1, 2)
        moving = moving.reshape(batch, -1)
        return moving, change.reshape(batch, parameters, moving.shape[1])


def _features(image: Tensor, jacobian: Tensor, term: SimilarityTerm) -> tuple[Tensor, Tensor]:
    """What a term compares: [b F, h, w] and derivatives [b F, P, h, w] of images [b, H, W]."""
    if term.image == "intensity":
        return image, jacobian
    along = [_central_differences(part) for part in (image, jacobian)]
    return along[0].flatten(0, 1), along[1].flatten(0, 1)


def _central_differences(image: Tensor) -> Tensor:
    """Half differences along u and v of [b, ..., H, W], interior only: [b, 2, ..., H - 2, W - 2]."""
    along_u = image[..., 1:-1, 2:] - image[..., 1:-1, :-2]
    along_v = image[..., 2:, 1:-1] - image[..., :-2, 1:-1]
    return torch.stack([along_u, along_v], dim=1) / 2


def _gradient_weight(weight: Tensor) -> Tensor:
    """Least weight of the pixels a central difference touches [H - 2, W - 2]."""
    return -max_pool2d(-weight[None, None], 3, stride=1)[0, 0]


def _weighted_deviation(image: Tensor, weight: Tensor) -> float:
    share = weight / weight.sum().clamp(min=1e-6)
    mean = (share * image).sum()
    return max(float((share * (image - mean).square()).sum().sqrt()), 1e-6)
