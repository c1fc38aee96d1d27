"""A CT made into another patient's: turned, scaled, mirrored, bent, of other bone and fat, cut and blurred.

What is drawn is drawn apart from what is applied, so that a variation can be looked at, kept and repeated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation
from torch.nn.functional import grid_sample

from ..volumes import Volume
from .config import VariationConfig

Floats = NDArray[np.float64]

_AIR_HU = -1000.0
# Between lung and bone: fat is near -100 HU, muscle near 50, lung below -500.
_SOFT_TISSUE_HU = (-400.0, -200.0, 150.0, 250.0)
_BONE_HU = 150.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Variation:
    """What is done to one CT.

    Attributes:
        linear: [3, 3] in the world: a point at x from the isocentre, in the new patient, is what lay at
            `linear` x + `shift_mm` + the deformation's displacement in the old one.
        shift_mm: [3].
        bend_mm: displacements [a, b, c, 3] of control points that span the grid, of a cubic B-spline.
        bone: factor on what voxels have above 150 HU.
        soft_tissue_hu: added to soft tissue [HU].
        blur_axis: of the grid.
        blur_mm: standard deviation [mm].
        cut: [3, 2] shares of the grid cut off at the beginning and the end of each axis.
    """

    linear: Floats
    shift_mm: Floats
    bend_mm: Floats
    bone: float
    soft_tissue_hu: float
    blur_axis: int
    blur_mm: float
    cut: Floats


def draw_variation(config: VariationConfig, volume: Volume, generator: np.random.Generator) -> Variation:
    """Draw what to do to a CT; its grid says how many control points the deformation has."""
    axis = generator.normal(size=3)
    turn = math.radians(generator.uniform(0, config.turn_deg)) * axis / np.linalg.norm(axis)
    rotation, tumbled = Rotation.from_rotvec(turn), Rotation.random(random_state=generator)
    if generator.random() < config.tumble_probability:
        rotation = tumbled
    factors = generator.uniform(*config.scale) * generator.uniform(*config.stretch, size=3)
    if generator.random() < config.mirror_probability:
        factors[0] *= -1
    extent_mm = np.array(volume.shape) * volume.spacing_mm
    points = np.ceil(extent_mm / config.bend_spacing_mm).astype(int) + _DEGREE
    cuts = generator.random((3, 2)) < config.cut_probability
    return Variation(
        linear=rotation.as_matrix() / factors,
        shift_mm=generator.uniform(-config.shift_mm, config.shift_mm, size=3),
        bend_mm=config.bend_mm * generator.normal(size=(*points, 3)),
        bone=float(generator.uniform(*config.bone)),
        soft_tissue_hu=float(generator.uniform(*config.soft_tissue_hu)),
        blur_axis=int(generator.integers(3)),
        blur_mm=float(generator.uniform(0, config.blur_mm)),
        cut=np.where(cuts, generator.uniform(0, config.cut, size=(3, 2)), 0.0),
    )


def vary(volume: Volume, variation: Variation) -> Volume:
    """The CT as the variation makes it, on the same grid and without labels; beyond its rim there is air."""
    hu = _resampled(volume, variation)
    low, mid_low, mid_high, high = _SOFT_TISSUE_HU
    soft = np.interp(hu, (low, mid_low, mid_high, high), (0.0, 1.0, 1.0, 0.0))
    hu = hu + (variation.bone - 1) * np.maximum(hu - _BONE_HU, 0) + variation.soft_tissue_hu * soft
    deviation = variation.blur_mm / volume.spacing_mm[variation.blur_axis]
    if deviation > 0:
        hu = gaussian_filter1d(hu, deviation, axis=variation.blur_axis, mode="nearest")
    for axis, (before, after) in enumerate(variation.cut):
        length = hu.shape[axis]
        along = np.moveaxis(hu, axis, 0)
        along[: round(before * length)] = _AIR_HU
        along[length - round(after * length) :] = _AIR_HU
    return replace(volume, hu=hu.astype(np.float32), labels=None, label_names={})


def draw_short(config: VariationConfig, generator: np.random.Generator) -> tuple[float, float]:
    """Draw the shares of its grid that a CT lacks at the two ends of the patient's long axis."""
    lacks = generator.uniform(*config.short, size=2)
    # The one end, the other or both.
    which = generator.integers(1, 4)
    if generator.random() >= config.short_probability:
        return 0.0, 0.0
    return float(lacks[0] * (which & 1)), float(lacks[1] * (which >> 1))


def cut_short(volume: Volume, short: tuple[float, float]) -> Volume:
    """The CT with air in the place of these shares at the ends of its grid, along the patient's long axis.

    The grid remains, so that poses turn about the same point.
    """
    axis = int(np.abs(volume.world_from_voxel[2, :3] / volume.spacing_mm).argmax())
    hu = volume.hu.copy()
    along, length = np.moveaxis(hu, axis, 0), volume.shape[axis]
    along[: round(short[0] * length)] = _AIR_HU
    along[length - round(short[1] * length) :] = _AIR_HU
    return replace(volume, hu=hu)


_DEGREE = 3


def _resampled(volume: Volume, variation: Variation) -> NDArray[np.float32]:
    """Hounsfield units [nx, ny, nz] where the variation has them from."""
    to_world, centre = volume.world_from_voxel[:3, :3], (np.array(volume.shape) - 1) / 2
    to_voxel = np.linalg.inv(to_world)
    linear = to_voxel @ variation.linear @ to_world
    i, j, k = (np.arange(n) - (n - 1) / 2 for n in volume.shape)
    bases = [_spline_basis(n, m) for n, m in zip(volume.shape, variation.bend_mm.shape[:3], strict=True)]
    bend = np.einsum("xa,yb,zc,abcd->xyzd", *bases, variation.bend_mm @ to_voxel.T, optimize=True)
    source = bend + (centre + to_voxel @ variation.shift_mm)
    for axis, offsets in enumerate((i, j, k)):
        source += offsets.reshape([-1 if a == axis else 1 for a in range(3)] + [1]) * linear[:, axis]
    # grid_sample: the last axis first, -1 to 1 from the first voxel's centre to the last one's.
    grid = torch.from_numpy((2 * source / np.maximum(2 * centre, 1) - 1)[..., ::-1].astype(np.float32))
    above_air = torch.from_numpy(volume.hu.astype(np.float32) - np.float32(_AIR_HU))
    sampled = grid_sample(above_air[None, None], grid[None], align_corners=True)[0, 0]
    result: NDArray[np.float32] = sampled.numpy() + np.float32(_AIR_HU)
    return result


def _spline_basis(samples: int, points: int) -> Floats:
    """[samples, points], uniform cubic B-splines whose knots span the samples."""
    pieces = points - _DEGREE
    knots = np.arange(-_DEGREE, pieces + _DEGREE + 1, dtype=np.float64)
    places = np.linspace(0, pieces, samples)
    basis: Floats = BSpline.design_matrix(places, knots, _DEGREE).toarray()
    return basis
