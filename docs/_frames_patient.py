"""The patient of the drawings: a figure of simple solids, a CT of its chest, and the C-arm around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from isoclinic.geometry import Camera
from isoclinic.volumes import Volume, XRay

Array = NDArray[np.float64]

_VOXEL_MM = 4.0
_CT_SHAPE = (96, 64, 120)
_AIR, _LUNG, _TISSUE, _BONE, _LEAD = -1000.0, -800.0, 0.0, 700.0, 3000.0
_LETTER_L = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1]], dtype=bool)
_LETTER_PIXEL_MM = 16.0
_LETTER_FRONT_MM = 108.0

MARKER = np.array([-95.0, _LETTER_FRONT_MM, 140.0])
"""Centre of a lead letter L on the chest, at the patient's left, to be read from the front [RAS mm]."""
HEART = np.array([-60.0, 98.0, 95.0])
"""Where a heart is drawn on the chest [RAS mm]."""

XRAY = XRay(
    # The drawings need only its geometry, but an X-ray is not allowed to be constant.
    pixels=np.eye(200, dtype=np.float32),
    camera=Camera.from_pixel_spacing(width=200, height=200, pixel_spacing_mm=(3.4, 3.4), sdd_mm=1000.0),
    source_isocentre_mm=650.0,
)


def solids() -> list[Array]:
    """Surface points [N, 3] [RAS mm] of convex parts of a body lying on its back, arms at its sides."""
    parts = [
        np.concatenate([_ellipsoid((0, 0, 90), (172, 108, 165)), _ellipsoid((0, 0, -190), (155, 95, 120))]),
        np.concatenate([_ellipsoid((0, 0, 200), (60, 55, 60)), _ellipsoid((0, 5, 300), (50, 50, 40))]),
        _ellipsoid((0, 15, 385), (78, 98, 112)),
        _ellipsoid((0, 116, 375), (12, 18, 22)),
    ]
    for side in (-1, 1):
        parts += [
            _limb((side * 190, 0, 175), (side * 232, -20, -70), 52, 40),
            _limb((side * 232, -20, -70), (side * 240, -5, -310), 38, 30),
            _limb((side * 85, 0, -280), (side * 92, 0, -480), 82, 66),
        ]
    return parts


def chest_ct() -> Volume:
    """A CT of the chest on a grid that runs left, anterior, superior, its centre at the world's origin."""
    world_from_voxel = np.diag([-_VOXEL_MM, _VOXEL_MM, _VOXEL_MM, 1.0])
    world_from_voxel[:3, 3] = -world_from_voxel[:3, :3] @ (np.array(_CT_SHAPE) - 1) / 2
    voxels = np.stack(np.meshgrid(*map(np.arange, _CT_SHAPE), indexing="ij"), axis=-1)
    points = voxels @ world_from_voxel[:3, :3].T + world_from_voxel[:3, 3]
    x, y, z = np.moveaxis(points, -1, 0)
    hu = np.full(_CT_SHAPE, _AIR)
    hu[(x / 165) ** 2 + (y / 102) ** 2 + (z / 225) ** 6 < 1] = _TISSUE
    for side in (-1, 1):
        hu[_inside(points, (side * 78, 8, 45), (58, 74, 130))] = _LUNG
    hu[_inside(points, (-28, 28, -5), (62, 50, 70))] = _TISSUE  # the heart
    hu[_inside(points, (-75, 30, -125), (42, 34, 26))] = _LUNG  # gas in the stomach
    hu[(np.hypot(x, y + 68) < 26) & (np.abs(z) < 215) & (np.mod(z, 34) > 7)] = _BONE
    hu[(np.abs(x) < 20) & (np.abs(y - 88) < 7) & (np.abs(z - 60) < 80)] = _BONE
    off_rib_mm = 110 * np.abs(np.hypot(x / 142, y / 86) - 1)
    for level in range(-60, 181, 34):
        slope_mm = level - 28 * y / 86
        hu[(off_rib_mm < 6) & (np.abs(z - slope_mm) < 7) & (np.abs(x) > 25)] = _BONE
    hu[_on_letter(points)] = _LEAD
    return Volume(hu=hu.astype(np.float32), world_from_voxel=world_from_voxel)


def _on_letter(points: Array) -> NDArray[np.bool_]:
    """Where points [..., 3] lie in the lead letter, whose columns run to the patient's left."""
    rows, columns = _LETTER_L.shape
    across, _, up = np.moveaxis(points - MARKER, -1, 0)
    column = np.floor(-across / _LETTER_PIXEL_MM + columns / 2).astype(int)
    row = np.floor(-up / _LETTER_PIXEL_MM + rows / 2).astype(int)
    on_plate = (np.abs(points[..., 1] - _LETTER_FRONT_MM) < 5) & (column >= 0) & (column < columns)
    on_plate &= (row >= 0) & (row < rows)
    return on_plate & _LETTER_L[row.clip(0, rows - 1), column.clip(0, columns - 1)]


def _inside(points: Array, centre: tuple[float, ...], semi_axes: tuple[float, ...]) -> NDArray[np.bool_]:
    inside: NDArray[np.bool_] = np.linalg.norm((points - centre) / semi_axes, axis=-1) < 1
    return inside


def _ellipsoid(centre: tuple[float, ...], semi_axes: tuple[float, ...]) -> Array:
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 25), np.linspace(0, 2 * np.pi, 49))
    sphere = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1
    )
    surface: Array = sphere.reshape(-1, 3) * semi_axes + np.asarray(centre)
    return surface


def _limb(start: tuple[float, ...], end: tuple[float, ...], start_mm: float, end_mm: float) -> Array:
    return np.concatenate([_ellipsoid(start, (start_mm,) * 3), _ellipsoid(end, (end_mm,) * 3)])
