"""What the kernels read: quantised attenuation, averaged over blocks, with an empty border."""

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from isoclinic.errors import InputError, UsageError
from isoclinic.rendering import pack, render
from isoclinic.volumes import Volume
from raising import raises

from .scenes import CAMERA, affine, labelled_volume, noise_volume, pose

FACTORS = [(1, 1, 1), (2, 2, 1), (2, 3, 4), (5, 4, 3), (12, 10, 14), (1, 7, 1)]


def block_sums(mu: np.ndarray, factors: tuple[int, int, int]) -> np.ndarray:
    """Sums over blocks, one block at a time."""
    counts = [-(-n // f) for n, f in zip(mu.shape, factors, strict=True)]
    sums = np.empty(counts)
    for index in np.ndindex(*counts):
        window = tuple(slice(i * f, (i + 1) * f) for i, f in zip(index, factors, strict=True))
        sums[index] = mu[window].astype(np.float64).sum()
    return sums


@pytest.mark.parametrize("factors", FACTORS)
def test_voxels_are_block_means_to_half_a_stored_unit(factors):
    """Beyond the volume a block is empty. float32 means add a rounding of 2^-24 for each of their terms."""
    volume = noise_volume()
    packed = pack(volume, factors)
    mu = volume.attenuation()
    expected = block_sums(mu, factors) / np.prod(factors)
    dense = packed.dense(torch.float64).numpy()
    assert packed.size == tuple(n + 2 for n in expected.shape) == dense.shape
    rounding = sum(factors) * 2.0**-24 * mu.max()
    assert np.abs(dense[1:-1, 1:-1, 1:-1] - expected).max() <= packed.scale_per_mm / 2 + rounding
    border = dense.copy()
    border[1:-1, 1:-1, 1:-1] = 0
    assert not border.any()


@pytest.mark.parametrize("factors", FACTORS)
def test_each_word_holds_its_voxel_and_the_next(factors):
    packed = pack(noise_volume(), factors)
    words = packed.words[:, :, : packed.size[2]]
    assert np.array_equal(words[..., :-1] >> 16, words[..., 1:] & 0xFFFF)
    assert not (words[..., -1] >> 16).any()
    assert packed.words.dtype == np.uint32


@pytest.mark.parametrize("factors", FACTORS)
def test_the_border_is_the_outermost_layers_and_is_kept(factors):
    packed = pack(noise_volume(), factors)
    inner = np.zeros(packed.size, bool)
    inner[2:-2, 2:-2, 2:-2] = True
    expected = np.where(inner, 0.0, packed.dense(torch.float64).numpy())
    border = packed.border()
    assert np.array_equal(border.dense(torch.float64).numpy(), expected)
    low, high = border.words & np.uint32(0xFFFF), border.words >> np.uint32(16)
    low, high = low[:, :, : packed.size[2]], high[:, :, : packed.size[2]]
    assert np.array_equal(high[:, :, :-1], low[:, :, 1:]) and not high[:, :, -1].any()
    assert packed.border() is border


@pytest.mark.parametrize("material", ["all", "soft_tissue", "bone"])
@pytest.mark.parametrize("factors", [*FACTORS, (2, 1, 9), (3, 3, 3)])
@pytest.mark.parametrize("densest_hu", [1500, 32767])
def test_whole_numbers_are_packed_as_the_same_numbers_in_floating_point(densest_hu, factors, material):
    """They are looked up in one compiled pass; numpy takes sums of eight terms or more in another order."""
    hu = np.rint(noise_volume().hu)
    hu[3, 4, 5], hu[0, 0, 0] = densest_hu, -32768
    floating = noise_volume()
    floating, whole = (replace(floating, hu=hu.astype(dtype)) for dtype in (np.float32, np.int16))
    one, other = (pack(volume, factors, material=material) for volume in (floating, whole))
    assert one.size == other.size and one.scale_per_mm == other.scale_per_mm
    assert np.array_equal(one.voxel_from_world, other.voxel_from_world)
    low, other_low = ((each.words & np.uint32(0xFFFF)).astype(int) for each in (one, other))
    assert np.abs(low - other_low).max() <= (1 if factors[2] >= 8 else 0)
    assert other_low.max() > 100
    words = other.words[:, :, : other.size[2]]
    assert np.array_equal(words[..., :-1] >> 16, words[..., 1:] & 0xFFFF)
    assert not (words[..., -1] >> 16).any()


@pytest.mark.parametrize("slices", [1, 13, 14, 15, 29, 30, 31, 46, 47, 133])
def test_rows_begin_at_cache_lines_and_are_odd_numbers_of_them(slices):
    """Rows of even numbers of lines, at worst of a power of two, would displace each other from caches."""
    hu = np.full((3, 4, slices), 100, dtype=np.int16)
    packed = pack(Volume(hu=hu, world_from_voxel=affine()))
    assert packed.size == (5, 6, slices + 2)
    assert packed.words.ctypes.data % 64 == 0 and packed.words.flags.c_contiguous
    row_bytes = packed.words.strides[1]
    assert row_bytes % 64 == 0 and row_bytes // 64 % 2 == 1
    assert slices + 2 <= packed.words.shape[2] < slices + 2 + 32
    assert not packed.words[:, :, packed.size[2] :].any()
    assert packed.border().words.shape == packed.words.shape and packed.border().words.ctypes.data % 64 == 0


def test_more_voxels_than_an_index_reaches_are_refused(monkeypatch):
    """By a made-up limit, as the true one takes 8 GB: 5 x 6 rows of one cache line are at it."""
    monkeypatch.setattr("isoclinic.rendering._pack._MOST_WORDS", 5 * 6 * 16)
    pack(Volume(hu=np.zeros((3, 4, 14), dtype=np.int16), world_from_voxel=affine()))
    with raises(InputError, "ct.too-large", "5 x 6 x 17", "`voxel_mm`"):
        pack(Volume(hu=np.zeros((3, 4, 15), dtype=np.int16), world_from_voxel=affine()))


def test_the_range_of_16_bits_is_used():
    volume = noise_volume()
    packed = pack(volume)
    assert (packed.words & 0xFFFF).max() == 65535
    assert packed.scale_per_mm == pytest.approx(volume.attenuation().max() / 65535, rel=1e-6)


@pytest.mark.parametrize("factors", FACTORS)
def test_packed_voxels_stay_where_their_block_is(factors):
    volume = noise_volume(world_from_voxel=affine((2, 0, 1), (-1, 1, 1)))
    packed = pack(volume, factors)
    for index in [(0, 0, 0), (0, 0, 1)]:
        centre = [f * i + (f - 1) / 2 for f, i in zip(factors, index, strict=True)]
        world = volume.world_from_voxel @ [*centre, 1]
        assert packed.voxel_from_world @ world == pytest.approx([i + 1 for i in index] + [1], abs=1e-9)


@pytest.mark.parametrize("material", ["soft_tissue", "bone"])
def test_materials_add_up(material):
    volume = labelled_volume()
    dense = pack(volume, material=material).dense(torch.float64).numpy()[1:-1, 1:-1, 1:-1]
    assert np.abs(dense - volume.attenuation(material=material)).max() <= pack(volume).scale_per_mm * 0.5001
    assert dense.any()


def test_structures_are_cut_out_where_they_are():
    volume = labelled_volume()
    packed = pack(volume, structures=("tibia",))
    assert packed.size == (6 + 2, 4 + 2, 5 + 2)
    assert packed.voxel_from_world @ volume.world_from_voxel @ [5, 2, 7, 1] == pytest.approx([1, 1, 1, 1])
    dense = packed.dense(torch.float64).numpy()[1:-1, 1:-1, 1:-1]
    assert np.abs(dense - volume.attenuation()[5:11, 2:6, 7:12]).max() <= packed.scale_per_mm * 0.5001


@pytest.mark.parametrize("hu", [-1000.0, -2000.0])
def test_a_volume_of_air_is_empty(hu):
    volume = Volume(hu=np.full((3, 4, 5), hu, dtype=np.float32), world_from_voxel=affine())
    assert not pack(volume).words.any()
    assert not render(volume, CAMERA, pose(volume)).any()


@pytest.mark.slow
def test_levels_are_kept_while_the_volume_lives():
    volume = labelled_volume()
    packed = pack(volume, (2, 2, 1))
    assert pack(volume, (2, 2, 1)) is packed
    others = [
        pack(volume),
        pack(volume, (2, 2, 1), material="bone"),
        pack(volume, (2, 2, 1), structures=(1,)),
        pack(labelled_volume(), (2, 2, 1)),
    ]
    assert all(other is not packed for other in others)
    alive = weakref.ref(packed)
    del volume, packed, others
    gc.collect()
    assert alive() is None


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"structures": ("fibula",)}, ("labels.structure-missing", "fibula")),
        ({"structures": (9,)}, ("labels.structure-missing", "9")),
        ({"material": "metal"}, ("ct.invalid-value", "metal")),
    ],
)
def test_unknown_parts_are_named(options, fault):
    with raises(UsageError, *fault):
        pack(labelled_volume(), **options)


def test_structures_need_labels():
    with raises(UsageError, "labels.missing", "`labels`"):
        pack(noise_volume(), structures=(1,))
