"""Which rays a CT can speak of: those that do not leave it through a face at which the patient goes on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..geometry import Camera
from ..volumes import Structures, Volume, open_faces

# Images in one go: bounds memory.
_CHUNK = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """The box of a CT, and which of its faces are open.

    Attributes:
        voxel_from_world: [4, 4] float64; voxel centres at integers.
        size: [3], voxels.
        open_faces: [3, 2] bool; see `volumes.open_faces`.
    """

    voxel_from_world: NDArray[np.float64]
    size: NDArray[np.int64]
    open_faces: NDArray[np.bool_]

    @classmethod
    def of(cls, volume: Volume, structures: Structures | None = None) -> Coverage:
        """That of a CT with all its tissue, or with some structures alone."""
        return cls(
            voxel_from_world=np.linalg.inv(volume.world_from_voxel).astype(np.float64),
            size=np.array(volume.shape),
            open_faces=open_faces(volume, structures),
        )

    @property
    def closed(self) -> bool:
        """Whether no face is open, so that every ray is known."""
        return not bool(self.open_faces.any())

    def known(self, camera: Camera, camera_from_world: Tensor, margin_px: int = 0) -> Tensor:
        """Pixels whose rays cross no open face of the CT, nor what lies beyond one.

        Beyond an open face the patient may go on for ever: with its open faces moved to infinity the box
        becomes a prism. A ray is known if the part of it within that prism lies within the box, too; rays
        that miss the prism see air, which is knowledge as well. As the box is convex, the two ends of that
        part decide.

        Args:
            camera: intrinsics of the image.
            camera_from_world: [B, 4, 4] float64.
            margin_px: how far from what is unknown a pixel must lie to count as known: poses are
                uncertain, and a strip beside the cut in which the CT lacks tissue looks like an edge.

        Returns:
            [B, H, W] float32, 1 where known and 0 elsewhere.
        """
        if self.closed:
            return torch.ones(len(camera_from_world), camera.height, camera.width)
        known = torch.cat([self._known(camera, poses) for poses in camera_from_world.split(_CHUNK)])
        if not margin_px:
            return known
        side = 2 * margin_px + 1
        return -max_pool2d(-known[:, None], side, stride=1, padding=margin_px)[:, 0]

    def _known(self, camera: Camera, poses: Tensor) -> Tensor:
        voxel_from_world = torch.from_numpy(self.voxel_from_world)
        rotation = voxel_from_world[:3, :3] @ poses[:, :3, :3].mT
        source = voxel_from_world[:3, 3] - (rotation @ poses[:, :3, 3:])[..., 0]
        direction = (rotation @ camera.detector_from_pixel).float()
        v, u = torch.meshgrid(
            torch.arange(camera.height, dtype=torch.float32),
            torch.arange(camera.width, dtype=torch.float32),
            indexing="ij",
        )
        enter, leave = torch.zeros(()), torch.ones(())
        ends = []
        for axis in range(3):
            along = direction[:, axis, :, None, None]
            step = along[:, 0] * u + along[:, 1] * v + along[:, 2]
            step = torch.where(step.abs() < 1e-9, torch.full_like(step, 1e-9), step)
            start = source[:, axis, None, None].float()
            first, last = (-0.5 - start) / step, (float(self.size[axis]) - 0.5 - start) / step
            ends.append((first, last, step > 0))
        for axis, (first, last, ahead) in enumerate(ends):
            open_first, open_last = self.open_faces[axis].tolist()
            # The ray is on the inner side of a closed face from where it crosses it, or up to there.
            if not open_first:
                enter = torch.where(ahead, torch.maximum(enter, first), enter)
                leave = torch.where(ahead, leave, torch.minimum(leave, first))
            if not open_last:
                enter = torch.where(ahead, enter, torch.maximum(enter, last))
                leave = torch.where(ahead, torch.minimum(leave, last), leave)
        inside = torch.ones((), dtype=torch.bool)
        for axis, (first, last, ahead) in enumerate(ends):
            open_first, open_last = self.open_faces[axis].tolist()
            if open_first:
                inside = inside & torch.where(ahead, enter >= first - 1e-5, leave <= first + 1e-5)
            if open_last:
                inside = inside & torch.where(ahead, leave <= last + 1e-5, enter >= last - 1e-5)
        return (inside | (enter >= leave)).expand(len(poses), camera.height, camera.width).float()
