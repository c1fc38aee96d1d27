"""Slices that are uneven or displaced, against functions of places in the world."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isoclinic.errors import InputError
from isoclinic.volumes import CTCorrection, GeometryWarning, Volume
from isoclinic.volumes._slices import Stack, fit_grid, is_even, resampled
from raising import raises

from .dicom_files import from_surfaces_mm, phantom, places_of, write_planes

# How patients lie: the voxel axes as columns in LPS.
LYING = {
    "head first, supine": np.eye(3),
    "feet first, supine": np.diag([-1.0, 1, -1]),
    "head first, prone": np.diag([-1.0, -1, 1]),
    "sagittal planes": np.eye(3)[:, [1, 2, 0]],
    "oblique": Rotation.from_euler("xyz", [8, -12, 25], degrees=True).as_matrix(),
}


def slope(lps: np.ndarray) -> np.ndarray:
    """Hounsfield units that linear interpolation reproduces: 4.1 per mm along the body."""
    return -200 + lps @ [1.7, -2.3, 4.1]


def stack(axial: list[float], sideways: np.ndarray | None = None) -> Stack:
    positions = np.zeros((len(axial), 3))
    positions[:, 2] = axial
    if sideways is not None:
        positions[:, :2] = sideways
    names = [f"{index}.dcm" for index in range(len(axial))]
    return Stack(positions=positions, axes=np.eye(3)[:2], spacing_mm=(2.0, 1.0), shape=(6, 5), names=names)


@pytest.mark.parametrize("lying", LYING)
@pytest.mark.parametrize("tilt_deg", [14.0, -21.0])
@pytest.mark.parametrize("across", [0, 1], ids=["about columns", "about rows"])
def test_a_tilted_gantry_is_sheared(tmp_path: Path, lying: str, tilt_deg: float, across: int) -> None:
    """About the transverse axis, as scanners tilt (across = 1), and about the sagittal one."""
    turn = LYING[lying]
    table = turn[:, 2]  # along which the slices follow each other, while the planes are tilted against it
    tilt = Rotation.from_rotvec(np.radians(tilt_deg) * turn[:, 1 - across]).as_matrix()
    centres = np.linspace(-42, 42, 43)[:, None] * table
    write_planes(tmp_path / "ct", centres, (tilt @ turn[:, :2]).T)
    with pytest.warns(GeometryWarning, match=rf"tilted by {abs(tilt_deg):.1f} deg.*shifted within its plane"):
        volume = Volume.read(tmp_path / "ct")
    axes = volume.world_from_voxel[:3, :3] / volume.spacing_mm
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)  # RAS and LPS have the same handedness
    np.testing.assert_allclose(volume.spacing_mm, [1.6, 1.5, 2 * np.cos(np.radians(tilt_deg))], rtol=1e-6)
    places = places_of(volume)
    clear = from_surfaces_mm(places) > 1.7  # no neighbour along a row or column is of another structure
    assert clear.mean() > 0.5
    np.testing.assert_array_equal(volume.hu[clear], phantom(places)[clear])
    for value in (40, 700, 1100):
        assert (volume.hu[clear] == value).sum() > 100


def test_tilted_slices_the_wrong_way_round_would_be_seen(tmp_path: Path) -> None:
    """That the test above can fail: the stack as if its planes were straight has other values."""
    tilt = Rotation.from_rotvec([np.radians(14), 0, 0]).as_matrix()
    write_planes(tmp_path / "ct", np.linspace(-42, 42, 43)[:, None] * [0, 0, 1], tilt[:, :2].T)
    with pytest.warns(GeometryWarning, match="tilted"):
        volume = Volume.read(tmp_path / "ct")
    places = places_of(volume)
    straight = phantom(places * [1, -1, 1])
    clear = from_surfaces_mm(places) > 1.7
    assert (volume.hu[clear] != straight[clear]).sum() > 1000


@pytest.mark.parametrize(
    ("axial", "step"),
    [
        ([*np.arange(0, 27.5, 2.75), *np.arange(27.5, 60, 5.5)], 2.75),
        ([*np.arange(0, 40, 5.0), *np.arange(40, 60, 1.25)], 1.25),
        ([*np.arange(0, 20, 2.0), *np.arange(20, 45, 3.0)], 2.0),
        ([0, 2, 4, 6.9, 8, 10.5, 12, 14, 16, 18, 20], 2.0),
    ],
    ids=["coarser", "finer", "no multiple", "one here, one there"],
)
@pytest.mark.parametrize("lying", ["head first, supine", "feet first, supine", "oblique"])
def test_uneven_slices_are_interpolated(tmp_path: Path, axial: list[float], step: float, lying: str) -> None:
    turn = LYING[lying]
    write_planes(tmp_path / "ct", np.array(axial)[:, None] * turn[:, 2], turn[:, :2].T, slope)
    with pytest.warns(GeometryWarning, match="interpolated linearly"):
        volume = Volume.read(tmp_path / "ct")
    # The ends stay where they are, so that the step is rounded to a whole number of them.
    assert volume.spacing_mm[2] == pytest.approx(step, rel=0.03)
    assert volume.spacing_mm[2] * (volume.shape[2] - 1) == pytest.approx(max(axial))
    assert volume.hu.dtype == np.int16
    # Rounded to whole numbers twice; slices up to 0.12 mm off are taken over.
    np.testing.assert_allclose(volume.hu, slope(places_of(volume)), atol=1.01 + 0.12 * 4.1)


def test_places_rounded_to_a_tenth_of_a_millimetre(tmp_path: Path) -> None:
    exact = 0.625 * np.arange(50)
    write_planes(tmp_path / "ct", np.round(exact, 1)[:, None] * [0, 0, 1], np.eye(3)[:2])
    volume = Volume.read(tmp_path / "ct")
    assert volume.spacing_mm[2] == pytest.approx(0.625, abs=0.1 / 49)
    np.testing.assert_allclose(places_of(volume)[0, 0, :, 2], exact, atol=0.06)


def test_slices_moved_sideways_are_moved_back(tmp_path: Path) -> None:
    """As where the reconstruction's centre changes within a scan: no straight line, so no tilt."""
    centres = np.linspace(-42, 42, 43)[:, None] * np.array([0.0, 0, 1])
    centres[20:] += [7.3, -4.1, 0]
    write_planes(tmp_path / "ct", centres, np.eye(3)[:2])
    with pytest.warns(GeometryWarning, match=r"displaced against each other.*IM019\.dcm and IM020\.dcm"):
        volume = Volume.read(tmp_path / "ct")
    places = places_of(volume)
    clear = from_surfaces_mm(places) > 2.3
    np.testing.assert_array_equal(volume.hu[clear], phantom(places)[clear])


