"""OpenCV: rvec, tvec, camera matrix and distortion, as `cv2.projectPoints` takes them.

The file is JSON that `cv2.FileStorage(path, cv2.FILE_STORAGE_READ)` reads, with the names of OpenCV's
calibration sample; the YAML and XML that it writes under other names are read as well. rvec and tvec take
RAS points in mm into the camera frame, which is OpenCV's own: x right, y down, z away from the source, pixel
centres at integers (https://docs.opencv.org/4.x/d9/d0c/group__calib3d.html). `sdd_mm` is ours:
OpenCV knows focal lengths in pixels only. Matrices as FileStorage writes them: https://docs.opencv.org/4.x/d4/da4/group__core__xml.html.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import InputError
from ..geometry import Camera, se3, so3
from ._file_storage import from_text
from ._found import read_text
from ._json import Document, write_json
from .posed_camera import PosedCamera, required

SUFFIXES = (".json",)
_KIND = "OpenCV's camera and pose in JSON, YAML or XML"
_DISTORTION = "distortion_coefficients"
# Of zeros in a camera matrix, relative to its largest entry.
_ROUNDING = 1e-9


def write(path: Path, posed: PosedCamera) -> None:
    """Write the file."""
    camera, pose = posed.camera, posed.camera_from_world
    write_json(
        path,
        {
            "image_width": camera.width,
            "image_height": camera.height,
            "camera_matrix": _matrix(camera.matrix),
            _DISTORTION: _matrix(torch.zeros(5, 1)),
            "rvec": _matrix(so3.log(pose[:3, :3])[:, None]),
            "tvec": _matrix(pose[:3, 3:]),
            "sdd_mm": camera.sdd_mm,
        },
    )


def read(path: Path, camera: Camera | None) -> PosedCamera:
    """Read a file; where it has no `sdd_mm`, that of `camera` is taken.

    Raises:
        InputError: another file, an entry that cannot be used, or a lens that distorts.
        UsageError: the file has no `sdd_mm` and no camera was given.
    """
    keys = ("image_width", "image_height", "camera_matrix", "rvec", "tvec")
    values = from_text(read_text(path, _KIND))
    document = Document.read(path, _KIND, keys) if values is None else Document.of(values, path, _KIND, keys)
    if _DISTORTION in document:
        coefficients = document.child(_DISTORTION)
        if coefficients.numbers("data", (coefficients.integer("rows") * coefficients.integer("cols"),)).any():
            raise InputError(
                f"{document.label(_DISTORTION)} are not zero, but a pose file has no distortion; "
                "undistort the image and set them to zero",
                code="exchange.unsupported",
            )
    k = _values(document, "camera_matrix", 9).reshape(3, 3)
    zero, last = k[[0, 1], [1, 0]], k[2] - k.new_tensor([0.0, 0.0, 1.0])
    if zero.abs().max() > _ROUNDING * k.abs().max() or last.abs().max() > _ROUNDING:
        raise InputError(
            f"{document.label('camera_matrix')} must be [fx 0 cx; 0 fy cy; 0 0 1], without skew",
            code="exchange.invalid-value",
        )
    return PosedCamera(
        camera_from_world=se3.rigid(so3.exp(_values(document, "rvec", 3)), _values(document, "tvec", 3)),
        camera=Camera(
            width=document.integer("image_width"),
            height=document.integer("image_height"),
            fx=k[0, 0].item(),
            fy=k[1, 1].item(),
            cx=k[0, 2].item(),
            cy=k[1, 2].item(),
            sdd_mm=document.number("sdd_mm")
            if "sdd_mm" in document
            else required(camera, path, "sdd_mm, the source-detector distance").sdd_mm,
        ),
    )


def _matrix(matrix: Tensor) -> dict[str, Any]:
    rows, cols = matrix.shape
    return {
        "type_id": "opencv-matrix",
        "rows": rows,
        "cols": cols,
        "dt": "d",
        "data": matrix.double().flatten().tolist(),
    }


def _values(document: Document, key: str, count: int) -> Tensor:
    return document.child(key).numbers("data", (count,))
