"""Simulated X-rays against closed forms: slabs of one material, Poisson statistics, the area of a circle."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from isoclinic import Camera, UsageError, Volume
from isoclinic.simulation import SimulationConfig, simulate_xray, tube_spectrum
from raising import raises

CAMERA = Camera.from_pixel_spacing(width=64, height=48, pixel_spacing_mm=(1.0, 0.5), sdd_mm=1000.0)
CENTRE = np.s_[23:25, 31:33]
# Looking along the world's y axis from 600 mm in front.
AP = torch.tensor([[-1.0, 0, 0, 0], [0, 0, -1, 0], [0, -1, 0, 600], [0, 0, 0, 1]], dtype=torch.float64)
CLEAN = SimulationConfig(scatter_to_primary=0, blur_mm=0, photons_per_pixel=float("inf"), full_scale=1.0)

# NIST tables for 30 to 100 keV, typed in again: mu/rho [cm^2/g].
KEV = np.array([30.0, 40, 50, 60, 80, 100])
WATER = np.array([0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707])
BONE = np.array([1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855])
ALUMINIUM = np.array([1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704])


def per_mm(table: np.ndarray, density: float, kev: np.ndarray) -> np.ndarray:
    return np.exp(np.interp(np.log(kev), np.log(KEV), np.log(table))) * density / 10


def spectrum(kv: float, aluminium_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """Eight bins between 30 keV and the tube voltage: Kramers' law, filtered, energy-integrating."""
    kev = 30 + (kv - 30) * (np.arange(8) + 0.5) / 8
    share = (kv - kev) * np.exp(-per_mm(ALUMINIUM, 2.699, kev) * aluminium_mm)
    return kev, share / share.sum()


def slab(hu: float, thickness_mm: float = 100.0) -> Volume:
    """A slab across the whole view, `thickness_mm` along y, in voxels of 20 x 10 x 20 mm."""
    ny = round(thickness_mm / 10)
    affine = np.diag([20.0, 10.0, 20.0, 1.0])
    affine[:3, 3] = [-190, -5 * (ny - 1), -190]
    return Volume(hu=np.full((20, ny, 20), hu, dtype=np.float32), world_from_voxel=affine)


def simulate(volume: Volume, seed: int = 0, camera: Camera = CAMERA, **changes) -> np.ndarray:
    config = SimulationConfig(**{**vars(CLEAN), **changes})
    return simulate_xray(volume, camera, AP, config, generator=np.random.default_rng(seed)).pixels


def oblique(camera: Camera) -> np.ndarray:
    """Length of every pixel's ray over its extent along the axis."""
    return camera.rays().norm(dim=-1).numpy() / camera.sdd_mm


@pytest.mark.parametrize(("kv", "aluminium_mm"), [(60.0, 0.0), (90.0, 3.0), (100.0, 10.0)])
def test_spectrum_is_kramers_law_behind_aluminium(kv, aluminium_mm):
    found = tube_spectrum(SimulationConfig(tube_kv=kv, filtration_mm_al=aluminium_mm))
    kev, share = spectrum(kv, aluminium_mm)
    np.testing.assert_allclose(found.energy_kev, kev, rtol=1e-12)
    np.testing.assert_allclose(found.share, share, rtol=1e-9)


@pytest.mark.parametrize(
    ("hu", "at_energy"),
    [
        (0.0, lambda kev: per_mm(WATER, 1.0, kev)),
        # At 70 keV, where the CT measured it, a voxel of 700 HU attenuates 1.7 times as much as water: that
        # fixes its shares of water and bone.
        (
            700.0,
            lambda kev: (
                per_mm(WATER, 1.0, kev)
                + 0.7
                / (per_mm(BONE, 1.92, np.array(70.0)) / per_mm(WATER, 1.0, np.array(70.0)) - 1)
                * (per_mm(BONE, 1.92, kev) - per_mm(WATER, 1.0, kev))
            ),
        ),
    ],
)
@pytest.mark.parametrize("thickness_mm", [50.0, 200.0])
def test_every_energy_is_attenuated_by_its_own_coefficient(hu, at_energy, thickness_mm):
    """Voxels hold 16 bits: 2e-5 of the line integral, which is 8 at most; the kernel sums in float32."""
    kev, share = spectrum(CLEAN.tube_kv, CLEAN.filtration_mm_al)
    path_mm = thickness_mm * oblique(CAMERA)
    expected = (share * np.exp(-at_energy(kev) * path_mm[..., None])).sum(-1)
    np.testing.assert_allclose(simulate(slab(hu, thickness_mm)), expected, rtol=1e-3)


def test_soft_tissue_and_bone_harden_apart():
    """A ray through 100 mm of each."""
    both = Volume(
        hu=np.concatenate([slab(0.0).hu, slab(700.0).hu], axis=1),
        world_from_voxel=slab(0.0, 200.0).world_from_voxel,
    )
    kev, share = spectrum(CLEAN.tube_kv, CLEAN.filtration_mm_al)
    bone_share = 0.7 / (per_mm(BONE, 1.92, np.array(70.0)) / per_mm(WATER, 1.0, np.array(70.0)) - 1)
    water, bone = per_mm(WATER, 1.0, kev), per_mm(BONE, 1.92, kev)
    mu = water + (water + bone_share * (bone - water))
    expected = (share * np.exp(-mu * 100.0 * oblique(CAMERA)[..., None])).sum(-1)
    np.testing.assert_allclose(simulate(both), expected, rtol=1e-3)


