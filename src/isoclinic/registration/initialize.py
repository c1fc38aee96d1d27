"""First poses without training: a matrix, a pose file, C-arm angles, or a standard view."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, UsageError
from ..geometry import gantry_view, se3
from ..volumes import Volume, XRay, written_poses
from .pose_file import read_initial_pose

# (primary, secondary) C-arm angles in DICOM's sense [deg]: where the detector is, seen from the patient.
PRESETS = {"ap": (180.0, 0.0), "pa": (0.0, 0.0), "left": (90.0, 0.0), "right": (-90.0, 0.0)}

# What `register` takes to mean the pose that a model predicts.
MODEL = "model"

# What `register` takes to mean that nothing is known of the view.
ANY = "any"

# Of C-arms and angiography units, where the file does not say: the isocentre lies at about two thirds of the
# way (source-detector 1000-1200 mm, source-isocentre 700-800 mm).
_ISOCENTRE_SHARE = 0.67
# Depths of the middle of a CT, as shares of the distance to the detector, that a pose with another unit or
# frame in mind leads to, and where no patient can be.
_USUAL_DEPTH = (0.3, 1.0)
_IN_THE_SOURCE = 0.1
_RAS_FROM_LPS = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class InitialPose:
    """Where a registration starts.

    Attributes:
        camera_from_world: [4, 4], float64.
        source: description of where it came from.
        rough: whether it is only a standard view, so that the search must reach far.
        unknown: whether nothing is known, so that the search must look from everywhere.
    """

    camera_from_world: Tensor
    source: str
    rough: bool
    unknown: bool = False


def initial_pose(volume: Volume, xray: XRay, init: Any = None) -> InitialPose:
    """The starting pose that `init` means.

    Args:
        volume: the CT; views are centred on it.
        xray: the X-ray; gives the distances, and the angles for "dicom".
        init: camera_from_world [4, 4]; the path of a pose file; "ap", "pa", "left" or "right" (the side the
            detector is on; "ap" and "pa" name the way of the beam); "dicom" for the C-arm angles of the file;
            "any" where nothing is known; None for "dicom" where the file has angles, else "ap".

    Raises:
        UsageError: the name is not one of these, or it is "dicom" and the X-ray has no angles.
        InputError: a pose or pose file that cannot be used, or one that does not see the CT.
    """
    if init is None:
        angles = (xray.primary_angle_deg, xray.secondary_angle_deg)
        init = "ap" if angles == (None, None) else "dicom"
    if isinstance(init, str) and init == ANY:
        pose = view(volume, xray, *PRESETS["ap"])
        return InitialPose(camera_from_world=pose, source="any view", rough=True, unknown=True)
    if isinstance(init, str) and init in PRESETS:
        return InitialPose(
            camera_from_world=view(volume, xray, *PRESETS[init]), source=f"preset {init}", rough=True
        )
    if isinstance(init, str) and init == "dicom":
        if xray.primary_angle_deg is None:
            raise UsageError(
                "init 'dicom': the X-ray has no primary C-arm angle; give `primary_angle_deg` and "
                "`secondary_angle_deg`, a preset or a pose file",
                code="start.angles-missing",
            )
        pose = view(volume, xray, xray.primary_angle_deg, xray.secondary_angle_deg or 0.0)
        return InitialPose(camera_from_world=pose, source="C-arm angles", rough=True)
    if isinstance(init, str | Path):
        if not os.path.exists(init):  # unlike Path.exists, False for text that cannot be a path
            raise UsageError(
                f"init {str(init)!r} is neither a file nor one of {', '.join([*PRESETS, 'dicom', ANY])}",
                code="start.unknown-name",
            )
        pose, source = read_initial_pose(init), f"file {init}"
    else:
        pose, source = written_poses(init, "init"), "matrix"
        if len(pose) != 1:
            raise InputError(f"init must be one pose [4, 4], not {len(pose)}", code="start.invalid-value")
    pose = pose.reshape(4, 4)
    check_sees(volume, xray, pose, source)
    _check_unit(volume, xray, pose, source)
    return InitialPose(camera_from_world=pose, source=source, rough=False)


def view(volume: Volume, xray: XRay, primary_angle_deg: float, secondary_angle_deg: float) -> Tensor:
    """camera_from_world [4, 4] of a C-arm turned to these angles about the centre of the CT.

    See `gantry_view` for the angles. Where the X-ray does not say how far the source is from the isocentre, a
    usual share of the distance to the detector is taken.
    """
    distance_mm = xray.source_isocentre_mm or _ISOCENTRE_SHARE * xray.camera.sdd_mm
    isocentre = torch.from_numpy(volume.isocentre_world)
    return gantry_view(primary_angle_deg, secondary_angle_deg, distance_mm, isocentre)


def check_sees(volume: Volume, xray: XRay, camera_from_world: Tensor, source: str) -> None:
    """Raise an InputError unless some point of the CT lies in the pyramid between source and image.

    Depth times pixel coordinates is affine in the point, so those points are the solutions of linear
    inequalities within the box of the CT.
    """
    camera = xray.camera
    pixel_from_voxel = camera.matrix.numpy() @ (camera_from_world.numpy() @ volume.world_from_voxel)[:3]
    right, bottom = camera.width - 0.5, camera.height - 0.5
    sides = np.array([[1, 0, 0.5], [-1, 0, right], [0, 1, 0.5], [0, -1, bottom], [0, 0, 1], [0, 0, -1]])
    inside = sides @ pixel_from_voxel
    inside[-1, 3] += camera.sdd_mm
    middle = (np.array(volume.shape) - 1) / 2
    if (inside @ [*middle, 1.0] >= 0).all():
        return
    from scipy.optimize import linprog  # it takes long to import

    point = linprog(
        np.zeros(3),
        A_ub=-inside[:, :3],
        b_ub=inside[:, 3],
        bounds=[(-0.5, count - 0.5) for count in volume.shape],
    )
    infeasible = 2
    if point.status == infeasible:
        raise InputError(
            f"the initial pose ({source}) does not see the CT: no part of it projects onto the X-ray; check"
            " that it is camera_from_world in RAS millimetres (see docs/conventions.md), or start from a"
            f" preset{_meant(volume, xray, camera_from_world)}",
            code="start.ct-not-seen",
        )


def _check_unit(volume: Volume, xray: XRay, pose: Tensor, source: str) -> None:
    """Raise an InputError about a translation in another unit, which puts the source into the CT."""
    depth_mm, _ = _middle(volume, xray, pose)
    meant = _meant(volume, xray, pose) if abs(depth_mm) < _IN_THE_SOURCE * xray.camera.sdd_mm else ""
    if "metres" in meant:
        raise InputError(
            f"the initial pose ({source}) puts the middle of the CT {depth_mm:.3g} mm from the X-ray source;"
            f" check that its translation is in millimetres{meant}",
            code="start.wrong-unit",
        )


def _meant(volume: Volume, xray: XRay, pose: Tensor) -> str:
    """Suggest, for messages, another reading of a pose by which it would show the CT; "" without any."""

    def in_unit(millimetres: float) -> Tensor:
        return se3.rigid(pose[:3, :3], millimetres * pose[:3, 3])

    readings = {
        "its translation were in metres: multiply it by 1000": in_unit(1000),
        "its translation were in centimetres: multiply it by 10": in_unit(10),
        'its world were LPS: say so in a pose file ("world": "LPS"), or negate its first two columns': (
            pose @ _RAS_FROM_LPS
        ),
        "it were world_from_camera: invert it": se3.inverse(pose),
    }
    for reading, other in readings.items():
        depth_mm, seen = _middle(volume, xray, other)
        low, high = _USUAL_DEPTH
        if seen and low * xray.camera.sdd_mm < depth_mm < high * xray.camera.sdd_mm:
            return f". It would see the middle of the CT if {reading}"
    return ""


def _middle(volume: Volume, xray: XRay, pose: Tensor) -> tuple[float, bool]:
    """Depth of the CT's middle [mm], and whether it lies in the image."""
    camera = xray.camera
    point = pose[:3, :3] @ torch.from_numpy(volume.isocentre_world) + pose[:3, 3]
    depth_mm = float(point[2])
    if depth_mm <= 0:
        return depth_mm, False
    u, v = (camera.matrix[:2] @ point / depth_mm).tolist()
    return depth_mm, -0.5 <= u <= camera.width - 0.5 and -0.5 <= v <= camera.height - 0.5
