"""Mirror planes of parts made of boxes and ellipsoids, turned in space."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isoclinic.volumes import Volume, mirror_plane

SPACING_MM = 1.0
CENTRE = np.array([40.0, 36.0, 44.0])


def _part(turn: Rotation, spike_mm: float) -> Volume:
    """A plate with a stem before it, symmetric in x, and a spike on one side; turned about its centre."""
    shape = (80, 76, 84)
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    x, y, z = np.moveaxis((index - CENTRE) @ turn.as_matrix(), -1, 0)
    inside = (np.abs(x) < 24) & (np.abs(y) < 4) & (np.abs(z + 0.1 * y) < 14)
    inside |= (np.abs(x) < 6) & (y > 0) & (y < 26) & (np.abs(z - 0.2 * y) < 4)
    inside |= (x > 0) & (x < 24 + spike_mm) & (np.abs(y) < 4) & (z > 6) & (z < 14)
    affine = np.eye(4)
    affine[:3, 3] = (-100.0, 50.0, 7.0)
    hu = np.where(inside, 3000.0, -1000.0).astype(np.float32)
    return Volume(hu=hu, world_from_voxel=affine)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_finds_the_plane_of_a_symmetric_part(seed):
    """To a tenth of a voxel and half a degree, which is what voxels without partial volumes allow."""
    turn = Rotation.random(random_state=seed)
    plane = mirror_plane(_part(turn, spike_mm=0.0))
    assert plane is not None
    normal = turn.as_matrix()[:, 0]
    assert abs(normal @ plane.normal_world) > np.cos(np.radians(0.5))
    middle = CENTRE + np.array([-100.0, 50.0, 7.0])
    assert abs((middle - plane.point_world) @ plane.normal_world) < 0.1 * SPACING_MM


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_part_with_a_spike_has_none(seed):
    assert mirror_plane(_part(Rotation.random(random_state=seed), spike_mm=16.0)) is None


def test_the_reflection_is_one():
    plane = mirror_plane(_part(Rotation.identity(), spike_mm=0.0))
    assert plane is not None
    assert np.allclose(plane.reflection @ plane.reflection, np.eye(4))
    assert np.isclose(np.linalg.det(plane.reflection[:3, :3]), -1)
    assert np.allclose(plane.reflection @ [*plane.point_world, 1], [*plane.point_world, 1])


def test_a_few_voxels_are_no_part():
    hu = np.full((20, 20, 20), -1000.0, dtype=np.float32)
    hu[8:12, 8:12, 8:12] = 500
    assert mirror_plane(Volume(hu=hu, world_from_voxel=np.eye(4))) is None
