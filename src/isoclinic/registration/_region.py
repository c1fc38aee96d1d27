"""The part of an X-ray in which the model may lie: only there is anything rendered and compared."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..geometry import Camera, se3
from ._fixed import FixedImage

# A region that would leave out less than this share of the image is the whole image.
_LEAST_GAIN = 0.3
# A region is at least so many pixels wide and high, or as the image is.
_LEAST_PX = 16


@dataclass(frozen=True, kw_only=True)
class Region:
    """A window of an image [px].

    Attributes:
        top: its first row.
        left: its first column.
        height: rows.
        width: columns.
        span_px: longer side of the model's picture in it, in which resolutions are measured.
    """

    top: int
    left: int
    height: int
    width: int
    span_px: float

    @classmethod
    def whole(cls, camera: Camera) -> Region:
        """All of an image."""
        return cls(
            top=0, left=0, height=camera.height, width=camera.width, span_px=max(camera.height, camera.width)
        )

    def crop(self, fixed: FixedImage) -> FixedImage:
        """The X-ray in this window."""
        if (self.height, self.width) == (fixed.camera.height, fixed.camera.width):
            return fixed
        rows, columns = (
            slice(self.top, self.top + self.height),
            slice(self.left, self.left + self.width),
        )
        return FixedImage(
            image=fixed.image[rows, columns],
            weight=fixed.weight[rows, columns],
            camera=fixed.camera.crop(top=self.top, left=self.left, height=self.height, width=self.width),
        )


def model_box(camera: Camera, poses: Tensor, points_world: Tensor) -> tuple[float, float, float, float]:
    """Where poses [B, 4, 4] put points [N, 3] in the image: (top, left, bottom, right) [px], edges included.

    Points behind the source do not count; the box is not limited to the image, and is empty where no point
    lies before the source.
    """
    pixels = camera.project(points_world, poses).reshape(-1, 2)
    pixels = pixels[pixels.isfinite().all(dim=1)]
    if not len(pixels):
        return math.inf, math.inf, -math.inf, -math.inf
    (left, top), (right, bottom) = pixels.amin(0).tolist(), pixels.amax(0).tolist()
    return top, left, bottom, right


def region_of(
    camera: Camera, poses: Tensor, points_world: Tensor, margin_px: float, *, margin_share: float = 0.0
) -> Region:
    """The window of an image that holds the model at all these poses, and a margin around it.

    Args:
        camera: intrinsics of the image.
        poses: [B, 4, 4] float64.
        points_world: [N, 3] of the model [mm].
        margin_px: added on all sides.
        margin_share: added, too, as a share of the longer side of the model's picture.
    """
    top, left, bottom, right = model_box(camera, poses, points_world)
    shown = min(bottom, camera.height) - max(top, 0), min(right, camera.width) - max(left, 0)
    span_px = max(*shown, _LEAST_PX)
    margin_px += margin_share * span_px
    rows = _interval(top - margin_px, bottom + margin_px, camera.height)
    columns = _interval(left - margin_px, right + margin_px, camera.width)
    region = Region(
        top=rows[0],
        left=columns[0],
        height=rows[1] - rows[0],
        width=columns[1] - columns[0],
        span_px=span_px,
    )
    share = region.height * region.width / (camera.height * camera.width)
    return region if share < 1 - _LEAST_GAIN else Region.whole(camera)


def _interval(first: float, last: float, size: int) -> tuple[int, int]:
    if not last > first:
        return 0, size
    low, high = max(0, math.floor(first)), min(size, math.ceil(last) + 1)
    missing = min(_LEAST_PX, size) - (high - low)
    if missing > 0:
        low = min(max(0, low - (missing + 1) // 2), size - min(_LEAST_PX, size))
        high = low + min(_LEAST_PX, size)
    return low, high


def extremes(
    start: Tensor, rotation_deg: tuple[float, float, float], depth_mm: float, isocentre: Tensor
) -> Tensor:
    """Poses [B, 4, 4] at the ends of a search's reach around `start` [4, 4], and the start itself."""
    tangents = torch.zeros(9, 6, dtype=torch.float64)
    for axis, reach in enumerate(rotation_deg):
        tangents[2 * axis + 1, axis] = math.radians(min(reach, 90))
        tangents[2 * axis + 2, axis] = -math.radians(min(reach, 90))
    tangents[7, 5], tangents[8, 5] = depth_mm, -depth_mm
    return se3.perturb(start, tangents, isocentre)
