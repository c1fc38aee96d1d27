"""Variations against their definition, voxel by voxel, and each effect on its own."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.interpolate import NdBSpline
from scipy.ndimage import gaussian_filter1d, map_coordinates
from scipy.spatial.transform import Rotation

from isoclinic import UsageError, Volume
from isoclinic.anatomy import Variation, VariationConfig, draw_variation, vary
from isoclinic.anatomy.variation import cut_short, draw_short
from raising import raises

SHAPE = (14, 11, 9)
STILL = VariationConfig(
    turn_deg=0.0,
    tumble_probability=0.0,
    mirror_probability=0.0,
    scale=(1.0, 1.0),
    stretch=(1.0, 1.0),
    shift_mm=0.0,
    bend_mm=0.0,
    bone=(1.0, 1.0),
    soft_tissue_hu=(0.0, 0.0),
    blur_mm=0.0,
    cut_probability=0.0,
)


def volume(spacing_mm=(2.0, 3.0, 2.5), *, seed: int = 0) -> Volume:
    """Noise between air and bone, on an oblique grid with a mirrored axis."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_rotvec([0.2, -0.4, 0.1]).as_matrix() * (-spacing_mm[0], *spacing_mm[1:])
    affine[:3, 3] = (7.0, -30.0, 12.0)
    hu = np.random.default_rng(seed).uniform(-1000, 1500, SHAPE).astype(np.float32)
    return Volume(hu=hu, world_from_voxel=affine, labels=np.ones(SHAPE, np.uint8), label_names={1: "all"})


def drawn(config: VariationConfig, of: Volume, seed: int = 0) -> Variation:
    return draw_variation(config, of, np.random.default_rng(seed))


def only(**changes) -> VariationConfig:
    return replace(STILL, **changes)


def test_nothing_changed_is_the_same_ct():
    before = volume()
    after = vary(before, drawn(STILL, before))
    # Coordinates in float32: 1e-6 of some 14 voxels, times steps of 2500 HU between voxels.
    np.testing.assert_allclose(after.hu, before.hu, atol=0.1)
    np.testing.assert_array_equal(after.world_from_voxel, before.world_from_voxel)
    assert after.labels is None and not after.label_names


@pytest.mark.parametrize("seed", range(3))
def test_geometry_is_that_of_its_definition(seed):
    """Every voxel looked up on its own: through the world, with scipy's splines, in float64."""
    before = volume()
    config = only(
        turn_deg=40.0, mirror_probability=0.5, scale=(0.7, 1.4), stretch=(0.8, 1.2), shift_mm=6.0, bend_mm=4.0
    )
    variation = drawn(replace(config, bend_spacing_mm=12.0), before, seed)
    affine, centre = before.world_from_voxel, before.isocentre_world
    voxels = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), -1).reshape(-1, 3)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    pieces = [count - 3 for count in variation.bend_mm.shape[:3]]
    knots = tuple(np.arange(-3.0, n + 4) for n in pieces)
    spline = NdBSpline(knots, variation.bend_mm, 3)
    places = voxels * np.array(pieces) / (np.array(SHAPE) - 1)
    source = centre + (world - centre) @ variation.linear.T + variation.shift_mm + spline(places)
    inverse = np.linalg.inv(affine)
    source = source @ inverse[:3, :3].T + inverse[:3, 3]
    expected = map_coordinates(
        before.hu.astype(np.float64), source.T, order=1, mode="grid-constant", cval=-1000.0
    )
    # As above, in float32.
    np.testing.assert_allclose(vary(before, variation).hu.reshape(-1), expected, atol=1.0)


def test_a_larger_patient_is_larger_and_a_mirrored_one_has_his_heart_on_the_right():
    """A ball beside the centre: its radius and place grow by the factor; then it is on the other side."""
    axis = np.arange(-30.0, 31.0, 1.5)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    hu = np.where((x + 10) ** 2 + y**2 + z**2 < 8**2, 1000.0, -1000.0).astype(np.float32)
    affine = np.diag([1.5, 1.5, 1.5, 1.0])
    affine[:3, 3] = axis[0]
    before = Volume(hu=hu, world_from_voxel=affine)
    for mirrored, side in ((0.0, -1), (1.0, 1)):
        config = only(scale=(1.4, 1.4), mirror_probability=mirrored)
        inside = vary(before, drawn(config, before)).hu > 0
        # Voxels of 1.5 mm are partly inside: half a voxel in place, a tenth in volume.
        assert np.mean(x[inside]) == pytest.approx(14 * side, abs=0.75)
        assert np.sum(inside) * 1.5**3 == pytest.approx(4 / 3 * math.pi * (1.4 * 8) ** 3, rel=0.1)


def test_tissues_change_by_their_formula():
    before = volume()
    after = vary(before, replace(drawn(STILL, before), bone=1.3, soft_tissue_hu=30.0)).hu
    hu = vary(before, drawn(STILL, before)).hu
    for low, high, expected in (
        (-1000, -400, hu),
        (-200, 150, hu + 30),
        (250, 1500, 150 + 1.3 * (hu - 150)),
    ):
        chosen = (hu > low) & (hu < high)
        assert chosen.sum() > 20
        np.testing.assert_allclose(after[chosen], expected[chosen], atol=1e-2)
    # In between it is continuous: no step is larger than the slopes times that of the input.
    order = np.argsort(hu, axis=None)
    before_step, after_step = (np.diff(values.reshape(-1)[order]) for values in (hu, after))
    seen = before_step > 0.5
    assert (after_step[seen] < 1.35 * before_step[seen]).all()
    assert (after_step[seen] > 0.65 * before_step[seen]).all()


