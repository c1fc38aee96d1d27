"""Hounsfield units to linear attenuation, for a beam of another energy than the CT scanner's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import UsageError
from .config import Material

# Hubbell & Seltzer, Tables of X-Ray Mass Attenuation Coefficients (NISTIR 5632, version 1.4, 2004,
# doi:10.18434/T4D01F), table 4: total mu/rho [cm^2/g] with coherent scattering, and density [g/cm^3].
_ENERGY_KEV = np.array([30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0])
_WATER_CM2_PER_G = np.array([0.3756, 0.2683, 0.2269, 0.2059, 0.1837, 0.1707, 0.1505])
_WATER_G_PER_CM3 = 1.0
_CORTICAL_BONE_CM2_PER_G = np.array([1.331, 0.6655, 0.4242, 0.3148, 0.2229, 0.1855, 0.1480])  # ICRU-44
_CORTICAL_BONE_G_PER_CM3 = 1.92
_PER_CM_IN_PER_MM = 0.1


@dataclass(frozen=True, kw_only=True)
class AttenuationConfig:
    """Settings that say how Hounsfield units are converted to attenuation.

    Attributes:
        beam_energy_kev: effective energy of the X-ray beam [keV], 30 to 150; a lower one makes bone stand out
            more. 60 keV is about what a patient leaves of a 100 kV beam.
        scanner_energy_kev: effective energy of the CT that measured the Hounsfield units [keV], 30 to 150;
            70 keV is usual at 120 kV.
        bone_from_hu: Hounsfield units up to which a voxel is all soft tissue.
        bone_to_hu: Hounsfield units from which a voxel is all bone.

    Raises:
        UsageError: an energy outside 30 to 150 keV, or bone_to_hu not above bone_from_hu.
    """

    beam_energy_kev: float = 60.0
    scanner_energy_kev: float = 70.0
    bone_from_hu: float = 100.0
    bone_to_hu: float = 300.0

    def __post_init__(self) -> None:
        for name in ("beam_energy_kev", "scanner_energy_kev"):
            if not _ENERGY_KEV[0] <= getattr(self, name) <= _ENERGY_KEV[-1]:
                raise UsageError(
                    f"{name} must lie between 30 and 150 keV, not {getattr(self, name)}",
                    code="rendering.invalid-value",
                )
        if not self.bone_from_hu < self.bone_to_hu:
            raise UsageError(
                f"bone_to_hu ({self.bone_to_hu}) must exceed bone_from_hu ({self.bone_from_hu})",
                code="rendering.invalid-value",
            )


def mu_from_hu(hu: NDArray[np.generic], config: AttenuationConfig | None = None) -> NDArray[np.float32]:
    """Linear attenuation [1/mm], float32, of Hounsfield units of any shape.

    Bilinear, as in PET attenuation correction (Carney et al. 2006, Med. Phys. 33(4):976). Up to 0 HU a voxel
    is water diluted with air: mu = mu_water (1 + HU / 1000), not below zero. Above, it is a mixture by volume
    of water and cortical bone, which the scanner's energy puts at HU_bone = 1000 (mu_bone / mu_water - 1), so
    mu = mu_water + HU / HU_bone (mu_bone - mu_water) at the beam's energy. Voxels denser than cortical bone
    (metal) continue on that line.
    """
    config = AttenuationConfig() if config is None else config
    scanner_water, scanner_bone = _water_and_bone(config.scanner_energy_kev)
    water, bone = _water_and_bone(config.beam_energy_kev)
    above = np.float32((bone - water) / (scanner_bone / scanner_water - 1))
    thousands = np.asarray(hu, dtype=np.float32) * np.float32(1e-3)
    below = np.float32(water) * (1 + np.clip(thousands, -1, 0))
    return below + above * np.maximum(thousands, 0)


def split_materials(
    hu: NDArray[np.generic], config: AttenuationConfig | None = None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Soft-tissue and bone attenuation [1/mm], float32, which add up to `mu_from_hu` to rounding.

    The share of bone rises smoothly (3 t^2 - 2 t^3) between `bone_from_hu` and `bone_to_hu`: contrast-free
    soft tissue ends below 100 HU and cortical bone begins near 300 HU (Schneider, Bortfeld & Schlegel 2000,
    Phys. Med. Biol. 45:459, put the lightest bone at 100 HU), and a ramp leaves no edge inside partly filled
    voxels.
    """
    config = AttenuationConfig() if config is None else config
    mu = mu_from_hu(hu, config)
    width = config.bone_to_hu - config.bone_from_hu
    ramp = (np.asarray(hu, dtype=np.float32) - np.float32(config.bone_from_hu)) * np.float32(1 / width)
    ramp = np.clip(ramp, 0, 1)
    bone = mu * (ramp * ramp * (3 - 2 * ramp))
    return mu - bone, bone


def attenuation_of(
    hu: NDArray[np.generic], material: Material = "all", config: AttenuationConfig | None = None
) -> NDArray[np.float32]:
    """Linear attenuation [1/mm], float32, of all that Hounsfield units stand for or of one component of it.

    Args:
        hu: Hounsfield units of any shape.
        material: all of it, or the component to keep (`split_materials`).
        config: how they are converted.

    Raises:
        UsageError: an unknown material.
    """
    if material == "all":
        return mu_from_hu(hu, config)
    if material not in ("soft_tissue", "bone"):
        raise UsageError(
            f"material must be all, soft_tissue or bone, not {material!r}", code="ct.invalid-value"
        )
    soft_tissue, bone = split_materials(hu, config)
    return bone if material == "bone" else soft_tissue


def _water_and_bone(energy_kev: float) -> tuple[float, float]:
    """Linear attenuation [1/mm] of water and cortical bone, interpolated in log-log as NIST advises."""

    def at(cm2_per_g: NDArray[np.float64], g_per_cm3: float) -> float:
        log_mu = np.interp(np.log(energy_kev), np.log(_ENERGY_KEV), np.log(cm2_per_g))
        return float(np.exp(log_mu)) * g_per_cm3 * _PER_CM_IN_PER_MM

    return at(_WATER_CM2_PER_G, _WATER_G_PER_CM3), at(_CORTICAL_BONE_CM2_PER_G, _CORTICAL_BONE_G_PER_CM3)
