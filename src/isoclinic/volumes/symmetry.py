"""Parts that are their own mirror image, such as many implants.

An X-ray hardly tells two poses of such a part apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt, map_coordinates

from .extent import tissue_mask
from .volume import Structures, Volume

# Mean distance of mirrored surface points from the surface, as a share of the part's root mean square radius,
# below which a part is its own mirror image. Symmetric implants measure 0.0002, bones 0.02 and more. To that
# comes a share of a voxel, by which surfaces on a grid are rough.
_SYMMETRIC = 0.01
_ROUGH = 0.3
# A principal plane that is farther off than this does not come close by turning it a little.
_PROMISING = 0.06
_POINTS = 1500
# Voxels per axis, at most, of the grid on which distances from the surface are known.
_GRID = 128
_FAR = 0.2  # Distances count up to this share of the radius.

_planes: WeakKeyDictionary[Volume, dict[tuple[int | str, ...] | None, MirrorPlane | None]] = (
    WeakKeyDictionary()
)


@dataclass(frozen=True, kw_only=True)
class MirrorPlane:
    """A plane in which a part is mirrored into itself.

    Attributes:
        point_world: a point of the plane [3] [mm].
        normal_world: its unit normal [3].
    """

    point_world: NDArray[np.float64]
    normal_world: NDArray[np.float64]

    @property
    def reflection(self) -> NDArray[np.float64]:
        """[4, 4], float64: mirrors world points [mm]."""
        normal = self.normal_world
        found = np.eye(4)
        found[:3, :3] -= 2 * np.outer(normal, normal)
        found[:3, 3] = 2 * normal * (normal @ self.point_world)
        return found


def mirror_plane(volume: Volume, structures: Structures | None = None) -> MirrorPlane | None:
    """The plane in which a part is its own mirror image; None where there is none. Kept while it lives.

    Planes near those of the principal axes of the part's surface are tried, and turned and moved to where
    mirrored points of the surface lie nearest to it.

    Args:
        volume: the CT of the part.
        structures: labels or names of those that are registered alone; all tissue when None.

    Raises:
        UsageError: as for `Volume.structure_mask`.
    """
    kept = _planes.setdefault(volume, {})
    key = None if structures is None else tuple(structures)
    if key not in kept:
        kept[key] = _mirror_plane(volume, structures)
    return kept[key]


def _mirror_plane(volume: Volume, structures: Structures | None) -> MirrorPlane | None:
    step = -(-max(volume.shape) // _GRID)
    mask = tissue_mask(volume, structures)[::step, ::step, ::step]
    surface = mask & ~binary_erosion(mask)
    index = np.argwhere(surface)
    if len(index) < _POINTS // 10:
        return None
    generator = np.random.default_rng(0)
    index = index[generator.choice(len(index), min(_POINTS, len(index)), replace=False)]
    axes, spacing_mm = volume.world_from_voxel[:3, :3] * step, volume.spacing_mm * step
    # Offsets from the first voxel, along the world's axes; a border keeps mirrored points on the grid.
    points = index @ axes.T
    centre = points.mean(axis=0)
    radius = float(np.sqrt(np.square(points - centre).sum(axis=1).mean()))
    border = [(int(np.ceil(0.5 * radius / mm)),) * 2 for mm in spacing_mm]
    distance_mm = distance_transform_edt(~np.pad(surface, border), sampling=spacing_mm)
    voxel_from_offset, first = np.linalg.inv(axes), np.array(border)[:, :1]

    def off(normal: NDArray[np.float64], shift_mm: float) -> float:
        normal = normal / np.linalg.norm(normal)
        mirrored = points - 2 * np.outer((points - centre) @ normal - shift_mm, normal)
        places = voxel_from_offset @ mirrored.T + first
        found = map_coordinates(distance_mm, places, order=1, mode="nearest")
        return float(np.minimum(found, _FAR * radius).mean()) / radius

    principal = np.linalg.svd(points - centre, full_matrices=False)[2]
    best: tuple[float, NDArray[np.float64], float] | None = None
    for turn in range(3):
        normal, second, third = np.roll(principal, -turn, axis=0)
        if off(normal, 0.0) > _PROMISING:
            continue
        from scipy.optimize import minimize  # it takes long to import

        found = minimize(
            lambda p: off(normal + p[0] * second + p[1] * third, p[2] * radius),  # noqa: B023
            np.zeros(3),
            method="Nelder-Mead",
            options={"initial_simplex": np.vstack([np.zeros(3), 0.1 * np.eye(3)]), "maxiter": 120},
        )
        if best is None or found.fun < best[0]:
            a, b, shift = found.x
            best = float(found.fun), normal + a * second + b * third, float(shift) * radius
    if best is None or best[0] > _SYMMETRIC + _ROUGH * float(spacing_mm.max()) / radius:
        return None
    normal = best[1] / np.linalg.norm(best[1])
    point = volume.world_from_voxel[:3, 3] + centre + best[2] * normal
    return MirrorPlane(point_world=point, normal_world=normal)
