"""Search without a start: the C-arm anywhere around the patient, the picture turned in any way."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize

from ..geometry import Camera, se3
from ._search import (
    SearchView,
    compared_weight,
    features,
    rendered_features,
    shifted,
    slide_along_ray,
)
from .search_config import AnyViewConfig, SearchConfig

# Where there are further X-rays, so many times those that are kept are compared with them.
_OF_SEVERAL = 8
# Directions that are rendered and correlated at once: bounds memory.
_CHUNK = 64


def any_view(
    views: Sequence[Sequence[SearchView]], distance_mm: float, config: AnyViewConfig
) -> list[tuple[Tensor, Tensor]]:
    """Best poses over all directions, turns and places of X-rays, which may be read in several ways.

    Every direction is rendered once, head up. The first X-ray is turned instead, in each of its readings,
    and correlated with the rendering over all shifts as by `search`; further X-rays show the depth, as there.

    Args:
        views: the X-rays, for each reading of them.
        distance_mm: distance from the source to the CT's middle.
        config: reach and effort.

    Returns:
        For each reading (poses [K, 4, 4], correlation [K]), best first, K <= config.keep.
    """
    firsts = [each[0] for each in views]
    projector = firsts[0].projector
    isocentre = projector.isocentre_world
    camera = _canvas(projector.camera)
    targets = [[_Target.of(view, camera, turn, config) for turn in turns(config)] for view in firsts]
    margin = round(config.margin * max(projector.camera.height, projector.camera.width))
    wide = camera.pad(top=margin, bottom=margin, left=margin, right=margin)
    poses = looking_along(directions(config), isocentre, distance_mm)
    found: list[list[tuple[Tensor, Tensor]]] = [[] for _ in firsts]
    for some in poses.split(_CHUNK):
        spectra = _Spectra.of(firsts[0], wide, some, camera.height, config)
        for each, own in zip(targets, found, strict=True):
            for target in each:
                best, row, column = spectra.best(target)
                placed = shifted(some, row - margin, column - margin, camera, isocentre)
                own.append((target.camera_from_canvas @ placed, best))
    return [_best(read, own, config) for read, own in zip(views, found, strict=True)]


def _best(
    views: Sequence[SearchView], found: Sequence[tuple[Tensor, Tensor]], config: AnyViewConfig
) -> tuple[Tensor, Tensor]:
    poses, correlation = (torch.cat(part) for part in zip(*found, strict=True))
    several = len(views) > 1
    order = correlation.argsort(descending=True)[: (_OF_SEVERAL if several else 1) * config.keep]
    poses, correlation = poses[order], correlation[order]
    if several:
        settings = SearchConfig(image=config.image, window_px=config.window_px, margin=config.margin)
        poses, further = slide_along_ray(views, poses, settings)
        correlation = (correlation + further) / len(views)
        order = correlation.argsort(descending=True)[: config.keep]
        poses, correlation = poses[order], correlation[order]
    return poses, correlation


def _canvas(camera: Camera) -> Camera:
    """A square camera around the same central ray that holds the image however that is turned."""
    focal = math.sqrt(abs(camera.fx * camera.fy))
    corners = torch.tensor(
        [[u, v] for u in (-0.5, camera.width - 0.5) for v in (-0.5, camera.height - 0.5)], dtype=torch.float64
    )
    ray = (corners - corners.new_tensor([camera.cx, camera.cy])) / corners.new_tensor([camera.fx, camera.fy])
    size = math.ceil(2 * focal * float(ray.norm(dim=1).max()))
    centre = (size - 1) / 2
    return Camera(width=size, height=size, fx=focal, fy=focal, cx=centre, cy=centre, sdd_mm=camera.sdd_mm)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Target:
    """A turned picture, ready to be correlated.

    Attributes:
        picture: weighted features [C, S, S].
        weight: [S, S].
        energy: sum of their squares.
        camera_from_canvas: [4, 4], the turn.
    """

    picture: Tensor
    weight: Tensor
    energy: float
    camera_from_canvas: Tensor

    @classmethod
    def of(cls, view: SearchView, canvas: Camera, turn: Tensor, config: AnyViewConfig) -> _Target:
        """The picture in the frame of a camera that is turned by an angle [rad] about the central ray."""
        camera_from_canvas = se3.exp(torch.stack([*turn.new_zeros(2), turn, *turn.new_zeros(3)]))
        rays = canvas.rays() @ camera_from_canvas[:3, :3].mT
        camera = view.projector.camera
        u, v = (
            camera.fx * rays[..., 0] / rays[..., 2] + camera.cx,
            camera.fy * rays[..., 1] / rays[..., 2] + camera.cy,
        )
        grid = torch.stack([2 * (u + 0.5) / camera.width - 1, 2 * (v + 0.5) / camera.height - 1], dim=-1).to(
            view.fixed
        )
        # Pixels beyond the image show its border, which is not compared.
        image = grid_sample(view.fixed[None, None], grid[None], align_corners=False, padding_mode="border")
        weight = grid_sample(view.weight[None, None], grid[None], align_corners=False)[0, 0]
        weight = torch.where(weight > 0.99, weight, torch.zeros_like(weight))
        picture = features(image[0], weight, config)[0]
        weight = compared_weight(weight, config)
        return cls(
            picture=picture * weight,
            weight=weight,
            energy=float((picture.square() * weight).sum()),
            camera_from_canvas=camera_from_canvas,
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Spectra:
    """Fourier transforms of renderings, whose parts of a size are correlated with pictures.

    Attributes:
        values: the renderings' features [B, C, R, R'].
        squares: transforms of the features' squares, added up [B, R, R'].
        size: side of the transforms: that of the renderings, and some more to make them fast.
        offsets: number of shifts along each side.
    """

    values: Tensor
    squares: Tensor
    size: tuple[int, int]
    offsets: int

    @classmethod
    def of(cls, view: SearchView, wide: Camera, poses: Tensor, side: int, config: AnyViewConfig) -> _Spectra:
        """Features of the CT at poses [B, 4, 4], in pictures that are `side` pixels wide and high."""
        from scipy.fft import next_fast_len  # it takes long to import

        moving = rendered_features(view, wide, poses, config)
        size = (next_fast_len(wide.height, real=True), next_fast_len(wide.width, real=True))
        return cls(
            values=torch.fft.rfft2(moving, s=size),
            squares=torch.fft.rfft2(moving.square().sum(dim=1), s=size),
            size=size,
            offsets=wide.height - side + 1,
        )

    def best(self, target: _Target) -> tuple[Tensor, Tensor, Tensor]:
        """The largest correlation [B] of a picture, and the row and column of the shift [B] where it is.

        All features count as one vector, so that one transform back does for them all.
        """

        def transformed(template: Tensor) -> Tensor:
            return torch.fft.rfft2(template, s=self.size).conj()

        def at_shifts(product: Tensor) -> Tensor:
            return torch.fft.irfft2(product, s=self.size)[..., : self.offsets, : self.offsets]

        energy = at_shifts(self.squares * transformed(target.weight)) * target.energy
        empty = 0.005 * energy.amax(dim=(-2, -1), keepdim=True) + 1e-6
        products = at_shifts((self.values * transformed(target.picture)).sum(dim=1))
        correlation = products / energy.clamp(min=empty).sqrt()
        best, place = correlation.flatten(1).max(dim=1)
        return best, place // self.offsets, place % self.offsets


def directions(config: AnyViewConfig) -> Tensor:
    """Unit vectors [N, 3], spread evenly over the sphere within the elevation: a Fibonacci lattice."""
    top = math.sin(math.radians(config.elevation_deg))
    index = torch.arange(config.directions, dtype=torch.float64)
    height = top * (1 - (2 * index + 1) / config.directions)
    around = index * math.pi * (3 - math.sqrt(5))
    level = (1 - height.square()).sqrt()
    return torch.stack([level * around.cos(), level * around.sin(), height], dim=1)


def turns(config: AnyViewConfig) -> Tensor:
    """Angles [T] by which the picture is turned [rad]."""
    return torch.arange(config.turns, dtype=torch.float64) * (2 * math.pi / config.turns)


def looking_along(beams: Tensor, isocentre: Tensor, distance_mm: float) -> Tensor:
    """camera_from_world [N, 4, 4] with the beam along `beams` [N, 3] through the isocentre, head up."""
    up = beams.new_tensor([0.0, 0.0, 1.0]).expand_as(beams)
    right = normalize(torch.linalg.cross(beams, up), dim=1)
    down = torch.linalg.cross(beams, right)
    rotation = torch.stack([right, down, beams], dim=1)
    translation = -(rotation @ isocentre)
    translation[:, 2] += distance_mm
    return se3.rigid(rotation, translation)
