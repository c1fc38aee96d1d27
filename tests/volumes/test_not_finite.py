"""Voxels without a value: outside of what was scanned, and within the body."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from isoclinic.errors import InputError, UsageError
from isoclinic.volumes import CTCorrection, GeometryWarning, Volume
from raising import raises

SHAPE = (40, 36, 30)


def body() -> np.ndarray:
    """Air with an ellipsoid of soft tissue in it, float32."""
    centred = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    return np.where(((centred / [14, 12, 12]) ** 2).sum(axis=-1) < 1, 40, -1000).astype(np.float32)


def ct(path: Path, hu: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(hu, np.diag([-1.0, -1, 1, 1])), path)
    return path


def cylinder(turn: np.ndarray, radius: float = 17) -> np.ndarray:
    """Outside of a cylinder, bool: a field of view, resampled to turned axes."""
    centred = np.moveaxis(np.indices(SHAPE), 0, -1) - (np.array(SHAPE) - 1) / 2
    turned = centred @ turn
    return np.hypot(turned[..., 0], turned[..., 1]) > radius


@pytest.mark.parametrize(
    "turn", [np.eye(3), Rotation.from_euler("xyz", [20, 30, 10], degrees=True).as_matrix()]
)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outside_of_the_field_is_air(tmp_path: Path, turn: np.ndarray, value: float) -> None:
    outside = cylinder(turn)
    hu = body()
    hu[outside] = value
    expected = np.where(outside, -1000, body())
    with pytest.warns(GeometryWarning, match=rf"{outside.sum()} voxels that are NaN or infinite.*as air"):
        volume = Volume.read(ct(tmp_path / "ct.nii.gz", hu))
    assert volume.hu.dtype == np.int16
    np.testing.assert_array_equal(volume.hu, expected)


def test_a_body_that_reaches_beyond_the_field(tmp_path: Path) -> None:
    """What is missing touches the body on every side of the field, and is not within it."""
    turn = Rotation.from_euler("xyz", [20, 30, 10], degrees=True).as_matrix()
    outside = cylinder(turn, 14)
    hu = np.full(SHAPE, 40, np.float32)
    hu[outside] = np.nan
    assert 0.3 < outside.mean() < 0.6
    with pytest.warns(GeometryWarning, match="as air"):
        volume = Volume.read(ct(tmp_path / "ct.nii.gz", hu))
    np.testing.assert_array_equal(volume.hu, np.where(outside, -1000, 40))


def test_slices_without_values_at_an_end_are_air(tmp_path: Path) -> None:
    hu = body()
    hu[:, :, :13] = np.nan  # the body reaches into them: it is cut off there
    with pytest.warns(GeometryWarning, match="as air"):
        volume = Volume.read(ct(tmp_path / "ct.nii.gz", hu))
    assert (volume.hu[:, :, :13] == -1000).all()


def test_specks_within_air_are_air(tmp_path: Path) -> None:
    hu = body()
    hu[2:4, 3, 5] = np.nan
    with pytest.warns(GeometryWarning, match="2 voxels"):
        volume = Volume.read(ct(tmp_path / "ct.nii.gz", hu))
    assert (volume.hu[2:4, 3, 5] == -1000).all()


HOLES = {
    "a voxel": (slice(20, 21), slice(18, 19), slice(15, 16)),
    "a slice": (slice(None), slice(None), slice(15, 16)),
    "a column from top to bottom": (slice(20, 21), slice(18, 19), slice(None)),
    "a row at the skin": (slice(None), slice(6, 7), slice(15, 16)),
}


@pytest.mark.parametrize("hole", HOLES)
def test_within_the_body_is_refused(tmp_path: Path, hole: str) -> None:
    hu = body()
    hu[HOLES[hole]] = np.nan
    path = ct(tmp_path / "ct.nii.gz", hu)
    with raises(InputError, "ct.not-finite", "`nan_hu`", "-1000", "`save_ct`"):
        Volume.read(path)
    with pytest.warns(GeometryWarning, match=r"they are 15 HU now \(`nan_hu`\)"):
        volume = Volume.read(path, correction=CTCorrection(nan_hu=15))
    assert (volume.hu[HOLES[hole]] == 15).all()


def test_most_of_the_volume_is_refused(tmp_path: Path) -> None:
    hu = body()
    hu[:, 14:] = np.nan
    with raises(InputError, "ct.not-finite", "61 %", "`nan_hu`"):
        Volume.read(ct(tmp_path / "ct.nii.gz", hu))


def test_option_that_is_not_finite() -> None:
    with raises(UsageError, "ct.invalid-value", "`nan_hu`"):
        CTCorrection(nan_hu=float("nan"))


@pytest.mark.parametrize("gap_mm", [0.0, -1.0, float("inf")])
def test_gap_that_is_none(gap_mm: float) -> None:
    with raises(UsageError, "ct.invalid-value", "`fill_gaps_mm`"):
        CTCorrection(fill_gaps_mm=gap_mm)
