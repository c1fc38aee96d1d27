"""Silhouettes against the projected corners of a box."""

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from isoclinic.errors import UsageError
from isoclinic.rendering import structure_outline
from isoclinic.volumes import Volume
from phantoms import CAMERA, true_pose
from raising import raises

SPACING_MM = np.array([2.0, 3.0, 2.5])
LOWER, UPPER = np.array([8, 5, 12]), np.array([30, 15, 24])


def _volume() -> Volume:
    labels = np.zeros((40, 24, 40), np.uint8)
    labels[tuple(map(slice, LOWER, UPPER))] = 3
    labels[32:36, :4, :4] = 5
    hu = np.random.default_rng(0).integers(-1000, 1000, labels.shape).astype(np.int16)
    affine = np.diag([*(SPACING_MM * [-1, 1, 1]), 1.0])
    return Volume(hu=hu, world_from_voxel=affine).with_labels(labels, {3: "box", 5: "other"})


def _pixels(volume: Volume, corners: np.ndarray, pose: torch.Tensor) -> np.ndarray:
    affine = volume.world_from_voxel
    return CAMERA.project(torch.from_numpy(corners @ affine[:3, :3].T + affine[:3, 3]), pose).numpy()


@pytest.mark.parametrize("structure", ["box", 3, ("box",)])
def test_silhouette_of_a_box_is_the_hull_of_its_corners(structure):
    volume = _volume()
    pose = true_pose(volume, (0.3, -0.4, 0.2, 5.0, -7.0, 10.0))
    corners = np.stack(np.meshgrid(*zip(LOWER - 0.5, UPPER - 0.5, strict=True)), axis=-1).reshape(-1, 3)
    v, u = np.mgrid[: CAMERA.height, : CAMERA.width]
    hull = Delaunay(_pixels(volume, corners, pose)).find_simplex(np.stack([u, v], -1)) >= 0
    outline = structure_outline(volume, structure, CAMERA, pose)
    assert outline.dtype == bool and outline.shape == (128, 128)
    assert hull.sum() > 500
    assert not (outline & ~hull).any()
    # Rays that cut less than half a voxel off an edge: half a pixel or so along the outline.
    assert (hull & ~outline).sum() < 0.06 * hull.sum()


def test_several_structures_together():
    volume = _volume()
    pose = true_pose(volume, (0.3, -0.4, 0.2, 5.0, -7.0, 10.0))
    both, box, other = (structure_outline(volume, s, CAMERA, pose) for s in ((3, 5), 3, 5))
    assert other.any() and np.array_equal(both, box | other)


def test_unknown_structure():
    with raises(UsageError, "labels.structure-missing", "tibia"):
        structure_outline(_volume(), "tibia", CAMERA, true_pose(_volume()))
