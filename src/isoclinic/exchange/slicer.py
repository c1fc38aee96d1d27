"""3D Slicer: applied to the CT, the transform carries it into the camera frame.

In Slicer's scene (RAS) the transform node's ToParent matrix is camera_from_world: the CT, its segmentations,
models and markups, put under it, are seen with the source at the origin, the scene's R axis running to the
right of the image, A down the image and S from the source to the detector, which is the plane S = `sdd_mm`.
Its inverse (Transforms module, Invert) places things of the camera frame, such as the detector, around the
CT.

The file is an ITK transform in the resampling direction: Slicer reads it into TransformFromParent, after the
change of basis T_ras = F T_lps F with F = diag(-1, -1, 1, 1). Hence TransformPoint of the file is F
world_from_camera F. Sources: Slicer developer guide, "Transform files"
(https://slicer.readthedocs.io/en/latest/developer_guide/modules/transforms.html);
`vtkITKTransformConverter::SetVTKLinearTransformFromITK`; `vtkMRMLTransformStorageNode::ReadFromTransformFile`
("all the transforms are saved as TransformFromParent").
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from ..geometry import Camera, as_poses, se3
from ._itk_transform import read_transform, write_transform
from .posed_camera import RAS_FROM_LPS, PosedCamera, required


def write_slicer_transform(path: Path | str, camera_from_world: Tensor) -> None:
    """Write a transform that, applied to the CT in 3D Slicer, carries it into the camera frame.

    Args:
        path: .tfm or .txt (text), .h5 or .mat.
        camera_from_world: [4, 4], world RAS+ in mm.

    Raises:
        InputError: the pose is not rigid, or the file cannot be written.
    """
    pose = as_poses(camera_from_world, "camera_from_world")[0]
    write_transform(Path(path), RAS_FROM_LPS @ se3.inverse(pose) @ RAS_FROM_LPS)


def write(path: Path, posed: PosedCamera) -> None:
    """Write a transform whose ToParent matrix in Slicer is camera_from_world."""
    write_slicer_transform(path, posed.camera_from_world)


def read(path: Path, camera: Camera | None) -> PosedCamera:
    """Read a transform that Slicer would apply to the CT; the file has no intrinsics."""
    world_from_camera = RAS_FROM_LPS @ read_transform(path) @ RAS_FROM_LPS
    return PosedCamera(
        camera_from_world=se3.inverse(world_from_camera), camera=required(camera, path, "the intrinsics")
    )
