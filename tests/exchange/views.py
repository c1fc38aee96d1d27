"""Views of a patient far from the world's origin, and where an independent pinhole camera sees points."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from isoclinic.exchange import PosedCamera
from isoclinic.geometry import Camera

Array = NDArray[np.float64]

F = np.diag([-1.0, -1.0, 1.0, 1.0])
ISOCENTRE_RAS = np.array([31.0, -140.0, 870.0])

_OFF_CENTRE = Camera.from_pixel_spacing(
    width=72, height=61, pixel_spacing_mm=(4.4, 3.7), sdd_mm=1023.5, principal_point_px=(40.25, 22.5)
)
CAMERAS = {
    "square": Camera.from_pixel_spacing(width=64, height=64, pixel_spacing_mm=(4, 4), sdd_mm=1000),
    "off centre": _OFF_CENTRE,
    "mirrored": _OFF_CENTRE.flip(left_right=True),
    "upside down": _OFF_CENTRE.flip(top_bottom=True),
    "turned": _OFF_CENTRE.flip(left_right=True, top_bottom=True),
}

# Columns: camera axes in RAS. Frontal: right of the image = the patient's left, away = to the back.
FRONTAL = np.array([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]])
_rng = np.random.default_rng(11)
_axes = _rng.normal(size=(4, 3))
_axes /= np.linalg.norm(_axes, axis=1, keepdims=True)
ROTATIONS = {
    "frontal": FRONTAL,
    "identity": np.eye(3),
    **{f"random {i}": matrix for i, matrix in enumerate(Rotation.random(4, random_state=3).as_matrix())},
    # Half turns, exactly and nearly, where rotation vectors and angles are worst conditioned.
    **{
        f"half turn - {gap:g}": Rotation.from_rotvec((np.pi - gap) * axis).as_matrix()
        for gap, axis in zip((0.0, 1e-9, 1e-6, 1e-3), _axes, strict=True)
    },
    # Close to the frontal view, which is the gimbal lock of ZXY angles in LPS.
    "nearly frontal": Rotation.from_rotvec([1e-8, -2e-8, 3e-8]).as_matrix() @ FRONTAL,
}


def posed(rotation: str, camera: str) -> PosedCamera:
    """A view of the isocentre from about 700 mm."""
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = ROTATIONS[rotation]
    centre = np.array([12.0, -7.0, 700.0])
    camera_from_world[:3, 3] = centre - ROTATIONS[rotation] @ ISOCENTRE_RAS
    return PosedCamera(camera_from_world=torch.from_numpy(camera_from_world), camera=CAMERAS[camera])


def points_ras(count: int = 20) -> Array:
    """Points [N, 3] around the isocentre."""
    return ISOCENTRE_RAS + np.random.default_rng(5).uniform(-90, 90, (count, 3))


def transformed(matrix: Array, points: Array) -> Array:
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def pixels(view: PosedCamera, points: Array) -> Array:
    """Pixels (u, v) [N, 2]: u = fx x / z + cx and v = fy y / z + cy, written out."""
    x, y, z = transformed(view.camera_from_world.numpy(), points).T
    assert (z > 0).all()
    camera = view.camera
    return np.stack([camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy], axis=1)
