"""Slices of the CT: which voxel a pixel is, and where it is in the world, however the CT is stored."""

from __future__ import annotations

from itertools import permutations, product

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isoclinic import Volume
from isoclinic.errors import UsageError
from isoclinic.live.slices import PLANES, CTSlices
from raising import raises

# Each plane's columns and rows fall along these axes of the world: the patient's left is on the right.
COLUMNS_ROWS = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}
STORED = [(order, signs) for order in permutations(range(3)) for signs in product((1, -1), repeat=3)]


def stored(order, signs, turn_deg: float = 0.0) -> Volume:
    """A CT with one dense voxel, whose axes run along the world's in that order and direction."""
    hu = np.full((7, 8, 9), -1000, np.int16)
    hu[2, 5, 3] = 3000
    affine = np.eye(4)
    for axis, (along, sign) in enumerate(zip(order, signs, strict=True)):
        affine[:3, axis] = 0
        affine[along, axis] = sign * (1.5 + axis)
    affine[:3, :3] = Rotation.from_euler("z", turn_deg, degrees=True).as_matrix() @ affine[:3, :3]
    affine[:3, 3] = (11, -22, 33)
    return Volume(hu=hu, world_from_voxel=affine)


@pytest.mark.parametrize(("order", "signs"), STORED[::5])
@pytest.mark.parametrize("plane", PLANES)
def test_a_click_on_what_is_seen_is_its_place_in_the_world(order, signs, plane):
    volume = stored(order, signs, turn_deg=10.0)
    slices = CTSlices(volume)
    place = (volume.world_from_voxel @ [2, 5, 3, 1])[:3]
    image = slices.projection(plane).image
    row, column = np.argwhere(image == 255)[0]
    assert np.count_nonzero(image) == 1
    index = slices.index_of(plane, (float(column), float(row)), None)
    np.testing.assert_allclose((slices.world_from_index @ [*index, 1.0])[:3], place, atol=1e-9)
    # In the slice through it, too, and in no other.
    across = ({0, 1, 2} - set(COLUMNS_ROWS[plane])).pop()
    assert slices.slice(plane, int(index[across])).image[row, column] == 255
    assert slices.slice(plane, (int(index[across]) + 1) % slices.shape[across]).image[row, column] == 0


@pytest.mark.parametrize("plane", PLANES)
def test_columns_and_rows_fall(plane):
    """To the right of a picture is the patient's left (or back), down is the back (or the feet)."""
    slices = CTSlices(stored((1, 2, 0), (-1, 1, -1)))
    along, up = COLUMNS_ROWS[plane]
    here, right, down = (
        (slices.world_from_index @ [*slices.index_of(plane, pixel, 1.0), 1.0])[:3]
        for pixel in ((1.0, 1.0), (2.0, 1.0), (1.0, 2.0))
    )
    assert np.sign(right - here).tolist() == [-1 if axis == along else 0 for axis in range(3)]
    assert np.sign(down - here).tolist() == [-1 if axis == up else 0 for axis in range(3)]


def test_what_is_outside_is_refused():
    slices = CTSlices(stored((0, 1, 2), (1, 1, 1)))
    for plane, index in (("axial", 9), ("axial", -1), ("oblique", 0)):
        with raises(UsageError, "view.invalid-request", plane):
            slices.slice(plane, index)
    for pixel in ((-0.6, 0.0), (6.6, 0.0), (0.0, 7.6)):
        with raises(UsageError, "view.invalid-request"):
            slices.index_of("axial", pixel, 0.0)
    slices.index_of("axial", (6.5, 7.5), 0.0)
