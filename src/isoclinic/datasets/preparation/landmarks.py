"""Landmarks of vertebrae, found without anybody marking them.

Each vertebra has axes of its own. Superior is the direction from the centroid of the next vertebra below to
that of the next one above, or of the vertebra itself at the ends of the lumbar spine; right is the patient's
right, made perpendicular to it; anterior is perpendicular to both. (Principal axes would not do: a lumbar
vertebra is about as long as it is wide.) They depend on the patient and the mask, not on the voxel grid.

- `centroid`: of the mask.
- `superior`, `inferior`, `anterior`: the middle of the end plates and of the front wall. The body is the part
  of the vertebra in front of the centroid; from the middle of it, along the axis, the point as far out as the
  surface is on average within `radius_mm` of the axis.
- `left`, `right`, `posterior`: the tips of the transverse processes and of the spinous process: of the part
  behind the centroid, the point farthest out; at the middle of the surface within `tip_radius_mm` of it and
  `tip_mm` of the plane there.

Means over a piece of the surface instead of single vertices keep a landmark in its place where the CT is
sampled otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...errors import InputError
from ...volumes import Volume
from .config import LandmarkConfig
from .originals import VERTEBRAE
from .surface import Surface
from .vertebrae import Array, voxels_world

# After as many, the middle of a tip has come to rest (Comaniciu & Meer 2002, IEEE TPAMI 24(5):603).
_MEAN_SHIFTS = 10


def find_landmarks(
    volume: Volume, surface: Surface, labels: list[int], config: LandmarkConfig
) -> Mapping[str, Array]:
    """Points [3] in the world [mm] by name, such as "L3/centroid", of vertebrae from the top to the bottom.

    Raises:
        InputError: a vertebra whose surface lies nowhere near one of its axes.
    """
    voxels = [voxels_world(volume, label) for label in labels]
    centres = [each.mean(axis=0) for each in voxels]
    found: dict[str, Array] = {}
    for index, label in enumerate(labels):
        above, below = centres[max(index - 1, 0)], centres[min(index + 1, len(labels) - 1)]
        axes = _axes(above - below)
        name, vertices, centre = VERTEBRAE[label], surface.vertices_of(label), centres[index]
        front = voxels[index][(voxels[index] - centre) @ axes["anterior"] > 0].mean(axis=0)
        found[f"{name}/centroid"] = centre
        for side in ("superior", "inferior", "anterior"):
            found[f"{name}/{side}"] = _on_axis(vertices, front, axes[side], config, f"{name}/{side}")
        arch = vertices[(vertices - centre) @ axes["posterior"] > 0]
        for side in ("left", "right", "posterior"):
            found[f"{name}/{side}"] = _tip(arch, axes[side], config)
    return found


def _axes(upwards: Array) -> dict[str, Array]:
    """Unit vectors [3] in the world by the side they point to; RAS."""
    superior = _unit(upwards) if upwards.any() else np.array([0.0, 0.0, 1.0])
    patient_right = np.array([1.0, 0.0, 0.0])
    right = _unit(patient_right - (patient_right @ superior) * superior)
    anterior = np.cross(superior, right)
    return {
        "superior": superior,
        "inferior": -superior,
        "right": right,
        "left": -right,
        "anterior": anterior,
        "posterior": -anterior,
    }


def _on_axis(vertices: Array, start: Array, axis: Array, config: LandmarkConfig, name: str) -> Array:
    """The point on an axis from `start` as far out as the surface around it."""
    offsets = vertices - start
    along = offsets @ axis
    beside = np.linalg.norm(offsets - along[:, None] * axis, axis=1)
    near = (beside <= config.radius_mm) & (along > 0)
    if not near.any():
        raise InputError(
            f"no surface within {config.radius_mm:g} mm of the axis of {name}; raise radius_mm",
            code="preparation.no-surface",
        )
    return start + along[near].mean() * axis


def _tip(vertices: Array, axis: Array, config: LandmarkConfig) -> Array:
    """The middle of the surface around the point farthest out along an axis, moved out to the plane there."""
    along = vertices @ axis
    top = vertices[along >= along.max() - config.tip_mm]
    middle = vertices[along.argmax()]
    for _ in range(_MEAN_SHIFTS):
        middle = top[np.linalg.norm(top - middle, axis=1) <= config.tip_radius_mm].mean(axis=0)
    return middle + (along.max() - middle @ axis) * axis


def _unit(vector: Array) -> Array:
    return vector / np.linalg.norm(vector)
