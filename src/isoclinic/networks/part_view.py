"""How networks see a part of a body: from the X-ray's source, straight at it, upright and at one size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..geometry import Camera, se3
from ..volumes import Volume, tissue_points

# The long axis of a part is seen if at least this share of it is across the beam; else the next one counts.
_LEAST_ACROSS = 0.35
# The detector of the camera lies so far behind the part; only the focal length in pixels matters.
_DETECTOR = 1.2

_shapes: WeakKeyDictionary[Volume, dict[tuple[int | str, ...] | None, PartShape]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True, eq=False)
class PartShape:
    """Where a part lies in the CT.

    Attributes:
        centre_world: middle of the box around its tissue [3] [mm], float64.
        radius_mm: distance from there to the farthest tissue [mm].
        axes_world: [3, 3] float64, its principal axes as rows, the longest first.
    """

    centre_world: Tensor
    radius_mm: float
    axes_world: Tensor

    @classmethod
    def of(cls, volume: Volume, structures: Sequence[int | str] | None = None) -> PartShape:
        """Of all tissue of a CT, or of some structures of it; kept while the volume lives.

        Raises:
            UsageError: structures that the CT does not have.
        """
        key = None if structures is None else tuple(structures)
        kept = _shapes.setdefault(volume, {})
        if key not in kept:
            points = tissue_points(volume, key).double()
            centre = (points.amin(0) + points.amax(0)) / 2
            spread = points - points.mean(0)
            _, vectors = torch.linalg.eigh(spread.mT @ spread)
            axes = vectors.mT.flip(0)
            # The sign of an eigenvector is arbitrary; which end is up must not be.
            sign = axes.gather(1, axes.abs().argmax(1, keepdim=True)).sign()
            radius_mm = float((points - centre).norm(dim=1).max())
            kept[key] = cls(centre_world=centre, radius_mm=max(radius_mm, 1.0), axes_world=axes * sign)
        return kept[key]

    def depth_mm(self, camera_from_world: Tensor) -> Tensor:
        """Distance of the centre from the source [...] [mm] at poses [..., 4, 4]."""
        rotated = (camera_from_world[..., :3, :3] @ self.centre_world[:, None])[..., 0]
        return (rotated + camera_from_world[..., :3, 3]).norm(dim=-1)

    def view_from_camera(self, camera_from_world: Tensor) -> Tensor:
        """Turns [B, 4, 4] of cameras about their source until they look at the part at poses [B, 4, 4].

        The centre then is on the axis z, and the part's long axis points up the image.
        """
        rotation = camera_from_world[:, :3, :3]
        centre = rotation @ self.centre_world + camera_from_world[:, :3, 3]
        z = centre / centre.norm(dim=1, keepdim=True)
        axes = self.axes_world @ rotation.mT
        across = axes - (axes @ z[:, :, None]) * z[:, None]
        seen = across.norm(dim=2) > _LEAST_ACROSS
        first = seen.to(torch.uint8).argmax(1)
        up = across[torch.arange(len(across)), first]
        y = -up / up.norm(dim=1, keepdim=True)
        turn = torch.stack([torch.linalg.cross(y, z), y, z], dim=1)
        return se3.rigid(turn, torch.zeros_like(z))


def part_camera(radius_mm: float, depth_mm: float, *, field: float, pixels: int) -> Camera:
    """A camera that looks straight at a part of that radius at that distance from the source.

    Args:
        radius_mm: of the part [mm].
        depth_mm: of its centre [mm].
        field: side of the field of view over the part's diameter.
        pixels: side of the image [px].
    """
    middle = (pixels - 1) / 2
    focal = pixels * depth_mm / (2 * radius_mm * field)
    return Camera(
        width=pixels, height=pixels, fx=focal, fy=focal, cx=middle, cy=middle, sdd_mm=_DETECTOR * depth_mm
    )


def camera_at_depth(camera: Camera, trained_depth_mm: float, depth_mm: float) -> Camera:
    """The camera of a training for a part at another distance, where it looks as large as in training."""
    scale = depth_mm / trained_depth_mm
    return replace(camera, fx=camera.fx * scale, fy=camera.fy * scale, sdd_mm=camera.sdd_mm * scale)
