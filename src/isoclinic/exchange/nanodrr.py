"""nanodrr: inverse intrinsics and inverse extrinsics, in JSON with the Python lines that use them.

Its camera frame is ours, its world the RAS frame of the file that torchio reads; `rt_inv` is
world_from_camera (`nanodrr/camera/extrinsics.py`). `k_inv` counts pixel centres at halves, from (0.5, 0.5)
(`_make_tgt` in `nanodrr/drr/renderer.py`), so its principal point is half a pixel larger. A mirrored image is
a negative fx in `k_inv`. Source: nanodrr 0.1.7.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ..errors import InputError
from ..geometry import Camera, se3
from ._json import Document, write_json
from .posed_camera import PosedCamera, rigid

SUFFIXES = (".json",)
_KIND = "a view for nanodrr in JSON"
# Of zeros in the inverse camera matrix, as float32 leaves them, relative to its diagonal.
_ROUNDING = 1e-6
_PYTHON = """\
import json, pathlib, torch
from nanodrr.data import Subject
from nanodrr.drr import DRR
view = json.loads(pathlib.Path({name!r}).read_text())
drr = DRR(torch.tensor([view["k_inv"]]), torch.tensor([view["sdd"]]), view["height"], view["width"])
image = drr(Subject.from_filepath("ct.nii.gz"), torch.tensor([view["rt_inv"]]))
"""


def arguments(posed: PosedCamera) -> dict[str, Any]:
    """Return what nanodrr's `DRR` and `Registration` take, in numbers and nested lists; without the batch."""
    k = posed.camera.matrix
    k[:2, 2] += 0.5
    return {
        "k_inv": torch.linalg.inv(k).tolist(),
        "sdd": posed.camera.sdd_mm,
        "height": posed.camera.height,
        "width": posed.camera.width,
        "rt_inv": posed.world_from_camera.tolist(),
    }


def write(path: Path, posed: PosedCamera) -> None:
    """Write the file."""
    write_json(path, {**arguments(posed), "python": _PYTHON.format(name=path.name).splitlines()})


def read(path: Path, camera: Camera | None) -> PosedCamera:
    """Read a file; it is complete, so `camera` is not needed.

    Raises:
        InputError: another file, or an entry that cannot be used.
    """
    document = Document.read(path, _KIND, ("k_inv", "sdd", "height", "width", "rt_inv"))
    k_inv = document.numbers("k_inv", (3, 3))
    zero, last = k_inv[[0, 1], [1, 0]], k_inv[2] - k_inv.new_tensor([0.0, 0.0, 1.0])
    if zero.abs().max() > _ROUNDING * k_inv.diagonal()[:2].abs().min() or last.abs().max() > _ROUNDING:
        raise InputError(
            f"{document.label('k_inv')} must be the inverse of [fx 0 cx; 0 fy cy; 0 0 1]",
            code="exchange.invalid-value",
        )
    if not (k_inv[0, 0] and k_inv[1, 1]):
        raise InputError(
            f"{document.label('k_inv')} has a zero on its diagonal, 1 / fx or 1 / fy",
            code="exchange.invalid-value",
        )
    world_from_camera = rigid(document.numbers("rt_inv", (4, 4)), document.label("rt_inv"))
    return PosedCamera(
        camera_from_world=se3.inverse(world_from_camera),
        camera=Camera(
            width=document.integer("width"),
            height=document.integer("height"),
            fx=(1 / k_inv[0, 0]).item(),
            fy=(1 / k_inv[1, 1]).item(),
            cx=(-k_inv[0, 2] / k_inv[0, 0]).item() - 0.5,
            cy=(-k_inv[1, 2] / k_inv[1, 1]).item() - 0.5,
            sdd_mm=document.number("sdd"),
        ),
    )
