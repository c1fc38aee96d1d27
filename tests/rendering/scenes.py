"""Small volumes, cameras and poses in which every ray is worth looking at."""

from itertools import permutations, product

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from torch import Tensor

from isoclinic.geometry import Camera
from isoclinic.volumes import Volume

METHODS = ["trilinear", "siddon"]
SPACING_MM = (1.2, 0.9, 2.1)
# The volumes have about 25 mm, magnified 1.5 times: the detector covers them with a little margin.
CAMERA = Camera.from_pixel_spacing(width=9, height=8, pixel_spacing_mm=(5.3, 4.9), sdd_mm=300.0)
DEPTH_MM = 200.0
OBLIQUE = (0.3, 0.2, 1.0)


def affine(permutation=(0, 1, 2), signs=(1, 1, 1), spacing_mm=SPACING_MM) -> NDArray[np.float64]:
    """world_from_voxel that sends voxel axis i along the world axis permutation[i], with a translation."""
    matrix = np.eye(4)
    matrix[:3, :3] = 0
    for axis, (world_axis, sign, spacing) in enumerate(zip(permutation, signs, spacing_mm, strict=True)):
        matrix[world_axis, axis] = sign * spacing
    matrix[:3, 3] = (-5.0, 3.0, 7.0)
    return matrix


ORIENTATIONS = [affine(p, s) for p, s in product(permutations(range(3)), product((1, -1), repeat=3))]


def noise_volume(shape=(12, 10, 14), world_from_voxel=None, seed=0, **fields) -> Volume:
    """Independent voxels from air to bone: nothing about neighbours can be guessed."""
    hu = np.random.default_rng(seed).uniform(-1000, 1500, size=shape).astype(np.float32)
    world_from_voxel = affine() if world_from_voxel is None else world_from_voxel
    return Volume(hu=hu, world_from_voxel=world_from_voxel, **fields)


def labelled_volume() -> Volume:
    """Noise with two overlapping-in-projection structures and an unlabelled rest."""
    labels = np.zeros((12, 10, 14), dtype=np.uint8)
    labels[2:7, 3:8, 1:6] = 1
    labels[5:11, 2:6, 7:12] = 2
    return noise_volume(labels=labels, label_names={1: "femur", 2: "tibia"})


def pose(volume: Volume, rotation_vector=OBLIQUE, depth_mm=DEPTH_MM, point_world=None) -> Tensor:
    """camera_from_world, rotated, with a point at a depth on the optical axis.

    Unless given, the point is near the volume's centre but not at it: where the centre is a corner of voxels,
    the central ray would meet three boundaries at once, and derivatives do not exist there.
    """
    rotation = Rotation.from_rotvec(rotation_vector).as_matrix()
    if point_world is None:
        point_world = volume.isocentre_world + np.array([0.13, -0.21, 0.17])
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = np.array([0, 0, depth_mm]) - rotation @ point_world
    return torch.from_numpy(matrix)


def random_poses(volume: Volume, count: int, seed: int = 0) -> Tensor:
    rotation_vectors = Rotation.random(count, random_state=np.random.default_rng(seed)).as_rotvec()
    return torch.stack([pose(volume, rotation_vector) for rotation_vector in rotation_vectors])


def world_from_voxel_point(volume: Volume, voxel) -> NDArray[np.float64]:
    return volume.world_from_voxel[:3, :3] @ np.asarray(voxel) + volume.world_from_voxel[:3, 3]
