"""Points drawn from a CT: only from where they may lie, and the same again from the same generator."""

import numpy as np
import pytest

from isoclinic.errors import InputError, UsageError
from isoclinic.volumes import Volume, bone_points, target_points
from raising import raises

AFFINE = np.array([[0, 2.0, 0, 5], [3, 0, 0, -7], [0, 0, 1.5, 2], [0, 0, 0, 1]])
BONE = [(0, 1, 2), (5, 4, 3), (2, 2, 2), (3, 0, 1)]


def volume(hu_of_bone: int = 700, elsewhere: int = 50) -> Volume:
    hu = np.full((6, 5, 4), elsewhere, dtype=np.int16)
    for voxel in BONE:
        hu[voxel] = hu_of_bone
    hu[1, 1, 1] = 3000  # metal
    return Volume(hu=hu, world_from_voxel=AFFINE)


def world(voxels) -> set[tuple[float, ...]]:
    return {tuple(AFFINE[:3, :3] @ voxel + AFFINE[:3, 3]) for voxel in voxels}


def distinct(points) -> set[tuple[float, ...]]:
    return {tuple(point) for point in points.numpy()}


def test_bone_points_are_voxels_of_bone():
    points = bone_points(volume(), 4, generator=np.random.default_rng(0))
    assert distinct(points) == world(BONE)
    again = bone_points(volume(), 4, generator=np.random.default_rng(0))
    np.testing.assert_array_equal(points, again)
    with raises(InputError, "ct.no-bone", "4"):
        bone_points(volume(), 5, generator=np.random.default_rng(0))


@pytest.mark.parametrize(
    ("hu_of_bone", "elsewhere", "expected"),
    [
        (700, 50, BONE),
        (60, 50, list(np.ndindex(6, 5, 4))),  # no bone: any tissue, metal among it
        (50, -1000, [*BONE, (1, 1, 1)]),  # tissue in air
        (-1000, -1000, [(1, 1, 1)]),
    ],
)
def test_target_points_prefer_bone_then_tissue(hu_of_bone, elsewhere, expected):
    ct = volume(hu_of_bone, elsewhere)
    points = target_points(ct, 600, generator=np.random.default_rng(0))
    assert points.shape == (600, 3)
    # 600 draws leave none of five voxels out; of 120, perhaps one.
    assert distinct(points) <= world(expected)
    assert len(expected) > 5 or distinct(points) == world(expected)


def test_target_points_of_a_structure():
    labels = np.zeros((6, 5, 4), dtype=np.uint8)
    labels[:3] = 1
    ct = volume().with_labels(labels, {1: "left", 2: "empty"})
    points = target_points(ct, 50, ["left"], generator=np.random.default_rng(1))
    assert distinct(points) == world([voxel for voxel in BONE if voxel[0] < 3])
    with raises(UsageError, "labels.structure-missing", "empty"):
        target_points(ct, 50, ["empty"], generator=np.random.default_rng(1))
