"""Image similarity as least squares: local and gradient correlation with exact pose derivatives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..geometry import se3
from ..rendering import Coverage, Projector
from ..solver import Linearization, PseudoHuber, normal_equations
from . import _local_kernel
from ._gradients import central_differences, gradient_weight
from .config import SimilarityConfig, SimilarityTerm
from .significance import deviations_from_chance, effective_samples
from .tone import Tone, fit_tone

# Share of a DRR's contrast that part of an X-ray shows, below which it is taken for chance.
_LEAST_SHOWN = 0.05
# Rim of what a CT can speak of that is not compared: poses are known to about a pixel.
COVERAGE_MARGIN_PX = 1


class _Prepared(NamedTuple):
    """A term with all that does not depend on the pose, for each of K masks; K is 1 where they are alike."""

    term: SimilarityTerm
    radius: int
    weight: Tensor  # [K, h, w] of the standardisation
    target: Tensor  # [K, N] standardised X-ray
    pixel_weight: Tensor  # [K, N], sum 1

    def of(self, items: Tensor | None) -> _Prepared:
        """The masks of some items [b] int64; all of them in order when None."""
        if items is None or len(self.weight) == 1:
            return self
        weight, target, pixel_weight = (each[items] for each in (self.weight, self.target, self.pixel_weight))
        return self._replace(weight=weight, target=target, pixel_weight=pixel_weight)


class Scatter(NamedTuple):
    """The uncertainty of an optimum, for a covariance.

    Attributes:
        gradients: contributions [b, T, P] of T squares of pixels to the cost's gradient, float64;
            they add up to it. Pixels near each other err alike, squares larger than the window much less so.
        curvature: curvature of the cost [b, P, P], float64: that of Gauss and Newton times s, square by
            square, where the X-ray shows f = s m + noise of the DRR's m. As <m, m''> = -<m', m'> for m of
            constant norm, the cost's -<f, m''> is s <m', m'>, which the noise does not add to.
    """

    gradients: Tensor
    curvature: Tensor


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
        background: line integrals of all that the projector does not render, the same at every pose [H, W].
        tone: curve that DRRs go through before they are compared; None for none.
        coverage: the rays whose tissue the CT contains entirely; None where these are all.
        known: [K, H, W], 1 on pixels that are compared, for each of K items, or for all where K is 1; None
            for all pixels. See `seen_from`.
    """

    projector: Projector
    fixed: Tensor
    weight: Tensor
    config: SimilarityConfig
    background: Tensor | float = 0.0
    tone: Tone | None = None
    coverage: Coverage | None = None
    known: Tensor | None = None

    def seen_from(self, poses: Tensor) -> ImageSimilarity:
        """The problem with the pixels that the CT can speak of at poses [B, 4, 4], one mask an item.

        The masks stay as they are while the poses move: a mask that followed them would let a pose gain by
        hiding what it does not match.
        """
        if self.coverage is None or self.coverage.closed:
            return self
        known = self.coverage.known(self.projector.camera, poses, COVERAGE_MARGIN_PX)
        if bool((known == known[:1]).all()):
            known = known[:1]
        seen = None if bool(known.all()) else known
        if seen is self.known or (seen is not None and self.known is not None and seen.equal(self.known)):
            return self  # with what it has prepared
        return replace(self, known=seen)

    @property
    def known_share(self) -> Tensor:
        """Share [K] of the X-ray's weight that is on pixels that are compared."""
        if self.known is None:
            return self.fixed.new_ones(1)
        return (self.weight * self.known).sum(dim=(1, 2)) / self.weight.sum().clamp(min=1e-6)

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
        weight = self.weight[None] if self.known is None else self.weight * self.known
        weight = weight if term.image == "intensity" else gradient_weight(weight)
        masks = len(weight)
        flat = self.fixed.new_zeros(masks, 0, height, width)
        features, no_change = _features((self.fixed / contrast).expand(masks, -1, -1), flat, term)
        target, _ = _local_kernel.standardize(
            features, no_change, _per_feature(weight, features), radius=radius, floor=self.config.floor
        )
        pixel_weight = _per_feature(weight, features).expand_as(target).reshape(masks, -1)
        pixel_weight = pixel_weight / pixel_weight.sum(dim=1, keepdim=True).clamp(min=1e-6)
        return _Prepared(term, radius, weight, target.reshape(masks, -1), pixel_weight)

    def linearize(self, x: Tensor, items: Tensor) -> Linearization:
        """Cost, gradient and Gauss-Newton Hessian at poses [b, 4, 4]; see `Problem.linearize`."""
        return self.linearize_images(*self.projector.image_and_jacobian(x), items)

    def linearize_images(self, image: Tensor, jacobian: Tensor, items: Tensor | None = None) -> Linearization:
        """The same for images [b, H, W] with derivatives [b, P, H, W] along any P parameters.

        Args:
            image: the images at the poses.
            jacobian: the derivatives of the images.
            items: [b] int64, whose masks hold for the images; None where images and masks come in one order.
        """
        total: Linearization | None = None
        for prepared in (term.of(items) for term in self._terms):
            moving, change = self._standardized(image, jacobian, prepared)
            share = prepared.pixel_weight * prepared.term.share
            residual = moving - prepared.target
            part = normal_equations(residual, change.mT, share.expand_as(residual), self._robust)
            total = part if total is None else total + part
        assert total is not None
        return total

    def scatter(self, x: Tensor, tile_px: int) -> Scatter:
        """Scatter of the optimum among squares of `tile_px` pixels, at poses [b, 4, 4]."""
        return self.scatter_images(*self.projector.image_and_jacobian(x), tile_px)

    def scatter_images(self, image: Tensor, jacobian: Tensor, tile_px: int) -> Scatter:
        """The same for images [b, H, W] with derivatives [b, P, H, W] along any P parameters."""
        batch, parameters = jacobian.shape[:2]
        height, width = self.fixed.shape
        gradient = jacobian.new_zeros(batch, parameters, height, width, dtype=torch.float64)
        curvature = jacobian.new_zeros(batch, parameters, parameters, dtype=torch.float64)
        for prepared in self._terms:
            moving, change = self._standardized(image, jacobian, prepared)
            residual = moving - prepared.target
            weight = prepared.pixel_weight * prepared.term.share * self._robust(residual)[1]
            border = (height - prepared.weight.shape[1]) // 2
            pixels = (change * (weight * residual)[:, None]).unflatten(2, (-1, *prepared.weight.shape[1:]))
            inner = gradient[..., border : height - border, border : width - border]
            inner += pixels.sum(2, dtype=torch.float64)
            weight = weight * _shown_by_tile(moving, prepared, tile_px)
            curvature += (change * weight[:, None]) @ change.mT
        tiles = avg_pool2d(gradient, tile_px, ceil_mode=True, divisor_override=1)
        return Scatter(tiles.flatten(2).mT, curvature)

    def toned(self, image: Tensor, least_gain: float) -> ImageSimilarity:
        """The problem with the tone curve that fits a DRR [H, W] at about the right pose, if it gains enough.

        Args:
            image: the DRR.
            least_gain: the least amount by which the curve must raise the correlation.
        """
        weight = self.weight if self.known is None else self.weight * self.known[0]
        tone = fit_tone(self.fixed, image.cpu() + self.background, weight)
        if tone is None:
            return self
        curved = replace(self, tone=tone)
        curved.__dict__["_terms"] = self._terms  # they do not depend on the tone
        before, after = (float(each.correlate_images(image[None])[0]) for each in (self, curved))
        return curved if after - before >= least_gain else self

    def retract(self, x: Tensor, delta: Tensor) -> Tensor:
        """Poses [b, 4, 4] moved along the tangent [b, 6] of `se3.perturb`."""
        return se3.perturb(x, delta, self.projector.isocentre_world)

    def correlation(self, x: Tensor) -> Tensor:
        """Correlation [b] of the standardised images at poses [b, 4, 4], averaged over terms: 1 is perfect.

        Unlike the cost it does not reward a view that leaves the image flat, so it can rank any poses.
        """
        return self.correlate_images(self.projector.image(x))

    def correlate_images(self, image: Tensor) -> Tensor:
        """The correlation [b] of images [b, H, W]."""
        image = image.cpu()
        flat = image.new_zeros(len(image), 0, *image.shape[1:])
        total = image.new_zeros(len(image))
        for prepared in self._terms:
            moving, _ = self._standardized(image, flat, prepared)
            total += prepared.term.share * _correlation(moving, prepared)
        return total / sum(prepared.term.share for prepared in self._terms)

    def significance(self, image: Tensor) -> float:
        """How many standard deviations of chance the correlation with an image [1, H, W] is above 0.

        Chance is the correlation of unrelated images that are as smooth as these two: see `significance`.
        """
        flat, total = image.new_zeros(1, 0, *image.shape[1:]).cpu(), 0.0
        for prepared in self._terms:
            moving, _ = self._standardized(image, flat, prepared)
            shape = prepared.weight.shape[1:]
            first, second = (each.unflatten(1, (-1, *shape))[0] for each in (moving, prepared.target))
            samples = effective_samples(first, second, prepared.weight[0])
            correlation = float(_correlation(moving, prepared)[0])
            total += prepared.term.share * deviations_from_chance(correlation, samples)
        return total / sum(prepared.term.share for prepared in self._terms)

    def _standardized(self, image: Tensor, jacobian: Tensor, prepared: _Prepared) -> tuple[Tensor, Tensor]:
        """Standardised features [b, N] and their derivatives [b, P, N] of images [b, H, W]."""
        whole, jacobian = image.cpu() + self.background, jacobian.cpu()
        if self.tone is not None:
            whole, slope = self.tone(whole)
            jacobian = jacobian * slope[:, None]
        features, changes = _features(whole, jacobian, prepared.term)
        weight = _per_feature(prepared.weight, features)
        moving, change = _local_kernel.standardize(
            features, changes, weight, radius=prepared.radius, floor=self.config.floor
        )
        batch, parameters = jacobian.shape[:2]
        per_image = len(moving) // batch
        change = change.unflatten(0, (batch, per_image)).movedim(1, 2)
        moving = moving.reshape(batch, -1)
        return moving, change.reshape(batch, parameters, moving.shape[1])