@pytest.mark.parametrize("axis", range(3))
def test_thick_slices_are_blurred_along_an_axis(axis):
    before = volume()
    variation = replace(drawn(STILL, before), blur_axis=axis, blur_mm=3.0)
    deviation = 3.0 / before.spacing_mm[axis]
    expected = gaussian_filter1d(vary(before, drawn(STILL, before)).hu, deviation, axis=axis, mode="nearest")
    np.testing.assert_array_equal(vary(before, variation).hu, expected)


def test_what_is_cut_off_is_air():
    before = volume()
    cut = np.array([[0.2, 0.0], [0.0, 0.3], [0.0, 0.0]])
    after = vary(before, replace(drawn(STILL, before), cut=cut)).hu
    kept = vary(before, drawn(STILL, before)).hu[3:, :8]
    np.testing.assert_array_equal(after[3:, :8], kept)
    assert (after[:3] == -1000).all() and (after[:, 8:] == -1000).all()


@pytest.mark.parametrize("upright", [0, 2])
def test_a_short_ct_lacks_the_ends_of_the_patient(upright):
    """Along the axis of the grid that runs from feet to head, whichever it is; the grid remains."""
    before = volume()
    order = [1, 2, 0] if upright == 0 else [0, 1, 2]
    affine = np.eye(4)
    affine[:3, :3] = np.diag((2.0, 3.0, -2.5))[:, order]
    before = replace(before, world_from_voxel=affine, labels=None, label_names={})
    assert np.argmax(abs(affine[2, :3])) == (1 if upright == 0 else 2)
    after = np.moveaxis(cut_short(before, (0.2, 0.4)).hu, 1 if upright == 0 else 2, 0)
    whole = np.moveaxis(before.hu, 1 if upright == 0 else 2, 0)
    # 0.2 and 0.4 of 11 voxels are two and four, of nine too.
    assert (after[:2] == -1000).all() and (after[-4:] == -1000).all()
    np.testing.assert_array_equal(after[2:-4], whole[2:-4])
    assert cut_short(before, (0.2, 0.4)).isocentre_world == pytest.approx(before.isocentre_world)


def test_which_ends_are_missing_how_often():
    """Five standard deviations of a share of 600 are at most 0.1."""
    config = VariationConfig(short_probability=0.6, short=(0.1, 0.3))
    drawn_ends = np.array([draw_short(config, np.random.default_rng([seed, 5])) for seed in range(600)])
    missing = drawn_ends > 0
    for pattern, share in (((0, 0), 0.4), ((1, 0), 0.2), ((0, 1), 0.2), ((1, 1), 0.2)):
        assert (missing == pattern).all(axis=1).mean() == pytest.approx(share, abs=0.1)
    assert 0.1 <= drawn_ends[missing].min() < 0.12 and 0.28 < drawn_ends.max() <= 0.3


def test_draws_stay_in_their_ranges_and_follow_the_generator():
    before, config = volume(), VariationConfig(tumble_probability=0.0)
    variations = [drawn(config, before, seed) for seed in range(200)]
    assert np.array_equal(variations[3].bend_mm, drawn(config, before, 3).bend_mm)
    determinants = np.array([np.linalg.det(each.linear) for each in variations])
    assert 0.35 < (determinants < 0).mean() < 0.65  # half are mirrored: within four deviations of 1 in 28
    for each in variations:
        sizes = 1 / np.linalg.svd(each.linear, compute_uv=False)
        assert sizes.min() > 0.8 * 0.88 - 1e-9 and sizes.max() < 1.25 * 1.14 + 1e-9
        assert 0.6 <= each.bone <= 1.4 and -40 <= each.soft_tissue_hu <= 40 and 0 <= each.blur_mm <= 2
        assert abs(each.shift_mm).max() <= 30 and each.cut.max() <= 0.25
    turns = [
        Rotation.from_matrix(each.linear / np.linalg.norm(each.linear, axis=0)).magnitude()
        for each, determinant in zip(variations, determinants, strict=True)
        if determinant > 0
    ]
    assert math.radians(12) < max(turns) <= math.radians(15) + 1e-9
    bends = np.concatenate([each.bend_mm.reshape(-1) for each in variations])
    assert bends.std() == pytest.approx(8.0, rel=0.03)  # 2e4 draws: 0.5 %


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (1.2, 0.8)},
        {"stretch": (0.0, 1.0)},
        {"bone": (-1.0, 1.0)},
        {"soft_tissue_hu": (0.0, math.inf)},
        {"mirror_probability": 1.1},
        {"short_probability": 1.1},
        {"short": (0.1, 0.5)},
        {"cut": 0.5},
        {"turn_deg": -1.0},
        {"bend_spacing_mm": 0.0},
    ],
)
def test_variations_that_are_none(change):
    with raises(UsageError, "anatomy.invalid-value", next(iter(change))):
        replace(VariationConfig(), **change)
