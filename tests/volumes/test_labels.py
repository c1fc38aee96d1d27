"""Label maps on other grids than the CT's are judged by where their structures are in the world."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from isoclinic.errors import InputError
from isoclinic.volumes import CTCorrection, GeometryWarning, Volume
from raising import raises

from .label_scenes import AFFINE, LABELS, SHAPE, SPACING_MM, TURN, centred_affine, ct, labels_on, nifti, radii

# All orders of the axes, each with one choice of directions.
ORDERS = list(itertools.permutations(range(3)))


def turned(order: tuple[int, ...], signs: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The label map with other voxel axes and its affine: the same voxels at the same places."""
    image = nib.Nifti1Image(LABELS, AFFINE)
    ornament = np.stack([np.argsort(order), signs], axis=1).astype(float)
    other = image.as_reoriented(ornament)
    return np.asarray(other.dataobj), other.affine


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, 1), (-1, 1, -1)])
def test_any_order_and_direction_of_axes(tmp_path: Path, order, signs) -> None:
    values, affine = turned(order, signs)
    assert order == (0, 1, 2) or values.shape != SHAPE or order == tuple(np.argsort(order))
    read = Volume.read(ct(tmp_path), labels=nifti(tmp_path / "labels.nii.gz", values, affine))
    np.testing.assert_array_equal(read.labels, LABELS)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_part_of_the_ct_and_more_than_it(tmp_path: Path, order) -> None:
    """Cropped on some sides and padded on others, all structures within."""
    occupied = np.argwhere(LABELS)
    low, high = occupied.min(axis=0), occupied.max(axis=0) + 1
    part = np.pad(LABELS[low[0] : high[0], low[1] :, : high[2]], ((0, 0), (0, 5), (4, 0)))
    affine = AFFINE.copy()
    affine[:3, 3] += AFFINE[:3, :3] @ [low[0], low[1], -4]
    path = nifti(tmp_path / "labels.nii", part.transpose(order), affine[:, [*order, 3]])
    read = Volume.read(ct(tmp_path), labels=path)  # a warning would be an error
    np.testing.assert_array_equal(read.labels, LABELS)


@pytest.mark.parametrize("shift_mm", [0.0, 0.2, 0.4])
def test_a_fraction_of_a_voxel_is_no_other_place(tmp_path: Path, shift_mm: float) -> None:
    """As rounded positions leave it; the far corner of the grid is off by as much once more."""
    affine = AFFINE.copy()
    affine[2, 3] += shift_mm
    affine[0, 1] = shift_mm / 200
    read = Volume.read(ct(tmp_path), labels=nifti(tmp_path / "labels.nii", LABELS, affine))
    np.testing.assert_array_equal(read.labels, LABELS)