def _correlation(moving: Tensor, prepared: _Prepared) -> Tensor:
    """Correlation [b] of standardised features [b, N] with the target's."""
    w, target = prepared.pixel_weight, prepared.target
    energy = (w * moving.square()).sum(1) * (w * target.square()).sum(1)
    return (w * target * moving).sum(1) / energy.clamp(min=1e-12).sqrt()


def _shown_by_tile(moving: Tensor, prepared: _Prepared, tile_px: int) -> Tensor:
    """Slope of the target over the standardised features [b, N], in the square each of them is in: [b, N]."""
    shape = prepared.weight.shape[1:]
    parts = torch.stack([moving * prepared.target, moving.square()]) * prepared.pixel_weight
    planes = parts.unflatten(2, (-1, *shape)).flatten(0, 1)
    sums = avg_pool2d(planes, tile_px, ceil_mode=True, divisor_override=1).unflatten(0, parts.shape[:2])
    share = (sums[0] / sums[1].clamp(min=1e-12)).clamp(_LEAST_SHOWN, 1)
    pixels = share.repeat_interleave(tile_px, -2).repeat_interleave(tile_px, -1)
    return pixels[..., : shape[0], : shape[1]].flatten(1)


def _features(image: Tensor, jacobian: Tensor, term: SimilarityTerm) -> tuple[Tensor, Tensor]:
    """The features [b F, h, w] that a term compares of images [b, H, W], with derivatives [b F, P, h, w]."""
    if term.image == "intensity":
        return image, jacobian
    along = [central_differences(part) for part in (image, jacobian)]
    return along[0].flatten(0, 1), along[1].flatten(0, 1)


def _per_feature(weight: Tensor, features: Tensor) -> Tensor:
    """Weights [1 or b F, h, w] of features [b F, h, w], from those of the images [1 or b, h, w]."""
    return weight if len(weight) == 1 else weight.repeat_interleave(len(features) // len(weight), 0)


def _weighted_deviation(image: Tensor, weight: Tensor) -> float:
    share = weight / weight.sum().clamp(min=1e-6)
    mean = (share * image).sum()
    return max(float((share * (image - mean).square()).sum().sqrt()), 1e-6)