def test_one_slice_far_to_the_side_is_refused(tmp_path: Path) -> None:
    centres = np.linspace(-42, 42, 43)[:, None] * np.array([0.0, 0, 1])
    centres[20] += [400, 0, 0]
    write_planes(tmp_path / "ct", centres, np.eye(3)[:2])
    with raises(InputError, "ct.odd-slices", "IM019.dcm", "IM020.dcm", "400 mm"):
        Volume.read(tmp_path / "ct")


def test_slices_along_their_own_planes_are_refused() -> None:
    sideways = np.zeros((10, 2))
    sideways[:, 0] = 2.0 * np.arange(10)
    with raises(InputError, "ct.odd-slices", "63 deg"):
        fit_grid(stack(list(np.arange(10.0)), sideways))


@pytest.mark.parametrize(
    ("removed", "widest_gap_mm", "read"),
    [
        ([4], None, True),
        ([4, 8], None, True),
        ([4, 6], None, True),
        ([4, 5], None, False),
        ([4, 5], 7.0, True),
        ([4, 5], 5.0, False),
        ([4, 5, 6, 7], 10.0, True),
    ],
)
def test_gaps(removed: list[int], widest_gap_mm: float | None, read: bool) -> None:
    axial = [2.0 * index for index in range(16) if index not in removed]
    if not read:
        with raises(InputError, "ct.slices-missing", "3.dcm", "4.dcm", "6 mm", "`fill_gaps_mm` 6"):
            fit_grid(stack(axial), widest_gap_mm=widest_gap_mm)
        return
    grid = fit_grid(stack(axial), widest_gap_mm=widest_gap_mm)
    assert grid.shape == (6, 5, 16)
    assert grid.world_from_voxel[2, 2] == pytest.approx(2)
    places = [axial[k] + (weight and weight * (axial[k + 1] - axial[k])) for k, weight in grid.sources]
    np.testing.assert_allclose(places, 2.0 * np.arange(16))
    assert len(grid.notes) == 1


