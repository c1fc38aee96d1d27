"""Faces at which a patient goes on, and where tissue lies: on cut phantoms and bones alone."""

import numpy as np
import pytest

from isoclinic.volumes import Volume, open_faces, tissue_points
from phantoms import phantom

WHOLE = phantom(3)


def _ct(hu: np.ndarray) -> Volume:
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (10.0, 20.0, 30.0)
    return Volume(hu=hu.astype(np.float32), world_from_voxel=affine)


def _opened(volume: Volume, structures: tuple[str, ...] | None = None) -> list[tuple[int, bool]]:
    return [(face.axis, face.last) for face in open_faces(volume, structures)]


def test_a_ct_with_air_all_around_is_closed():
    assert _opened(WHOLE) == []


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("end", [0, 1])
def test_a_ct_cut_through_the_body_is_open_there_and_nowhere_else(axis, end):
    lower, upper = [0, 0, 0], list(WHOLE.shape)
    if end:
        upper[axis] //= 2
    else:
        lower[axis] = upper[axis] // 2
    assert _opened(WHOLE.crop(lower, upper)) == [(axis, bool(end))]


@pytest.mark.parametrize(("side", "is_open"), [(2, False), (20, True)])
def test_skin_that_touches_the_border_does_not_open_it(side, is_open):
    """A body of 24 x 24 voxels in slices; of its face a square of `side` voxels shows tissue."""
    hu = np.full((40, 40, 40), -1000.0)
    hu[8:32, 8:32, 1:39] = 40.0
    hu[8 : 8 + side, 8 : 8 + side, 0] = 40.0
    assert _opened(_ct(hu)) == ([(2, False)] if is_open else [])


def test_where_the_patient_goes_on_beyond_two_faces_nothing_limits_the_corner():
    """Cut at the first voxels of x and the last ones of z: beyond z, the patient reaches on along x, too."""
    hu = np.full((40, 40, 40), -1000.0)
    hu[0:30, 10:20, 5:40] = 40.0
    across_x, across_z = open_faces(_ct(hu))
    assert (across_x.axis, across_x.last, across_z.axis, across_z.last) == (0, False, 2, True)
    # With voxels of 2, 3 and 4 mm: y from 30 to 57 mm, x up to 58 mm, z from 20 mm, and 10 mm around.
    diagonal = 10 * np.sqrt(2)
    expected = [[-np.inf, 68], [20, 67], [-np.inf, 58 + 57 + diagonal], [-np.inf, 58 - 30 + diagonal]]
    np.testing.assert_allclose(across_z.limits_mm, expected)
    expected = [[20, 67], [10, np.inf], [30 + 20 - diagonal, np.inf], [-np.inf, 57 - 20 + diagonal]]
    np.testing.assert_allclose(across_x.limits_mm, expected)


@pytest.mark.parametrize(("width", "counts"), [(1, False), (6, True)])
def test_two_legs_count_and_a_table_does_not(width, counts):
    """Beside a leg of 10 x 10 voxels another piece of 10 x `width`."""
    hu = np.full((40, 40, 40), -1000.0)
    hu[5:15, 5:15, :35] = 40.0
    hu[30 : 30 + width, 5:15, :35] = 40.0
    (face,) = open_faces(_ct(hu))
    assert face.limits_mm[0, 1] == 2 * (35 if counts else 14) + 10


def test_an_empty_ct_is_closed():
    assert _opened(_ct(np.full((8, 8, 8), -1000.0))) == []


def test_a_structure_is_cut_where_its_own_voxels_end():
    hu = np.full((20, 20, 20), 40.0)
    labels = np.zeros(hu.shape, dtype=np.uint8)
    labels[5:15, 5:15, 10:] = 1
    volume = _ct(hu).with_labels(labels, {1: "bone"})
    assert len(_opened(volume)) == 6
    assert _opened(volume, ("bone",)) == [(2, True)]


def test_points_are_the_centres_of_blocks_with_tissue():
    hu = np.full((48, 24, 24), -1000.0)
    hu[10, 3, 5] = 500.0  # the only voxel of the block of voxels (10, 11), 3, 5
    points = tissue_points(_ct(hu)).numpy()
    assert np.allclose(points, [[10 - 2 * 10.5, 20 + 3 * 3, 30 + 4 * 5]])


def test_no_tissue_is_left_out_whatever_the_size():
    """Single voxels of tissue, in blocks of 1, 2 and 3 voxels, the last of which reach beyond the volume."""
    rng = np.random.default_rng(4)
    hu = np.where(rng.random((24, 47, 71)) < 0.002, 0.0, -1000.0)
    hu[-1, -1, -1] = hu[0, 0, 0] = 0.0
    volume = _ct(hu)
    blocks = {tuple(index) for index in np.argwhere(hu > -300) // (1, 2, 3)}
    voxels = np.minimum((np.array(sorted(blocks)) + 0.5) * (1, 2, 3) - 0.5, np.array(hu.shape) - 1)
    expected = voxels @ volume.world_from_voxel[:3, :3].T + volume.world_from_voxel[:3, 3]
    np.testing.assert_allclose(tissue_points(volume).numpy(), expected)


def test_points_of_structures_alone():
    labels = np.zeros(WHOLE.shape, dtype=np.uint8)
    labels[:8] = 7
    volume = WHOLE.with_labels(labels, {7: "arm"})
    inside = tissue_points(volume, ("arm",)).numpy()
    voxels = (inside - volume.world_from_voxel[:3, 3]) @ np.linalg.inv(volume.world_from_voxel[:3, :3]).T
    assert len(inside) < len(tissue_points(volume)) and voxels[:, 0].max() < 8


def test_points_of_an_empty_ct_span_its_box():
    points = tissue_points(_ct(np.full((24, 24, 24), -1000.0))).numpy()
    assert np.allclose(np.ptp(points, axis=0), [2 * 23, 3 * 23, 4 * 23])
