"""Synthetic patients: what is in them, where, and how often."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d, label

from isoclinic import UsageError
from isoclinic.anatomy import SkeletonConfig, synthetic_skeleton
from raising import raises

EMPTY = SkeletonConfig(
    voxels=40,
    voxel_mm=8.0,
    columns=(0, 0),
    tubes=(0, 0),
    plates=(0, 0),
    balls=(0, 0),
    organs=(0, 0),
    cavities=(0, 0),
)
COUNTS = ("columns", "tubes", "plates", "balls", "organs", "cavities")


def made(config: SkeletonConfig, seed: int = 0):
    return synthetic_skeleton(config, np.random.default_rng(seed))


def test_a_patient_without_bones_is_a_body_in_air():
    hu = made(EMPTY).hu
    assert hu[0, 0, 0] == -1000 and hu[20, 20, 20] > 0
    assert hu.max() <= 60  # the densest soft tissue
    assert np.array_equal(hu, np.repeat(hu[:, :, :1], 40, axis=2))
    # From the middle outwards: muscle, fat, air, and never back.
    assert (np.diff(hu[20:, 20, 20]) <= 0).all()


def test_the_grid_is_centred_on_the_world():
    volume = made(EMPTY)
    np.testing.assert_allclose(volume.isocentre_world, 0.0, atol=1e-9)
    assert volume.shape == (40, 40, 40) and volume.orientation == "RAS"
    np.testing.assert_allclose(volume.spacing_mm, 8.0)


@pytest.mark.parametrize("kind", ("columns", "tubes", "plates", "balls"))
def test_every_kind_of_bone_is_bone(kind):
    """Compact at the surface, 600 HU or more, wherever one of ten patients has it inside the grid."""
    found = [made(replace(EMPTY, voxels=80, voxel_mm=4.0, **{kind: (1, 1)}), seed).hu for seed in range(10)]
    assert np.mean([(hu > 600).sum() > 20 for hu in found]) >= 0.7
    assert all(hu.max() <= 1300 for hu in found)


def test_a_ball_is_compact_outside_and_spongy_inside():
    config = replace(EMPTY, voxels=96, voxel_mm=2.0, balls=(1, 1))
    hu = next(hu for hu in (made(config, seed).hu for seed in range(20)) if _inside(hu > 120))
    bone = hu > 120
    assert label(bone)[1] == 1
    centre = np.round(np.argwhere(bone).mean(axis=0)).astype(int)
    assert 120 <= hu[tuple(centre)] <= 351
    assert hu[bone].max() >= 600


def _inside(mask) -> bool:
    """Whether it is there, and touches no side of the grid."""
    return mask.any() and not any(np.take(mask, side, axis).any() for axis in range(3) for side in (0, -1))


def test_a_column_is_a_row_of_blocks():
    config = replace(EMPTY, voxels=96, voxel_mm=3.5, columns=(1, 1))
    hu = made(config, 3).hu
    profile = (hu > 400).sum(axis=(0, 1)).astype(float)
    profile -= gaussian_filter1d(profile, 6)
    # Blocks of 18 to 34 mm and gaps of 3 to 9 mm come again and again.
    alike = np.correlate(profile, profile, "full")[95:] / (profile @ profile)
    assert alike[round(21 / 3.5) : round(43 / 3.5) + 1].max() > 0.2


def test_cavities_hold_air_and_organs_another_density():
    body = made(EMPTY).hu
    assert (made(replace(EMPTY, cavities=(3, 3))).hu[body > 0] < -790).any()
    organs = made(replace(EMPTY, organs=(8, 8))).hu
    assert organs[body > 0].min() > -120 and (organs != body).any()


def test_patients_follow_the_generator():
    config = replace(SkeletonConfig(), voxels=32, voxel_mm=10.0)
    assert np.array_equal(made(config, 1).hu, made(config, 1).hu)
    assert not np.array_equal(made(config, 1).hu, made(config, 2).hu)


@pytest.mark.parametrize(
    "change", [{"voxels": 4}, {"voxel_mm": 0.0}, *({name: (3, 2)} for name in COUNTS), {"tubes": (-1, 2)}]
)
def test_skeletons_that_are_none(change):
    with raises(UsageError, "anatomy.invalid-value", next(iter(change))):
        replace(SkeletonConfig(), **change)
