"""The rays whose tissue a CT contains entirely: they meet nothing of the patient outside it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Camera
from ..volumes import OpenFace, Structures, Volume, open_faces

# Images in one go: bounds memory.
_CHUNK = 128
# Of so many poses at most, the last few answers are kept.
_FEW, _REMEMBERED = 4, 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Coverage:
    """The region beyond the box of a CT in which the patient continues.

    Attributes:
        voxel_from_world: [4, 4] float64; voxel centres at integers.
        size: [3], voxels.
        spacing_mm: [3], of the voxels along each axis [mm].
        open_faces: see `volumes.open_faces`.
    """

    voxel_from_world: NDArray[np.float64]
    size: NDArray[np.int64]
    spacing_mm: NDArray[np.float64]
    open_faces: tuple[OpenFace, ...]
    # An optimiser's result is looked at in several ways, one after another.
    _last: dict[tuple[Camera, bytes, int], Tensor] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, volume: Volume, structures: Structures | None = None) -> Coverage:
        """Make the coverage of a CT with all its tissue, or with some structures alone."""
        return cls(
            voxel_from_world=np.linalg.inv(volume.world_from_voxel).astype(np.float64),
            size=np.array(volume.shape),
            spacing_mm=volume.spacing_mm,
            open_faces=open_faces(volume, structures),
        )

    @property
    def closed(self) -> bool:
        """Tell whether no face is open, so that every ray is known."""
        return not self.open_faces

    def known(self, camera: Camera, camera_from_world: Tensor, margin_px: int = 0) -> Tensor:
        """Pixels whose rays meet nothing of what is expected beyond the open faces of the CT.

        What is expected there is a prism for each face; see `volumes.OpenFace`. A ray meets it if it lies
        within all of the prism's slabs at once somewhere between source and detector. Rays that pass it by
        see air beyond the CT, which is knowledge as well.

        Args:
            camera: intrinsics of the image.
            camera_from_world: [B, 4, 4] float64.
            margin_px: distance from unknown pixels beyond which a pixel counts as known: poses are
                uncertain, and a strip beside the cut in which the CT lacks tissue looks like an edge.

        Returns:
            [B, H, W] float32, 1 where known and 0 elsewhere.
        """
        if self.closed:
            return torch.ones(len(camera_from_world), camera.height, camera.width)
        if len(camera_from_world) > _FEW:
            return self._within(camera, camera_from_world, margin_px)
        key = camera, camera_from_world.detach().numpy().tobytes(), margin_px
        if key not in self._last:
            if len(self._last) >= _REMEMBERED:
                del self._last[next(iter(self._last))]
            self._last[key] = self._within(camera, camera_from_world, margin_px)
        return self._last[key]

    def forget(self) -> None:
        """Release the memory of the last answer."""
        self._last.clear()

    def _within(self, camera: Camera, camera_from_world: Tensor, margin_px: int) -> Tensor:
        known = torch.cat([self._known(camera, poses) for poses in camera_from_world.split(_CHUNK)])
        if not margin_px:
            return known
        # Along rows, then along columns: much faster than pooling over squares.
        for axis in (1, 2):
            size, wide = known.shape[axis], known.clone()
            for shift in range(1, min(margin_px, size - 1) + 1):
                near, far = wide.narrow(axis, 0, size - shift), wide.narrow(axis, shift, size - shift)
                torch.minimum(near, known.narrow(axis, shift, size - shift), out=near)
                torch.minimum(far, known.narrow(axis, 0, size - shift), out=far)
            known = wide
        return known

    def _known(self, camera: Camera, poses: Tensor) -> Tensor:
        voxel_from_world = torch.from_numpy(self.voxel_from_world)
        rotation = voxel_from_world[:3, :3] @ poses[:, :3, :3].mT
        source = voxel_from_world[:3, 3] - (rotation @ poses[:, :3, 3:])[..., 0]
        # A ray goes from the source, at 0, along this to the detector, at 1.
        along = rotation @ camera.detector_from_pixel
        known = torch.ones(len(poses), camera.height, camera.width, dtype=torch.bool)
        for face in self.open_faces:
            known &= ~self._meets(face, source, along, camera)
        return known.float()

    def _meets(self, face: OpenFace, source: Tensor, along: Tensor, camera: Camera) -> Tensor:
        """Rays [B, H, W] that meet the prism beyond a face; from points [B, 3], along matrices [B, 3, 3]."""
        first, second = sorted({0, 1, 2} - {face.axis})
        basis = torch.zeros(5, 3, dtype=torch.float64)
        a, b = float(self.spacing_mm[first]), float(self.spacing_mm[second])
        basis[0, face.axis] = 1
        basis[1:, first] = basis.new_tensor([a, 0, a, a])
        basis[1:, second] = basis.new_tensor([0, b, b, -b])
        border = float(self.size[face.axis]) - 0.5 if face.last else -0.5
        limits = [(border, np.inf) if face.last else (-np.inf, border), *face.limits_mm.tolist()]
        starts, slopes = (source @ basis.mT).float(), (basis @ along).float()
        v = torch.arange(camera.height, dtype=torch.float32)[:, None]
        u = torch.arange(camera.width, dtype=torch.float32)
        enter = torch.zeros(len(source), camera.height, camera.width)
        leave = torch.ones_like(enter)
        for index, (low, high) in enumerate(limits):
            start, slope = starts[:, index, None, None], slopes[:, index, :, None, None]
            # In place where that is possible: memory takes longer here than arithmetic.
            step = (slope[:, 0] * u + slope[:, 1] * v).add_(slope[:, 2])
            step.masked_fill_(step.abs() < 1e-6, 1e-6)
            one, other = (low - start) / step, (high - start) / step
            enter = torch.maximum(enter, torch.minimum(one, other, out=step), out=enter)
            leave = torch.minimum(leave, torch.maximum(one, other, out=step), out=leave)
        return enter < leave
