"""xReg: the pose of the camera with respect to the volume, as its tools read and write it.

xReg keeps a pose as an ITK AffineTransform whose TransformPoint takes the camera frame to the volume's LPS
coordinates ("cam-to-vol": `xregITKIOUtils.cpp`, `WriteITKAffineTransform`; `cur_cam_to_vols` in
`xreg_hip_surg_pelvis_single_view_regi_2d_3d_main.cpp`). It projects with `CameraModel::phys_pt_to_ind_pt`,
index = intrins extrins x, pixel centres at integers, row 0 on top (`xregPerspectiveXform.h`).

The camera is the one of the projection data file, which must have the identity as extrinsics, the intrinsics
of the pose file and this frame (`xregH5CamModelIO.cpp`):

- an image seen from the source (fx and fy of one sign): "origin-at-focal-pt-det-pos-z", x along the columns,
  y along the rows, z to the detector, intrinsics (|fx|, |fy|);
- an image mirrored left to right or top to bottom: "origin-at-focal-pt-det-neg-z", which xReg assumes for XA
  and RF images (`xregReadProjDataFromDICOMDetail.h`), z away from the detector, intrinsics (-|fx|, -|fy|)
  (`MakeNaiveIntrins`).

Source: https://github.com/rg2/xreg at c2bdd99.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..geometry import Camera, se3
from ._itk_transform import read_transform, write_transform
from .posed_camera import RAS_FROM_LPS, PosedCamera, axes, mirroring, required


def write(path: Path, posed: PosedCamera) -> None:
    """Write the transform from xReg's camera frame to LPS."""
    write_transform(path, RAS_FROM_LPS @ posed.world_from_camera @ _camera_from_xreg(posed.camera))


def read(path: Path, camera: Camera | None) -> PosedCamera:
    """Read a transform from xReg's camera frame to LPS; the file has no intrinsics."""
    transform, camera = read_transform(path), required(camera, path, "the intrinsics")
    world_from_camera = RAS_FROM_LPS @ transform @ _camera_from_xreg(camera)
    return PosedCamera(camera_from_world=se3.inverse(world_from_camera), camera=camera)


def _camera_from_xreg(camera: Camera) -> Tensor:
    """The change of frame [4, 4] that makes xReg's intrinsics the naive ones; its own inverse."""
    along_x, along_y = mirroring(camera)
    return axes(along_x, along_y, along_x * along_y)