def test_half_a_voxel_is_said(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[2, 3] += 0.45 * SPACING_MM[2]
    path = nifti(tmp_path / "labels.nii", LABELS, affine)
    with pytest.warns(GeometryWarning, match=r"labels\.nii has other voxels than the CT, .* shifted"):
        read = Volume.read(ct(tmp_path), labels=path)
    np.testing.assert_array_equal(read.labels, LABELS)  # less than half: the nearest are the same


@pytest.mark.parametrize(
    ("shape", "spacing_mm", "rotation"),
    [
        ((60, 60, 60), [0.8, 0.8, 0.8], None),
        ((16, 16, 17), [3.0, 3.0, 3.0], None),
        ((45, 45, 45), [1.2, 1.3, 1.4], TURN),
    ],
    ids=["finer", "coarser", "turned"],
)
def test_other_grids_are_resampled_and_that_is_said(tmp_path: Path, shape, spacing_mm, rotation) -> None:
    """Right wherever the true surface is farther than half the diagonal of a voxel of the label map.

    The half axes are 6 mm at least, so that a distance d from the surface changes the radius by d / 11 at
    least and by d / 6 at most.
    """
    affine = centred_affine(shape, np.array(spacing_mm), rotation)
    path = nifti(tmp_path / "labels.nii", labels_on(shape, affine), affine)
    with pytest.warns(GeometryWarning, match="nearest") as caught:
        read = Volume.read(ct(tmp_path), labels=path)
    assert len(caught) == 1
    margin = np.linalg.norm(spacing_mm) / 2 / 6
    for label, radius in radii(SHAPE, AFFINE).items():
        assert (read.labels[radius < 1 - margin] == label).all()
        assert (read.labels[radius > 1 + margin] != label).all()
        assert 0.8 < np.count_nonzero(read.labels == label) / np.count_nonzero(radius < 1) < 1.2


def test_other_patients_do_not_overlap(tmp_path: Path) -> None:
    affine = AFFINE.copy()
    affine[:3, 3] += [0, 300, 0]
    path = nifti(tmp_path / "labels.nii", LABELS, affine)
    with raises(InputError, "labels.wrong-shape", "labels.nii", "RAS") as caught:
        Volume.read(ct(tmp_path), labels=path)
    assert "LPS" not in str(caught.value)


def test_lps_taken_for_ras_is_recognised(tmp_path: Path) -> None:
    there = AFFINE.copy()
    there[:3, 3] += [100, 150, 0]
    nifti(tmp_path / "ct.nii", np.random.default_rng(0).integers(-1000, 99, SHAPE).astype(np.int16), there)
    path = nifti(tmp_path / "labels.nii", LABELS, np.diag([-1.0, -1, 1, 1]) @ there)
    with raises(InputError, "labels.wrong-shape", "LPS", "RAS"):
        Volume.read(tmp_path / "ct.nii", labels=path)


def test_structures_beyond_the_ct_are_named(tmp_path: Path) -> None:
    """A label map of more than the CT shows: one structure cut in half, one outside."""
    cut = int(np.rint(np.argwhere(LABELS == 2)[:, 0].mean()))
    names = tmp_path / "labels.json"
    names.write_text('{"1": "hip_left", "2": "sacrum", "3": "skull"}')
    labels = np.pad(LABELS, ((0, 0), (0, 0), (0, 30)))
    labels[5:10, 5:10, 40:45] = 3
    hu = np.random.default_rng(0).integers(-1000, 99, SHAPE).astype(np.int16)[:cut]
    nifti(tmp_path / "ct.nii", hu)
    with pytest.warns(GeometryWarning, match=r"lacks part of sacrum \(\d+ % within\), skull \(0 % within\)"):
        read = Volume.read(tmp_path / "ct.nii", labels=nifti(tmp_path / "labels.nii", labels))
    np.testing.assert_array_equal(read.labels, LABELS[:cut])


def test_structures_between_coarse_voxels_are_not_lost_without_a_word(tmp_path: Path) -> None:
    shape, spacing_mm = (90, 96, 100), SPACING_MM / [3, 4, 5]
    affine = centred_affine(shape, spacing_mm)
    labels = labels_on(shape, affine)
    between = 45  # the planes of voxel centres of the CT are those of every third, 3 i + 1
    labels[between, 10:12, 10:12] = 7
    with raises(InputError, "labels.structure-lost", "label 7", "1.5 x 2 x 2.5"):
        Volume.read(ct(tmp_path), labels=nifti(tmp_path / "labels.nii", labels, affine))


def test_a_correction_of_the_ct_holds_for_its_labels_in_any_order(tmp_path: Path) -> None:
    values, affine = turned((1, 2, 0), (-1, 1, 1))
    correction = CTCorrection(mirror_left_right=True, length_unit="cm")
    path = nifti(tmp_path / "labels.nii", values, affine)
    read = Volume.read(ct(tmp_path), labels=path, correction=correction)
    np.testing.assert_array_equal(read.labels, LABELS)


# Values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("background", [-1, -1024, -2])
def test_a_background_below_zero_is_no_structure(tmp_path: Path, background: int) -> None:
    values = np.where(LABELS == 0, background, LABELS.astype(np.int16))
    read = Volume.read(ct(tmp_path), labels=nifti(tmp_path / "labels.nii", values))
    np.testing.assert_array_equal(read.labels, LABELS)
    assert read.labels.dtype == np.uint8


def test_zero_beside_a_negative_background_is_said(tmp_path: Path) -> None:
    values = LABELS.astype(np.int16) - 1  # numbered from 0
    path = nifti(tmp_path / "labels.nii", values)
    with pytest.warns(GeometryWarning, match=r"voxels of -1 and of 0: .* number the structures from 1"):
        read = Volume.read(ct(tmp_path), labels=path)
    np.testing.assert_array_equal(read.labels, LABELS == 2)


def test_whole_numbers_in_floating_point(tmp_path: Path) -> None:
    values = LABELS.astype(np.float64) * 200 * (1 + 1e-7)
    read = Volume.read(ct(tmp_path), labels=nifti(tmp_path / "labels.nii", values))
    np.testing.assert_array_equal(read.labels, LABELS.astype(np.uint16) * 200)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (LABELS * 0.3, ("labels.not-labels", "interpolation")),
        (
            -np.arange(LABELS.size, dtype=np.int32).reshape(SHAPE),
            ("labels.not-labels", "negative"),
        ),
        (
            LABELS.astype(np.int32) * 40000,
            ("labels.not-labels", "65535", "80000"),
        ),
    ],
    ids=["interpolated", "an image", "too large"],
)
def test_values_that_are_no_labels(tmp_path: Path, values, fault: tuple[str, ...]) -> None:
    with raises(InputError, *fault, "labels.nii"):
        Volume.read(ct(tmp_path), labels=nifti(tmp_path / "labels.nii", values))


