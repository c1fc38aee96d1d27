"""From the line integrals of two materials to detector pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from ..errors import UsageError
from ..geometry import Camera
from ..rendering import RenderConfig, render
from ..volumes import AttenuationConfig, Material, Volume, XRay, mu_from_hu

Image = NDArray[np.float64]

# Total mu/rho [cm^2/g] of aluminium, Hubbell & Seltzer (NISTIR 5632), table 3, and its density [g/cm^3].
_ENERGY_KEV = np.array([30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 150.0])
_ALUMINIUM_CM2_PER_G = np.array([1.128, 0.5685, 0.3681, 0.2778, 0.2018, 0.1704, 0.1378])
_ALUMINIUM_G_PER_CM3 = 2.699
_ENERGIES = 8
# The attenuation of a voxel is a mixture of water's and cortical bone's. Hardening is computed for this one,
# between cancellous (300 HU) and cortical bone (1500 HU).
_TYPICAL_BONE_HU = 700.0


@dataclass(frozen=True, kw_only=True)
class SimulationConfig:
    """The X-ray unit and its detector. A value of 0 leaves that effect out, unless it says otherwise.

    Attributes:
        tube_kv: tube voltage [kV], above 30 and up to 150.
        filtration_mm_al: filtration of the beam [mm of aluminium].
        scatter_to_primary: scattered over primary signal in the whole image; where the patient is dense it is
            several times that. A tenth is what a grid leaves.
        scatter_range_mm: standard deviation of the scatter's spread on the detector [mm].
        photons_per_pixel: quanta that the open beam gives a pixel; infinite for no noise.
        blur_mm: standard deviation of the detector's blur [mm].
        field_radius_mm: radius of a round field on the detector, about the central ray, beyond which the
            image is black, as that of an image intensifier [mm]; None for a field as large as the image.
        gamma: exponent of the tone curve from signal to pixel value; 1 is linear.
        full_scale: pixel value of the open beam.

    Raises:
        UsageError: a value outside its range.
    """

    tube_kv: float = 90.0
    filtration_mm_al: float = 3.0
    scatter_to_primary: float = 0.1
    scatter_range_mm: float = 40.0
    photons_per_pixel: float = 2e4
    blur_mm: float = 0.3
    field_radius_mm: float | None = None
    gamma: float = 1.0
    full_scale: float = 4095.0

    def __post_init__(self) -> None:
        if not 30 < self.tube_kv <= 150:
            raise UsageError(
                f"tube_kv must lie above 30 and not above 150 kV, not {self.tube_kv}",
                code="simulation.invalid-value",
            )
        for name in ("filtration_mm_al", "scatter_to_primary", "scatter_range_mm", "blur_mm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(
                    f"{name} must be zero or a positive number, not {getattr(self, name)}",
                    code="simulation.invalid-value",
                )
        for name in ("photons_per_pixel", "field_radius_mm", "gamma", "full_scale"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise UsageError(
                    f"{name} must be positive, not {getattr(self, name)}", code="simulation.invalid-value"
                )


class Spectrum(NamedTuple):
    """The spectrum of a beam as an energy-integrating detector measures it.

    Attributes:
        energy_kev: [E], centres of equally wide bins.
        share: [E], of the detector's signal in the open beam; sum 1.
    """

    energy_kev: Image
    share: Image


_DEFAULT = SimulationConfig()


def simulate_xray(
    volume: Volume,
    camera: Camera,
    camera_from_world: Any,
    config: SimulationConfig = _DEFAULT,
    *,
    generator: np.random.Generator,
) -> XRay:
    """Simulate the image that a flat detector takes of the CT; it is bright where the beam arrives.

    Soft tissue and bone are integrated exactly (Siddon, the CT's own voxels) and attenuate every energy of
    the spectrum by their own coefficients. Scatter is the blurred primary signal (Seibert & Boone 1988, Med.
    Phys. 15:567); quanta arrive by Poisson's law, and the detector's blur spreads what they leave.

    Args:
        volume: the CT.
        camera: the camera of the detector.
        camera_from_world: [4, 4].
        config: settings of the X-ray unit.
        generator: the generator of the noise; advanced only where there is any.

    Raises:
        InputError: a pose that is not rigid.
    """
    soft_tissue = _line_integrals(volume, camera, camera_from_world, "soft_tissue")
    bone = _line_integrals(volume, camera, camera_from_world, "bone")
    signal = _transmission(soft_tissue, bone, tube_spectrum(config))
    pixel_mm = np.array(camera.pixel_spacing_mm)
    if config.scatter_to_primary:
        veil = gaussian_filter(signal, config.scatter_range_mm / pixel_mm, mode="constant")
        signal = signal + config.scatter_to_primary * veil * (signal.sum() / max(veil.sum(), 1e-12))
    if math.isfinite(config.photons_per_pixel):
        signal = generator.poisson(signal * config.photons_per_pixel) / config.photons_per_pixel
    signal = gaussian_filter(signal, config.blur_mm / pixel_mm, mode="nearest") * _field(camera, config)
    return XRay(
        pixels=(config.full_scale * signal**config.gamma).astype(np.float32),
        camera=camera,
        polarity="bright_air",
        pixel_scale="linear",
        provenance=dict.fromkeys(("sdd_mm", "pixel_spacing_mm", "principal_point_px"), "simulation"),
    )


def tube_spectrum(config: SimulationConfig = _DEFAULT) -> Spectrum:
    """Bremsstrahlung of a filtered tube: the detector's signal by energy, without characteristic lines.

    Kramers (1923, Phil. Mag. 46:836): a thick target gives (kV - E) / E photons of energy E. Each counts by
    the energy it deposits, E. Aluminium takes away the soft end; what comes below 30 keV the patient absorbs.
    """
    edges = np.linspace(_ENERGY_KEV[0], config.tube_kv, _ENERGIES + 1)
    energy = (edges[:-1] + edges[1:]) / 2
    log_mu = np.interp(np.log(energy), np.log(_ENERGY_KEV), np.log(_ALUMINIUM_CM2_PER_G))
    filtered_mm = np.exp(log_mu) * _ALUMINIUM_G_PER_CM3 * 0.1 * config.filtration_mm_al
    signal = (config.tube_kv - energy) * np.exp(-filtered_mm)
    return Spectrum(energy_kev=energy, share=signal / signal.sum())


def _line_integrals(volume: Volume, camera: Camera, camera_from_world: Any, material: Material) -> Image:
    config = RenderConfig(method="siddon", voxel_mm="full", material=material)
    image: Image = render(volume, camera, camera_from_world, config)[0].cpu().double().numpy()
    return image


def _transmission(soft_tissue: Image, bone: Image, spectrum: Spectrum) -> Image:
    """Share of the open beam's signal that passes line integrals given at the renderer's energy."""
    transmitted = np.zeros_like(soft_tissue)
    reference = _soft_tissue_and_bone(AttenuationConfig().beam_energy_kev)
    for energy, share in zip(*spectrum, strict=True):
        of_soft_tissue, of_bone = _soft_tissue_and_bone(energy) / reference
        transmitted += share * np.exp(-(soft_tissue * of_soft_tissue + bone * of_bone))
    return transmitted


def _soft_tissue_and_bone(energy_kev: float) -> NDArray[np.float32]:
    """Attenuation [2] [1/mm] of water and of bone of a typical density."""
    hu = np.array([0.0, _TYPICAL_BONE_HU])
    return mu_from_hu(hu, AttenuationConfig(beam_energy_kev=float(energy_kev)))


def _field(camera: Camera, config: SimulationConfig) -> Image:
    """Share of every pixel inside the field, [H, W]."""
    if config.field_radius_mm is None:
        return np.ones((camera.height, camera.width))
    across = camera.rays()[..., :2].norm(dim=-1).numpy()
    share: Image = np.clip((config.field_radius_mm - across) / min(camera.pixel_spacing_mm) + 0.5, 0, 1)
    return share
