"""Which CT a volume is, whatever file it came from."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from isoclinic.volumes import Volume, VoxelIdentity, looks_like_labels
from phantoms import phantom

CT = replace(phantom(0, (20, 24, 28)), hu=np.rint(phantom(0, (20, 24, 28)).hu).astype(np.int16))


def same(a: Volume, b: Volume) -> bool:
    return VoxelIdentity.of(a).same_as(VoxelIdentity.of(b), a.shape)


def turned(volume: Volume, axes: str) -> Volume:
    """The same CT with its axes in another order."""
    turns = nib.orientations.ornt_transform(
        nib.io_orientation(volume.world_from_voxel), nib.orientations.axcodes2ornt(tuple(axes))
    )
    affine = volume.world_from_voxel @ nib.orientations.inv_ornt_aff(turns, volume.shape)
    return Volume(hu=nib.apply_orientation(volume.hu, turns), world_from_voxel=affine)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "PSR", "ILA"])
def test_the_order_of_the_axes_does_not_matter(axes):
    other = turned(CT, axes)
    assert other.orientation == axes
    assert same(CT, other)


def test_files_of_one_ct_have_the_same(tmp_path):
    """NIfTI keeps affines in float32; values may be stored as numbers with a slope."""
    nib.save(nib.Nifti1Image(CT.hu, CT.world_from_voxel), tmp_path / "a.nii.gz")
    ras = turned(CT, "RAS")
    nib.save(nib.Nifti1Image(ras.hu.astype(np.float32), ras.world_from_voxel), tmp_path / "b.nii")
    nib.save(nib.Nifti1Image(CT.hu.astype(np.float64) * 1.0, CT.world_from_voxel), tmp_path / "c.nii.gz")
    for name in ("a.nii.gz", "b.nii", "c.nii.gz"):
        assert same(CT, Volume.read(tmp_path / name)), name


def test_another_ct_has_another():
    hu = CT.hu.copy()
    hu[3, 4, 5] += 1
    assert not same(CT, replace(CT, hu=hu)), "one voxel by one unit"
    moved = CT.world_from_voxel.copy()
    moved[0, 3] += 0.2
    assert not same(CT, replace(CT, world_from_voxel=moved)), "elsewhere"
    moved[0, 3] -= 0.19
    assert same(CT, replace(CT, world_from_voxel=moved)), "a hundredth of a millimetre is rounding"
    stretched = CT.world_from_voxel @ np.diag([1.01, 1.0, 1.0, 1.0])
    assert not same(CT, replace(CT, world_from_voxel=stretched)), "of another voxel size"


def test_label_maps_are_known_by_their_values():
    labels = np.zeros((20, 24, 28), dtype=np.int16)
    labels[5:9, 5:9, 5:9] = 23
    for hu in (labels, labels.astype(np.float32), np.zeros_like(labels)):
        assert looks_like_labels(replace(CT, hu=hu))
    assert not looks_like_labels(CT)
    shifted = (CT.hu + 1024).astype(np.int16)
    assert not looks_like_labels(replace(CT, hu=shifted)), "a CT that lacks its intercept is another mistake"
    noisy = labels + np.random.default_rng(0).uniform(0, 1, labels.shape).astype(np.float32)
    assert not looks_like_labels(replace(CT, hu=noisy.astype(np.float32)))