def test_quanta_follow_poissons_law():
    """The variance of n pixels is known to sqrt(2 / n), 1.3 % here; five of those are allowed."""
    image = simulate(slab(-1000.0), camera=CAMERA.resize(height=96, width=128), photons_per_pixel=1e4)
    assert image.mean() == pytest.approx(1, abs=5e-2 / np.sqrt(image.size))
    assert image.var() * 1e4 == pytest.approx(1, abs=5 * np.sqrt(2 / image.size))


def test_blur_spreads_the_noise_it_finds():
    """White noise under a Gaussian of s pixels keeps 1 / (4 pi s_u s_v) of its variance, for s above 1.

    Blurred pixels are correlated over some ten of them: the variance of 4e4 is known to about 2 %.
    """
    camera = Camera.from_pixel_spacing(width=256, height=160, pixel_spacing_mm=(1.0, 0.5), sdd_mm=1000.0)
    image = simulate(slab(-1000.0), camera=camera, photons_per_pixel=1e4, blur_mm=1.0)
    assert image.var() * 1e4 == pytest.approx(1 / (4 * np.pi * 2.0 * 1.0), rel=0.1)


@pytest.mark.parametrize("scatter", [0.0, 0.1, 2.0])
def test_scatter_adds_its_share_and_fills_shadows(scatter):
    half = slab(0.0)
    half.hu[:10] = -1000
    primary = simulate(half)
    image = simulate(half, scatter_to_primary=scatter, scatter_range_mm=5.0)
    assert image.sum() == pytest.approx(primary.sum() * (1 + scatter), rel=1e-5)
    added = image - primary
    np.testing.assert_array_less(-1e-6, added)
    if scatter:
        # 5 mm are 10 columns: scatter from the open half fades in the shadow of the other one.
        row = added[24]
        bright, dark = (row[40], row[24]) if primary[24, -1] > primary[24, 0] else (row[24], row[40])
        assert bright > dark > 0.01 * bright


@pytest.mark.parametrize("gamma", [0.5, 1.0, 1.7])
def test_tone_curve_and_scale(gamma):
    linear, toned = simulate(slab(0.0)), simulate(slab(0.0), gamma=gamma, full_scale=4095.0)
    np.testing.assert_allclose(toned, 4095 * linear.astype(np.float64) ** gamma, rtol=1e-5)


def test_round_field_is_black_outside():
    """Pixels on the rim count by their share: the area is that of the circle to a pixel's width."""
    camera = Camera.from_pixel_spacing(width=128, height=128, pixel_spacing_mm=(0.5, 0.5), sdd_mm=1000.0)
    image = simulate(slab(-1000.0), camera=camera, field_radius_mm=20.0, photons_per_pixel=1e4)
    distance_mm = camera.rays()[..., :2].norm(dim=-1).numpy()
    assert (image[distance_mm > 20.3] == 0).all()
    assert (image[distance_mm < 19.7] > 0.9).all()
    assert image.sum() * 0.25 == pytest.approx(np.pi * 20**2, rel=5e-3)


def test_only_the_generator_decides():
    volume = slab(0.0)
    first, again = (simulate(volume, seed=1, photons_per_pixel=1e3) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, simulate(volume, seed=2, photons_per_pixel=1e3))
    generator = np.random.default_rng(0)
    simulate_xray(volume, CAMERA, AP, CLEAN, generator=generator)
    assert generator.integers(1 << 30) == np.random.default_rng(0).integers(1 << 30)


def test_the_xray_says_what_it_is():
    camera = CAMERA.crop(top=4, left=3, height=20, width=30)
    xray = simulate_xray(slab(0.0), camera, AP, generator=np.random.default_rng(0))
    assert xray.camera == camera
    assert (xray.polarity, xray.pixel_scale) == ("bright_air", "linear")
    assert xray.pixels.shape == (20, 30)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"tube_kv": 30.0}, ("simulation.invalid-value", "tube_kv")),
        ({"tube_kv": 151.0}, ("simulation.invalid-value", "tube_kv")),
        ({"blur_mm": -0.1}, ("simulation.invalid-value", "blur_mm")),
        ({"scatter_to_primary": float("nan")}, ("simulation.invalid-value", "scatter_to_primary")),
        ({"photons_per_pixel": 0.0}, ("simulation.invalid-value", "photons_per_pixel")),
        ({"field_radius_mm": -1.0}, ("simulation.invalid-value", "field_radius_mm")),
        ({"gamma": 0.0}, ("simulation.invalid-value", "gamma")),
    ],
)
def test_impossible_values(changes, fault):
    with raises(UsageError, *fault):
        SimulationConfig(**changes)
