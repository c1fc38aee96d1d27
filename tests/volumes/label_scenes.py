"""A CT and structures that are known everywhere in the world, for label maps on any grid."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.spatial.transform import Rotation

SHAPE = (30, 24, 20)
SPACING_MM = np.array([1.5, 2.0, 2.5])
# Two ellipsoids off the middle, none of them symmetric to the grid: centre and half axes [mm], RAS.
STRUCTURES = {
    1: (np.array([-8.0, 6.0, 4.0]), np.array([9.0, 7.0, 11.0])),
    2: (np.array([11.0, -9.0, -6.0]), np.array([6.0, 8.0, 9.0])),
}


def centred_affine(
    shape: tuple[int, ...], spacing_mm: np.ndarray, rotation: np.ndarray | None = None
) -> np.ndarray:
    """world_from_voxel [4, 4] of a grid whose centre is the world's origin."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if rotation is None else rotation) * spacing_mm
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine


AFFINE = centred_affine(SHAPE, SPACING_MM)
# Turned by 20 degrees about no axis of the grid.
TURN = Rotation.from_rotvec(np.radians(20) * np.array([0.6, -0.48, 0.64])).as_matrix()


def radii(shape: tuple[int, ...], affine: np.ndarray) -> dict[int, np.ndarray]:
    """At every voxel centre, by structure: below 1 inside of it."""
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], np.indices(shape)) + affine[:3, 3][:, None, None, None]
    return {
        label: np.sqrt((((world - centre[:, None, None, None]) / axes[:, None, None, None]) ** 2).sum(axis=0))
        for label, (centre, axes) in STRUCTURES.items()
    }


def labels_on(shape: tuple[int, ...], affine: np.ndarray) -> np.ndarray:
    """The structures on a grid, uint8."""
    labels = np.zeros(shape, dtype=np.uint8)
    for label, radius in radii(shape, affine).items():
        labels[radius < 1] = label
    return labels


LABELS = labels_on(SHAPE, AFFINE)


def nifti(path: Path, values: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.save(nib.Nifti1Image(values, affine), path)
    return path


def ct(folder: Path) -> Path:
    hu = np.random.default_rng(0).integers(-1000, 1500, SHAPE).astype(np.int16)
    return nifti(folder / "ct.nii", hu)
