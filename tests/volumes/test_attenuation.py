"""Hounsfield units to attenuation against the tabulated coefficients."""

import numpy as np
import pytest

from isoclinic.errors import UsageError
from isoclinic.volumes import AttenuationConfig, mu_from_hu, split_materials
from raising import raises

# NISTIR 5632, table 4: mu/rho [cm^2/g] of liquid water and ICRU-44 cortical bone (1.92 g/cm^3), by keV.
WATER = {40: 0.2683, 60: 0.2059, 80: 0.1837, 100: 0.1707}
BONE = {40: 0.6655, 60: 0.3148, 80: 0.2229, 100: 0.1855}
EVERY_HU = np.arange(-32768, 32768, dtype=np.int16)


@pytest.mark.parametrize("beam", WATER)
@pytest.mark.parametrize("scanner", WATER)
def test_air_water_and_cortical_bone_have_their_tabulated_attenuation(beam: int, scanner: int) -> None:
    bone_hu = 1000 * (1.92 * BONE[scanner] / WATER[scanner] - 1)
    config = AttenuationConfig(beam_energy_kev=beam, scanner_energy_kev=scanner)
    mu = mu_from_hu(np.array([-1000, -500, 0, bone_hu / 2, bone_hu], dtype=np.float32), config)
    per_mm = 0.1
    water, bone = WATER[beam] * per_mm, 1.92 * BONE[beam] * per_mm
    # float32 arithmetic
    np.testing.assert_allclose(mu, [0, water / 2, water, (water + bone) / 2, bone], rtol=1e-6)


def test_default_energies() -> None:
    mu = mu_from_hu(np.array([0, 1000], dtype=np.int16))
    # By hand: log-log interpolation to 70 keV gives water 0.1937 and bone 0.2616 cm^2/g, which puts bone at
    # 1593 HU, and mu(1000 HU) = 0.02059 + (0.06044 - 0.02059) / 1.593 = 0.0456 / mm.
    assert mu[0] == pytest.approx(0.02059, rel=1e-6)
    assert mu[1] == pytest.approx(0.0456, rel=1e-3)


def test_same_energy_is_the_definition_of_hounsfield_units() -> None:
    config = AttenuationConfig(beam_energy_kev=80, scanner_energy_kev=80)
    hu = np.linspace(-1000, 3000, 41)
    np.testing.assert_allclose(mu_from_hu(hu, config), 0.01837 * (1 + hu / 1000), rtol=2e-6, atol=1e-9)


def test_softer_beams_make_bone_stand_out() -> None:
    ratios = []
    for energy in (30.0, 45.0, 60.0, 90.0, 150.0):
        water, bone = mu_from_hu(np.array([0.0, 1500.0]), AttenuationConfig(beam_energy_kev=energy))
        ratios.append(bone / water)
    assert ratios == sorted(ratios, reverse=True)


def test_every_value_is_finite_not_negative_and_ordered() -> None:
    mu = mu_from_hu(EVERY_HU)
    assert mu.dtype == np.float32
    assert (mu[EVERY_HU <= -1000] == 0).all()
    assert (np.diff(mu[EVERY_HU >= -1000]) > 0).all()
    np.testing.assert_array_equal(mu, mu_from_hu(EVERY_HU.astype(np.float32)))


def test_materials_add_up() -> None:
    soft_tissue, bone = split_materials(EVERY_HU)
    assert soft_tissue.dtype == bone.dtype == np.float32
    # mu - bone and the sum each round once.
    np.testing.assert_allclose(soft_tissue + bone, mu_from_hu(EVERY_HU), rtol=1.2e-7)
    assert (soft_tissue >= 0).all() and (bone >= 0).all()


def test_materials_between_the_thresholds() -> None:
    config = AttenuationConfig(bone_from_hu=100, bone_to_hu=300)
    hu = np.array([99, 100, 150, 200, 250, 300, 301])
    soft_tissue, bone = split_materials(hu, config)
    share = bone / (soft_tissue + bone)
    # 3 t^2 - 2 t^3 at t = 1/4, 1/2, 3/4
    np.testing.assert_allclose(share, [0, 0, 5 / 32, 1 / 2, 27 / 32, 1, 1], atol=2e-7)


@pytest.mark.parametrize(
    "values",
    [
        {"beam_energy_kev": 29.9},
        {"beam_energy_kev": 151.0},
        {"scanner_energy_kev": 0.0},
        {"scanner_energy_kev": float("nan")},
        {"bone_from_hu": 300.0},
    ],
)
def test_impossible_configs_are_refused(values: dict[str, float]) -> None:
    with raises(UsageError, "rendering.invalid-value", next(iter(values))):
        AttenuationConfig(**values)
