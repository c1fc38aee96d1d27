"""A camera and its pose, which every format expresses in its own way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..errors import UsageError
from ..geometry import Camera, se3
from ..volumes import written_poses

# Its own inverse. DICOM, ITK and what is built on them have +x to the patient's left and +y to the back.
RAS_FROM_LPS = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class PosedCamera:
    """Intrinsics and pose of one X-ray.

    Attributes:
        camera_from_world: [4, 4] float64, world RAS+ in mm.
        camera: the camera of the image.
    """

    camera_from_world: Tensor
    camera: Camera

    @property
    def world_from_camera(self) -> Tensor:
        """[4, 4] float64."""
        return se3.inverse(self.camera_from_world)


def rigid(matrix: Tensor, label: str) -> Tensor:
    """The matrix [4, 4] as a rigid transform, float64; rounding in its rotation, as of float32, is undone.

    Raises:
        InputError: as for `volumes.written_poses`; `label` says where it stands.

    Warns:
        GeometryWarning: a rotation with fewer than three decimals.
    """
    return written_poses(matrix, label)[0]


def required(camera: Camera | None, path: Path, lacking: str) -> Camera:
    """The camera that was given because the file lacks it.

    Raises:
        UsageError: none was given.
    """
    if camera is None:
        raise UsageError(
            f"{path} does not hold {lacking}; name a pose file (`camera`) or an X-ray (`xray`) that has it",
            code="exchange.camera-missing",
        )
    return camera


def mirroring(camera: Camera) -> tuple[int, int]:
    """Signs of fx and fy: -1 where columns grow to the left, rows upwards."""
    return (1 if camera.fx > 0 else -1), (1 if camera.fy > 0 else -1)


def axes(*signs: int) -> Tensor:
    """Change [4, 4] to a frame whose x, y and z point along or against those of the camera."""
    return torch.diag(torch.tensor([*signs, 1], dtype=torch.float64))
