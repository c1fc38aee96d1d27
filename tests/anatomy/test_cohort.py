"""Who is shown when: by seed and index alone, as many at a time as agreed, each for as long."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import phantoms
from isoclinic import UsageError
from isoclinic.anatomy import Cohort, CohortConfig, SkeletonConfig, VariationConfig
from raising import raises

SMALL = SkeletonConfig(voxels=12, voxel_mm=25.0, organs=(1, 2))
CONFIG = CohortConfig(present=3, batches=5, voxel_mm=8.0, skeleton=SMALL)


@pytest.fixture(scope="module")
def volumes():
    return [phantoms.phantom(seed, (16, 16, 16)) for seed in (0, 1)]


def cohort(volumes, seed: int = 0, **changes) -> Cohort:
    return Cohort(volumes, replace(CONFIG, **changes), seed=seed)


def test_an_anatomy_depends_on_seed_and_index_alone(volumes):
    forwards, backwards = cohort(volumes), cohort(volumes)
    shown = [forwards.anatomy(index).hu for index in range(40)]
    for index in reversed(range(40)):
        assert np.array_equal(backwards.anatomy(index).hu, shown[index]), index
    others = [cohort(volumes, seed=1).anatomy(index).hu for index in range(5)]
    assert not any(np.array_equal(other, mine) for other in others for mine in shown)


@pytest.mark.slow
def test_a_few_at_a_time_each_for_a_while(volumes):
    """Three present, replaced one by one: 300 batches show 300 / 5 anatomies and the first three."""
    group = cohort(volumes)
    shown = [group.anatomy(index) for index in range(300)]
    counts = Counter(map(id, shown))
    assert abs(len(counts) - 62) <= 3  # some are never drawn in their 15 batches: 1 in 400
    assert np.mean(list(counts.values())) == pytest.approx(300 / len(counts))
    for start in range(0, 285, 5):
        # In any stretch between two replacements, three anatomies.
        assert len({id(each) for each in shown[start : start + 5]}) <= 3
    last = {key: max(index for index, each in enumerate(shown) if id(each) == key) for key in counts}
    first = {key: next(index for index, each in enumerate(shown) if id(each) == key) for key in counts}
    assert max(last[key] - first[key] for key in counts) < 15


@pytest.mark.parametrize(("share", "sizes"), [(0.0, {(6, 6, 6)}), (1.0, {(12, 12, 12)})])
def test_real_and_synthetic_patients(volumes, share, sizes):
    """CTs are averaged to about 8 mm; synthetic patients have their own grid."""
    group = cohort(volumes if share < 1 else [], skeletons=share)
    assert {group.anatomy(index).shape for index in range(60)} == sizes


@pytest.mark.slow
def test_both_kinds_and_all_cts_come(volumes):
    affine = volumes[1].world_from_voxel.copy()
    affine[0, 3] += 500.0
    moved = replace(volumes[1], world_from_voxel=affine)
    group = cohort([volumes[0], moved], skeletons=0.4, batches=1)
    shown = [group.anatomy(index) for index in range(120)]
    kinds = Counter((each.shape[0], bool(each.isocentre_world[0] > 250)) for each in shown)
    assert set(kinds) == {(12, False), (6, False), (6, True)}
    # 120 batches of about 100 anatomies: within four deviations of 0.05.
    assert kinds[12, False] / 120 == pytest.approx(0.4, abs=0.2)


def test_the_ct_of_some_ends_before_they_do(volumes):
    """Shares of about 90 patients, within five deviations; whoever is shown is the same with and without."""
    group = cohort(volumes, batches=1, present=1, variation=VariationConfig(short_probability=0.3))
    never = cohort(volumes, batches=1, present=1, variation=VariationConfig(short_probability=0.0))
    short = []
    for index in range(90):
        anatomy, other = group.anatomy(index), never.anatomy(index)
        np.testing.assert_array_equal(anatomy.hu, other.hu)
        assert never.known_part(other) is other
        known = group.known_part(anatomy)
        short.append(known is not anatomy)
        lacking = (known.hu != anatomy.hu).any(axis=(0, 1))
        assert lacking.any() <= short[-1]
        assert (known.hu[:, :, lacking] == -1000).all()
    assert np.mean(short) == pytest.approx(0.3, abs=0.25)


@pytest.mark.parametrize("change", [{"present": 0}, {"batches": 0}, {"skeletons": 1.5}, {"voxel_mm": -1.0}])
def test_cohorts_that_are_none(change):
    with raises(UsageError, "anatomy.invalid-value", next(iter(change))):
        replace(CONFIG, **change)


def test_nobody_to_vary():
    with raises(UsageError, "anatomy.invalid-value", "CTs"):
        Cohort([], CONFIG, seed=0)
