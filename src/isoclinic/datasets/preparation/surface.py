"""Surfaces of vertebrae: HU threshold, morphological refinement, marching cubes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.gifti.gifti import GiftiDataArray, GiftiImage
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import marching_cubes

from ..._files import atomic
from ...errors import InputError
from ...volumes import Volume
from .config import SurfaceConfig
from .vertebrae import Array, crop_around, to_world

# How far HU beside the threshold count [HU]: where the mask decides, the surface runs midway between voxels.
_WINDOW_HU = 150.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """Triangles around vertebrae.

    Attributes:
        vertices_world: [V, 3], float64, RAS mm.
        triangles: numbers of vertices [T, 3], counter-clockwise seen from outside.
        labels: the vertebra of each vertex [V], CTSpine1K's number.
    """

    vertices_world: Array
    triangles: NDArray[np.int32]
    labels: NDArray[np.uint8]

    def vertices_of(self, label: int) -> Array:
        """Vertices [N, 3] of one vertebra, world [mm]."""
        return self.vertices_world[self.labels == label]

    def write(self, path: Path) -> None:
        """Write as GIFTI (.surf.gii), RAS mm, the vertebra of each vertex as its label.

        Raises:
            InputError: the file cannot be written.
        """
        arrays = (
            (self.vertices_world.astype(np.float32), "NIFTI_INTENT_POINTSET"),
            (self.triangles, "NIFTI_INTENT_TRIANGLE"),
            (self.labels.astype(np.int32), "NIFTI_INTENT_LABEL"),
        )
        image = GiftiImage(darrays=[GiftiDataArray(array, intent=intent) for array, intent in arrays])
        with atomic(path) as temporary:
            nib.save(image, temporary)


def surface_of(volume: Volume, labels: list[int], config: SurfaceConfig) -> Surface:
    """The surface of some vertebrae of a CT.

    Within its mask widened by `rim_mm`, a vertebra is what lies above the threshold and the core of its mask,
    closed, filled, in one piece. Its surface is where HU cross the threshold (marching cubes, Lorensen &
    Cline 1987), and where the mask ends between bone and bone.

    Raises:
        InputError: a vertebra without bone.
    """
    vertices, triangles, numbers = [], [], []
    count = 0
    for label in labels:
        points, faces = _vertebra(volume, label, config)
        vertices.append(points)
        triangles.append(faces + count)
        numbers.append(np.full(len(points), label, np.uint8))
        count += len(points)
    return Surface(
        vertices_world=np.concatenate(vertices),
        triangles=np.concatenate(triangles).astype(np.int32),
        labels=np.concatenate(numbers),
    )


def _vertebra(volume: Volume, label: int, config: SurfaceConfig) -> tuple[Array, NDArray[np.int32]]:
    """Vertices [V, 3] in the world [mm] and triangles [T, 3]."""
    spacing_mm = volume.spacing_mm
    reach_mm = config.rim_mm + config.closing_mm + 2 * float(spacing_mm.max())
    box = crop_around(volume, [label], reach_mm)
    assert box.labels is not None
    bone = _refined(box.hu, box.labels, label, spacing_mm, config)
    if not bone.any():
        raise InputError(
            f"{volume.path}: label {label} has no bone above {config.threshold_hu:g} HU",
            code="preparation.no-bone",
        )
    relative = np.clip(box.hu - config.threshold_hu, -_WINDOW_HU, _WINDOW_HU)
    field = np.where(bone == (relative > 0), relative, np.where(bone, _WINDOW_HU, -_WINDOW_HU))
    points, faces, _, _ = marching_cubes(np.pad(field, 1, constant_values=-_WINDOW_HU), 0.0)
    if np.linalg.det(box.world_from_voxel[:3, :3]) > 0:  # clockwise in the axes of the array
        faces = faces[:, ::-1]
    return to_world(box, points.astype(np.float64) - 1), faces


def _refined(
    hu: NDArray[Any],
    labels: NDArray[Any],
    label: int,
    spacing_mm: Array,
    config: SurfaceConfig,
) -> NDArray[np.bool_]:
    """The voxels of a vertebra."""
    mask = labels == label
    outside_mm = ndimage.distance_transform_edt(~mask, spacing_mm)
    core = ndimage.distance_transform_edt(mask, spacing_mm) > config.rim_mm + spacing_mm.max()
    allowed = (outside_mm <= config.rim_mm) & ((labels == label) | (labels == 0))
    bone = core | (allowed & (hu > config.threshold_hu))
    gap_mm = ndimage.distance_transform_edt(~bone, spacing_mm)
    widened = gap_mm <= config.closing_mm
    closed = bone | (ndimage.distance_transform_edt(widened, spacing_mm) > config.closing_mm)
    filled = ndimage.binary_fill_holes(closed & (allowed | bone))
    pieces, count = ndimage.label(filled)
    if count > 1:
        filled = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
    return filled