# Folders of masks ---------------------------------------------------------------------------------------


def masks(folder: Path, **arrays: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    for name, values in arrays.items():
        nifti(folder / f"{name}.nii.gz", values)
    return folder


def test_a_folder_of_masks(tmp_path: Path) -> None:
    """As TotalSegmentator writes them; 255 is as good as 1, and each may be on a grid of its own."""
    folder = masks(tmp_path / "s", hip_left=(LABELS == 1) * np.uint8(255))
    part = (LABELS == 2)[:, :, ::-1].astype(np.uint8)
    affine = AFFINE @ np.diag([1.0, 1, -1, 1])
    affine[:3, 3] = AFFINE[:3, 3] + AFFINE[:3, 2] * (SHAPE[2] - 1)
    nifti(folder / "Sacrum.nii", part, affine)
    (folder / "statistics.json").write_text("{}")
    read = Volume.read(ct(tmp_path), labels=folder)
    assert read.label_names == {1: "hip_left", 2: "Sacrum"}
    np.testing.assert_array_equal(read.labels, LABELS)


def test_masks_that_overlap_or_are_empty_are_said(tmp_path: Path) -> None:
    wide = LABELS == 2
    wide[:, 1:] |= LABELS[:, :-1] == 1  # most of structure 1, moved by a voxel
    folder = masks(
        tmp_path / "s", a=(LABELS == 1).astype(np.uint8), b=wide.astype(np.uint8), c=np.zeros_like(LABELS)
    )
    with pytest.warns(GeometryWarning) as caught:
        read = Volume.read(ct(tmp_path), labels=folder)
    messages = [str(warning.message) for warning in caught]
    hidden = 100 * np.count_nonzero(wide & (LABELS == 1)) / np.count_nonzero(wide)
    assert len(messages) == 2
    assert f"become smaller: b (by {hidden:.2g} %)" in messages[0]
    assert "1 of 3 structures are empty: c" in messages[1]
    np.testing.assert_array_equal(read.labels, np.where(LABELS == 1, 1, 2 * wide))
    assert read.label_names == {1: "a", 2: "b", 3: "c"}


def test_a_mask_that_others_cover_is_not_lost_without_a_word(tmp_path: Path) -> None:
    folder = masks(tmp_path / "s", body=np.ones_like(LABELS), hip=(LABELS == 1).astype(np.uint8))
    with raises(InputError, "labels.structure-lost", "hip", "other structures"):
        Volume.read(ct(tmp_path), labels=folder)


def test_a_label_map_among_masks_is_named(tmp_path: Path) -> None:
    folder = masks(tmp_path / "s", hip=(LABELS == 1).astype(np.uint8), all=LABELS)
    with raises(InputError, "labels.not-labels", "all.nii.gz", "2"):
        Volume.read(ct(tmp_path), labels=folder)
    (folder / "hip.nii.gz").unlink()  # alone, it is a label map
    (folder / "all.json").write_text('{"1": "left", "2": "right"}')
    read = Volume.read(ct(tmp_path), labels=folder)
    assert read.label_names == {1: "left", 2: "right"}
    np.testing.assert_array_equal(read.labels, LABELS)


def test_a_folder_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    with raises(InputError, "ct.no-slices", "s"):
        Volume.read(ct(tmp_path), labels=tmp_path / "s")


def test_no_warning_where_nothing_is_odd(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Volume.read(ct(tmp_path), labels=nifti(tmp_path / "labels.nii", LABELS))
