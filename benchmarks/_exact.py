"""Exact line integrals in float64: the truth that every renderer's image is compared with.

Written to be obviously right and independent of the package's kernels, not for speed: each ray is cut at
all the voxel planes it crosses and the pieces are summed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_RAYS_AT_ONCE = 128
# Two-point Gauss-Legendre: exact for cubics, and trilinear interpolation is cubic along a ray within a cell.
_GAUSS_OFFSET = 0.5 / np.sqrt(3.0)


class ExactIntegrals:
    """Line integrals through one volume.

    Args:
        mu: attenuation [nx, ny, nz] [1/mm]; zero outside.
        world_from_voxel: affine [4, 4]; voxel centres at integers.
    """

    def __init__(self, mu: NDArray[np.float32], world_from_voxel: NDArray[np.float64]) -> None:
        self._padded = np.pad(mu, 1)
        voxel_from_world = np.linalg.inv(world_from_voxel)
        voxel_from_world[:3, 3] += 1  # the padding
        self._linear, self._offset = voxel_from_world[:3, :3], voxel_from_world[:3, 3]

    def piecewise_constant(
        self, source_world: NDArray[np.float64], targets_world: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Integrals [N] from a source [3] to targets [N, 3] [mm] where every voxel is a homogeneous box."""
        return self._in_chunks(source_world, targets_world, self._boxes)

    def trilinear(
        self, source_world: NDArray[np.float64], targets_world: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """As `piecewise_constant`, of the trilinear interpolation between voxel centres, zero outside."""
        return self._in_chunks(source_world, targets_world, self._interpolated)

    def _in_chunks(
        self, source_world: Floats, targets_world: Floats, integrate: Callable[[Floats, Floats], Floats]
    ) -> Floats:
        source = self._linear @ source_world + self._offset
        result = np.empty(len(targets_world))
        for start in range(0, len(targets_world), _RAYS_AT_ONCE):
            rows = slice(start, start + _RAYS_AT_ONCE)
            rays_mm = targets_world[rows] - source_world
            length_mm = np.linalg.norm(rays_mm, axis=1)
            result[rows] = length_mm * integrate(source, rays_mm @ self._linear.T)
        return result

    def _boxes(self, source: Floats, directions: Floats) -> Floats:
        start, extent = self._pieces(source, directions, first_plane=0.5)
        index = np.rint(_along(source, directions, start + extent / 2)).astype(np.intp)
        return (self._values(index) * extent).sum(axis=1)

    def _interpolated(self, source: Floats, directions: Floats) -> Floats:
        start, extent = self._pieces(source, directions, first_plane=0.0)
        total = np.zeros(len(directions))
        for offset in (0.5 - _GAUSS_OFFSET, 0.5 + _GAUSS_OFFSET):
            point = _along(source, directions, start + offset * extent)
            cell = np.floor(point).astype(np.intp)
            fraction = point - cell
            for corner in np.ndindex(2, 2, 2):
                weight = np.where(np.array(corner) == 1, fraction, 1 - fraction).prod(axis=-1)
                total += (self._values(cell + corner) * weight * extent / 2).sum(axis=1)
        return total

    def _pieces(self, source: Floats, directions: Floats, *, first_plane: float) -> tuple[Floats, Floats]:
        """Start and extent [N, P], in fractions of the ray, of its pieces between planes one voxel apart."""
        cuts = []
        for axis, count in enumerate(self._padded.shape):
            planes = np.arange(count) + first_plane
            with np.errstate(divide="ignore", invalid="ignore"):
                cut = (planes - source[axis]) / directions[:, axis, None]
            cuts.append(np.where(np.isfinite(cut), cut, 0.0))
        ends = np.sort(np.clip(np.concatenate(cuts, axis=1), 0.0, 1.0), axis=1)
        return ends[:, :-1], np.diff(ends, axis=1)

    def _values(self, index: NDArray[Any]) -> Floats:
        inside = np.all((index >= 0) & (index < self._padded.shape), axis=-1)
        return np.where(
            inside, self._padded[tuple(np.moveaxis(np.where(inside[..., None], index, 0), -1, 0))], 0.0
        )


def _along(source: Floats, directions: Floats, fraction: Floats) -> Floats:
    point: Floats = source + fraction[..., None] * directions[:, None, :]
    return point
