"""Coarse multi-start: many orientations, each slid over all positions at once by correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, pad

from ..errors import UsageError
from ..geometry import Camera, se3
from ..rendering import Coverage, Projector
from ..similarity import COVERAGE_MARGIN_PX, central_differences, gradient_weight, standardize
from ._halton import halton
from ._search_bank import SearchBank
from .search_config import SearchConfig

# Candidates rendered at once: bounds memory.
_CHUNK = 256
# Correlation that a view must gain for a depth at the end of its reach to be preferred.
_DEPTH_PENALTY = 0.05


class _Compared(Protocol):
    """The images that a search compares; see `SearchConfig`."""

    @property
    def image(self) -> Literal["intensity", "gradient"]: ...

    @property
    def window_px(self) -> int: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchView:
    """An X-ray at the resolution of a search.

    Attributes:
        projector: renders the CT with the camera of `fixed`.
        fixed: X-ray as line integrals [H, W], float32.
        weight: confidence of its pixels [H, W].
        view_from_first: [4, 4] float64, from the first X-ray's camera frame to this one's.
        coverage: the rays whose tissue the CT contains entirely; None where these are all.
        bank: earlier renderings; None where they are not kept.
    """

    projector: Projector
    fixed: Tensor
    weight: Tensor
    view_from_first: Tensor
    coverage: Coverage | None = None
    bank: SearchBank | None = None


def search(views: Sequence[SearchView], start: Tensor, config: SearchConfig) -> tuple[Tensor, Tensor]:
    """Best poses around `start`, by local correlation at the best position of each candidate.

    Orientations and depths are drawn from a low-discrepancy sequence; every candidate is rendered once in a
    field of view wider than the X-ray, and its correlation with the X-ray for all in-plane shifts is one
    product of Fourier transforms (masked normalised correlation, Padfield, IEEE TIP 2012, with one mask).
    Further X-rays show how deep in the first one the patient lies: each candidate is slid along the first
    X-ray's ray to where the others correlate best, which takes one rendering in each of them.

    Args:
        views: the X-rays; poses are those of the first one's camera.
        start: initial camera_from_world [4, 4], float64.
        config: reach and effort.

    Returns:
        (poses [K, 4, 4], correlation [K], its mean over the X-rays), best first, K <= config.keep.

    Raises:
        UsageError: no candidates.
    """
    if config.candidates < 1:
        raise UsageError("a search needs at least one candidate", code="registration.invalid-value")
    target = features(views[0].fixed[None], views[0].weight, config)[0]
    isocentre = views[0].projector.isocentre_world
    poses, correlations = [], []
    for tangents in _candidates(config).split(_CHUNK):
        placed, correlation = _slide(views[0], target, se3.perturb(start, tangents, isocentre), config)
        if len(views) > 1:
            placed, further = slide_along_ray(views, placed, config)
            correlation = (correlation + further) / len(views)
        poses.append(placed)
        correlations.append(correlation)
    order = torch.cat(correlations).argsort(descending=True)[: config.keep]
    return torch.cat(poses)[order], torch.cat(correlations)[order]


def _slide(view: SearchView, target: Tensor, poses: Tensor, config: SearchConfig) -> tuple[Tensor, Tensor]:
    """Poses [B, 4, 4] moved in plane to where they correlate best, and that correlation [B]."""
    correlation, (above, beside) = _correlation_by_shift(view, target, poses, config)
    best, place = correlation.flatten(1).max(dim=1)
    row, column = place // correlation.shape[2], place % correlation.shape[2]
    camera, isocentre = view.projector.camera, view.projector.isocentre_world
    return shifted(poses, row - above, column - beside, camera, isocentre), best


def shifted(poses: Tensor, rows: Tensor, columns: Tensor, camera: Camera, isocentre: Tensor) -> Tensor:
    """Poses [B, 4, 4] moved in plane so that the isocentre lies that many rows and columns [B] back [px]."""
    depth = poses[:, 2, :3] @ isocentre + poses[:, 2, 3]
    shift = torch.zeros(len(poses), 6, dtype=torch.float64)
    shift[:, 3] = -columns * depth / camera.fx
    shift[:, 4] = -rows * depth / camera.fy
    return se3.perturb(poses, shift, isocentre)


def slide_along_ray(
    views: Sequence[SearchView], poses: Tensor, config: SearchConfig
) -> tuple[Tensor, Tensor]:
    """Poses [B, 4, 4] moved along the first view's ray to the isocentre, so that the others correlate best.

    Returns:
        (poses, sum of the other views' correlations [B]).
    """
    camera, isocentre = views[0].projector.camera, views[0].projector.isocentre_world
    centre = poses[:, :3, :3] @ isocentre + poses[:, :3, 3]
    per_depth = centre / centre[:, 2:]
    # Half pixels at the isocentre, as far as the margin reaches across the image.
    steps = round(2 * config.margin * max(camera.width, camera.height))
    share = torch.linspace(-1, 1, 2 * steps + 1, dtype=torch.float64)
    depth = share * (steps / 2) * (centre[:, 2:] / abs(camera.fx))
    points = centre[:, None] + depth[..., None] * per_depth[:, None]
    total = torch.zeros_like(depth)
    for view in views[1:]:
        target = features(view.fixed[None], view.weight, config)[0]
        correlation, middle = _correlation_by_shift(view, target, view.view_from_first @ poses, config)
        pixels = view.projector.camera.project(points, view.view_from_first)
        # Where the isocentre would lie seen from there, less where it lies: the shift is its opposite.
        row_column = torch.tensor(middle) - (pixels - pixels[:, steps : steps + 1]).flip(-1)
        total += _sampled(correlation, row_column)
    # Views in about the same direction leave depth open: then less is better.
    place = (total - _DEPTH_PENALTY * share.square()).argmax(dim=1, keepdim=True)
    shift = torch.cat([torch.zeros_like(centre), depth.gather(1, place) * per_depth], dim=1)
    return se3.perturb(poses, shift, isocentre), total.gather(1, place)[:, 0]


def _correlation_by_shift(
    view: SearchView, target: Tensor, poses: Tensor, config: SearchConfig
) -> tuple[Tensor, tuple[int, int]]:
    """Correlation [B, R, C] of an X-ray with poses by (row, column) of shift, and where no shift is."""
    above, beside = (round(size * config.margin) for size in target.shape[1:])
    wide = view.projector.camera.pad(top=above, bottom=above, left=beside, right=beside)
    moving = rendered_features(view, wide, poses, config)
    weight = compared_weight(view.weight, config)
    channels = [
        _sliding_correlation(part, fixed, weight)
        for part, fixed in zip(moving.unbind(1), target, strict=True)
    ]
    return torch.stack(channels).mean(dim=0), (above, beside)


def _sampled(maps: Tensor, row_column: Tensor) -> Tensor:
    """Values [B, K] of maps [B, R, C] at [B, K, 2], bilinear; 0 outside and where the place is NaN."""
    size = row_column.new_tensor(maps.shape[1:])
    # grid_sample: (x, y), pixel centres from -1 to 1 with aligned corners.
    grid = (2 * row_column / (size - 1).clamp(min=1) - 1).flip(-1)
    grid = grid.nan_to_num(nan=2.0).clamp(-2, 2).to(maps)
    return grid_sample(maps[:, None], grid[:, None], align_corners=True)[:, 0, 0]


def _sliding_correlation(moving: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted correlation of `target` [h, w] with every h x w part of `moving` [B, H, W]: all offsets."""
    size = moving.shape[1:]
    offsets = size[0] - target.shape[0] + 1, size[1] - target.shape[1] + 1

    def slide(image: Tensor, template: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(image) * torch.fft.rfft2(template, s=size).conj()
        return torch.fft.irfft2(spectrum, s=size)[:, : offsets[0], : offsets[1]]

    energy = slide(moving.square(), weight) * (weight * target.square()).sum()
    # Where the view is all but empty the correlation is rounding; half a per cent of the largest is empty.
    empty = 0.005 * energy.amax(dim=(1, 2), keepdim=True) + 1e-6
    return slide(moving, weight * target) / energy.clamp(min=empty).sqrt()


def rendered_features(view: SearchView, camera: Camera, poses: Tensor, config: _Compared) -> Tensor:
    """Features [B, C, H, W] of the CT at poses [B, 4, 4], in another camera than the view's."""
    if view.bank is None:
        return _rendered_features(view, camera, poses, config)
    # The CT's resolution stands for the CT and its structures, and with them for what it can speak of.
    key = (camera, poses.numpy().tobytes(), config.image, config.window_px)
    return view.bank.get(view.projector.packed, key, lambda: _rendered_features(view, camera, poses, config))


def _rendered_features(view: SearchView, camera: Camera, poses: Tensor, config: _Compared) -> Tensor:
    images = view.projector.image(poses, camera).cpu()
    if view.coverage is None:
        known = torch.ones(camera.height, camera.width)
    else:
        known = view.coverage.known(camera, poses, COVERAGE_MARGIN_PX)
    # What the CT cannot speak of is zero, the mean of what it can: it neither speaks for a shift nor against.
    return features(images, known, config) * compared_weight(known, config).unsqueeze(-3)


def features(image: Tensor, weight: Tensor, config: _Compared) -> Tensor:
    """Features [B, C, H, W] of images [B, H, W], standardised; 0 at the border of derivatives."""
    if config.image == "intensity":
        return _standardized(image, weight, config)[:, None]
    derivatives = pad(central_differences(image), (1, 1, 1, 1)).unbind(1)
    weight = compared_weight(weight, config)
    return torch.stack([_standardized(part, weight, config) for part in derivatives], dim=1)


def compared_weight(weight: Tensor, config: _Compared) -> Tensor:
    """Weights [..., H, W] of features, from those of pixels: a derivative counts as its least pixel does."""
    return weight if config.image == "intensity" else pad(gradient_weight(weight), (1, 1, 1, 1))


def _standardized(image: Tensor, weight: Tensor, config: _Compared) -> Tensor:
    # Both images are standardised over their own contrast: the search compares pattern, not tone.
    share = weight / weight.sum(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
    mean = (share * image).sum(dim=(1, 2), keepdim=True)
    contrast = (share * (image - mean).square()).sum(dim=(1, 2), keepdim=True).sqrt().clamp(min=1e-6)
    no_change = image.new_zeros(len(image), 0, *image.shape[1:])
    standardized, _ = standardize(
        image / contrast, no_change, weight, radius=config.window_px // 2, floor=0.05
    )
    return standardized


def _candidates(config: SearchConfig) -> Tensor:
    """Tangents [N, 6] that fill the ellipsoid of rotations and the range of depths; the first is zero.

    Halton's sequence fills evenly whatever its length, and is the same every time.
    """
    radial, polar, azimuthal, depth = halton(config.candidates, 4).T
    radius = np.cbrt(radial)
    height = 2 * polar - 1
    around = 2 * np.pi * azimuthal
    equator = np.sqrt(1 - height**2)
    direction = np.stack([equator * np.cos(around), equator * np.sin(around), height], axis=1)
    tangents = np.zeros((config.candidates, 6))
    tangents[:, :3] = radius[:, None] * direction * np.deg2rad(config.rotation_deg)
    tangents[:, 5] = (2 * depth - 1) * config.depth_mm
    tangents[0] = 0
    return torch.from_numpy(tangents)