def test_three_wide_gaps_in_a_row_are_no_change_of_spacing() -> None:
    with raises(InputError, "ct.slices-missing", "400 mm"):
        fit_grid(stack([0.0, 2, 4, 6, 8, 408, 808, 1208]))


def test_the_option_that_the_error_names_works(tmp_path: Path) -> None:
    paths = write_planes(tmp_path / "ct", 2.0 * np.arange(16)[:, None] * [0, 0, 1], np.eye(3)[:2], slope)
    for index in (4, 5, 6):
        paths[index].unlink()
    with raises(InputError, "ct.slices-missing", "3 slice(s)", "`fill_gaps_mm` 8"):
        Volume.read(tmp_path / "ct")
    with pytest.warns(GeometryWarning, match="missing between IM003"):
        volume = Volume.read(tmp_path / "ct", correction=CTCorrection(fill_gaps_mm=8))
    np.testing.assert_allclose(volume.hu, slope(places_of(volume)), atol=1.01)


@pytest.mark.parametrize("off_mm", [0.9, -0.9])
def test_an_end_off_its_place_moves_no_other_slice(off_mm: float) -> None:
    """The grid is that of the others; what the end tells beyond it, or short of it, is little."""
    axial = [*2.75 * np.arange(63), 2.75 * 63 + off_mm]
    grid = fit_grid(stack(axial))
    assert grid.world_from_voxel[2, 2] == pytest.approx(2.75)
    assert grid.sources[:63] == tuple((index, 0.0) for index in range(63))
    if off_mm > 0:
        ((before, weight),) = grid.sources[63:]
        assert before == 62 and weight == pytest.approx(2.75 / 3.65)
    else:
        assert len(grid.sources) == 63


def test_rounded_places_around_a_gap_stay_on_their_grid() -> None:
    exact = 0.625 * np.delete(np.arange(120), 70)
    grid = fit_grid(stack(list(np.round(exact, 1))))
    assert grid.world_from_voxel[2, 2] == pytest.approx(0.625, abs=1e-4)
    assert [weight for _, weight in grid.sources if weight] == [pytest.approx(0.5, abs=0.1)]
    assert grid.shape[2] == 120


def test_fractions_are_not_rounded() -> None:
    grid = fit_grid(stack([0.0, 1, 2, 3, 5, 6, 7]))
    constant = [np.full((6, 5), value, np.float32) for value in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)]
    slices = list(resampled(grid, lambda index: constant[index]))
    np.testing.assert_allclose(
        [s[0, 0, 0] for s in slices], [0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("axial", "even"),
    [
        ([0.0, 1], True),
        ([0.0, 1, 2.2, 3], True),
        ([0.0, 1, 2.26, 3], False),
        ([0.0, 10, 20.26, 30], False),
        ([0.0, 0.3, 0.65, 0.9], True),
        ([0.0, 0.3, 0.8, 0.9], False),
        ([*0.3 * np.arange(250), *0.3 * np.arange(251, 500)], False),
    ],
)
def test_what_is_even(axial: list[float], even: bool) -> None:
    """A quarter of a millimetre off, or of a step if that is less; a slice that is missing never."""
    assert is_even(np.array(axial)) == even
