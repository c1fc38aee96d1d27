"""C-arm angles: the pose of a C-arm that is turned to them, and the angles of a pose."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .se3 import perturb, rigid


def gantry_view(
    primary_angle_deg: float,
    secondary_angle_deg: float,
    source_isocentre_mm: float,
    isocentre_world: Tensor | None = None,
) -> Tensor:
    """Pose [4, 4] of a C-arm turned to these angles: from the patient's axes (RAS) about the isocentre.

    With the isocentre's place [3] [mm], float64, it is camera_from_world.

    DICOM PS3.3 C.8.7.5.1.2: the detector is in front of the patient at 0/0, at the patient's left at a
    primary angle of 90 and at the head at a secondary angle of 90 degrees. Up in the image is where a growing
    secondary angle takes the detector: the patient's cranial direction, as far as the image shows it.
    """
    primary, secondary = np.deg2rad([primary_angle_deg, secondary_angle_deg])
    to_detector = np.array(
        [-np.sin(primary) * np.cos(secondary), np.cos(primary) * np.cos(secondary), np.sin(secondary)]
    )
    down = np.array(
        [-np.sin(primary) * np.sin(secondary), np.cos(primary) * np.sin(secondary), -np.cos(secondary)]
    )
    rotation = np.stack([np.cross(down, to_detector), down, to_detector])
    translation = torch.tensor([0.0, 0.0, source_isocentre_mm], dtype=torch.float64)
    view = rigid(torch.from_numpy(rotation), translation)
    if isocentre_world is None:
        return view
    return view @ rigid(torch.eye(3, dtype=torch.float64), -isocentre_world)


def gantry_poses(
    gantry: Tensor, isocentre_world: Tensor, *, shift_mm: Tensor, in_plane_deg: Tensor
) -> Tensor:
    """camera_from_world [B, 4, 4] of C-arms turned about a point of a patient who lies a little off.

    The C-arm is turned to its angles about the isocentre; then the patient is shifted in camera axes and
    turned in the image plane about where the isocentre has come to lie (`se3.perturb`).

    Args:
        gantry: [B, 3], primary and secondary angle [deg] and distance from source to isocentre [mm].
        isocentre_world: [3] [mm], float64.
        shift_mm: [B, 3], right, down and away from the source [mm].
        in_plane_deg: [B] [deg].
    """
    views = torch.stack(
        [
            gantry_view(primary_deg, secondary_deg, distance_mm, isocentre_world)
            for primary_deg, secondary_deg, distance_mm in gantry.tolist()
        ]
    )
    shift, turn = (torch.zeros(len(views), 6, dtype=torch.float64) for _ in range(2))
    shift[:, 3:] = shift_mm
    turn[:, 2] = torch.deg2rad(in_plane_deg)
    return perturb(perturb(views, shift, isocentre_world), turn, isocentre_world)


def gantry_angles(camera_from_world: Tensor) -> tuple[float, float]:
    """Primary and secondary angle [deg] of the C-arm whose `gantry_view` looks as a pose [4, 4] does.

    Where the detector is at the head or the feet, every primary angle is the same view; it is 0 then.
    """
    x, y, z = camera_from_world[2, :3].tolist()
    primary = np.rad2deg(np.arctan2(-x, y)) if np.hypot(x, y) > 1e-9 else 0.0
    return float(primary), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))
