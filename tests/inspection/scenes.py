"""A body in air as a CT, its X-ray, and ways to look at findings."""

import numpy as np

from isoclinic.geometry import Camera
from isoclinic.inspection import Inspection
from isoclinic.volumes import Volume, XRay

CAMERA = Camera.from_pixel_spacing(width=64, height=48, pixel_spacing_mm=(4.0, 4.0), sdd_mm=1000.0)


def body(shape=(60, 50, 64), radii=(0.35, 0.35), spacing_mm=(4.0, 4.0, 3.0), air=-1000) -> np.ndarray:
    """An elliptic cylinder of water with a rod of bone, radii as shares of the slice's width and height."""
    x, y = np.meshgrid(*(np.linspace(-0.5, 0.5, count) for count in shape[:2]), indexing="ij")
    hu = np.full(shape, air, np.int16)
    hu[(x / radii[0]) ** 2 + (y / radii[1]) ** 2 < 1] = 20
    hu[np.hypot(x, y) < 0.06] = 800
    return hu


def ct(hu: np.ndarray | None = None, spacing_mm=(4.0, 4.0, 3.0), axes=None, **fields) -> Volume:
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if axes is None else np.asarray(axes, float)) * spacing_mm
    affine[:3, 3] = [-10.0, 20.0, 400.0]
    return Volume(hu=body() if hu is None else hu, world_from_voxel=affine, **fields)


def pixels(camera: Camera = CAMERA) -> np.ndarray:
    """A thick cylinder in air, bright where the beam arrives, with a little noise."""
    across = np.linspace(-1, 1, camera.width)
    beam = np.exp(-4 * np.sqrt(np.maximum(0, 1 - (across / 0.9) ** 2)))
    noise = np.random.default_rng(0).normal(0, 0.003, (camera.height, camera.width))
    return (4000 * (beam + noise).clip(0)).astype(np.float32)


def xray(image: np.ndarray | None = None, camera: Camera = CAMERA, provenance=None, **fields) -> XRay:
    """With everything known, so that nothing is odd."""
    known = {"source_isocentre_mm": 700.0, "primary_angle_deg": 180.0, "secondary_angle_deg": 0.0}
    sources = {
        **{"sdd_mm": "DistanceSourceToDetector (0018,1110)", "polarity": "option `polarity`"},
        **{"pixel_spacing_mm": "ImagerPixelSpacing (0018,1164)", "pixel_scale": "option `pixel_scale`"},
    }
    return XRay(
        pixels=pixels(camera) if image is None else image,
        camera=camera,
        provenance={**sources, **(provenance or {})},
        **{**known, **fields},
    )


def value(inspection: Inspection, name: str):
    """Of the reading of that name."""
    (found,) = (reading.value for reading in inspection.readings if reading.name == name)
    return found


def said(inspection: Inspection, level: str | None = None) -> str:
    """Messages and remedies of all findings, or of those of a level, a line each."""
    return "\n".join(
        f"{finding.message} | {finding.remedy}"
        for finding in inspection.findings
        if level in (None, finding.level)
    )
