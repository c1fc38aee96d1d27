"""ITK: `TransformPoint` takes points of the CT into the camera frame.

The transform's input are ITK's own coordinates of the CT, LPS+ in mm, as
`image.TransformIndexToPhysicalPoint` gives them; its output is (x right, y down, z source to detector) in mm,
the source at the origin. Slicer would read the file as another transform: see `slicer`. So does
`TransformPoint` in ITK: https://simpleitk.readthedocs.io/en/master/fundamentalConcepts.html, "Transforms".
"""

from __future__ import annotations

from pathlib import Path

from ..geometry import Camera
from ._itk_transform import read_transform, write_transform
from .posed_camera import RAS_FROM_LPS, PosedCamera, required


def write(path: Path, posed: PosedCamera) -> None:
    """Write camera_from_world, its world in LPS."""
    write_transform(path, posed.camera_from_world @ RAS_FROM_LPS)


def read(path: Path, camera: Camera | None) -> PosedCamera:
    """Read a transform from LPS to the camera frame; the file has no intrinsics."""
    camera_from_world = read_transform(path) @ RAS_FROM_LPS
    return PosedCamera(camera_from_world=camera_from_world, camera=required(camera, path, "the intrinsics"))
