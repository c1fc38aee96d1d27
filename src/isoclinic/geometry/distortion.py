"""Distortion of an X-ray: what an intensifier's curved input and magnetic fields do to straight lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import UsageError
from .camera import Camera

# Fixed-point steps of the inverse; each gains the digits of the distortion's own size, some two.
_INVERSE_STEPS = 12
# Beyond this an image folds.
LARGEST = 0.2


@dataclass(frozen=True, kw_only=True)
class Distortion:
    """The third-order distortion of an image intensifier, about the principal point.

    With (x, y) the place of a pixel relative to the principal point over half of the image's longer side, and
    r its length, the pixel shows what an undistorted X-ray shows at

        (x, y) + radial r² (x, y) + spiral r² (y, -x).

    The radial term is the pincushion or barrel of a curved input screen (Brown 1971), the spiral one the "S"
    that magnetic fields make of straight lines, a turn that grows with r² (Gronenschild, Med Phys 24, 1997).

    Attributes:
        radial: share of the radius by which half of the longer side is off; negative for a pincushion.
        spiral: turn of a point there [rad].

    Raises:
        UsageError: values that are not finite, or so large that the image would fold.
    """

    radial: float = 0.0
    spiral: float = 0.0

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) and abs(value) <= LARGEST for value in (self.radial, self.spiral)):
            raise UsageError(
                f"a distortion's radial and spiral parts must lie between {-LARGEST} and {LARGEST}, not "
                f"{self.radial} and {self.spiral}",
                code="geometry.invalid-value",
            )

    def source_px(self, camera: Camera) -> Tensor:
        """Compute how far from each pixel [H, W, 2] lies what it shows, along u and v [px]."""
        values = torch.tensor([self.radial, self.spiral], dtype=torch.float64)
        return torch.einsum("k,khwc->hwc", values, distortion_basis_px(camera))

    def undistorted(self, images: Tensor, camera: Camera) -> Tensor:
        """Images [C, H, W] of the camera as they would be without the distortion."""
        row, column = torch.meshgrid(
            *(torch.arange(size, dtype=torch.float64) for size in (camera.height, camera.width)),
            indexing="ij",
        )
        place = torch.stack([column, row], dim=-1)
        found = place
        for _ in range(_INVERSE_STEPS):
            found = place - self._moved_px(found, camera)
        return sampled(images, found - place)

    def _moved_px(self, pixels: Tensor, camera: Camera) -> Tensor:
        """The displacement of the formula above at any pixels [..., 2]."""
        half = max(camera.width, camera.height) / 2
        x, y = ((pixels - pixels.new_tensor([camera.cx, camera.cy])) / half).unbind(-1)
        squared = half * (x.square() + y.square())
        return torch.stack(
            [squared * (self.radial * x + self.spiral * y), squared * (self.radial * y - self.spiral * x)],
            dim=-1,
        )


def distortion_basis_px(camera: Camera) -> Tensor:
    """Displacement [px] along u and v of every pixel per unit of `radial` and of `spiral`: [2, H, W, 2]."""
    half = max(camera.width, camera.height) / 2
    y, x = torch.meshgrid(
        (torch.arange(camera.height, dtype=torch.float64) - camera.cy) / half,
        (torch.arange(camera.width, dtype=torch.float64) - camera.cx) / half,
        indexing="ij",
    )
    squared = half * (x.square() + y.square())
    return torch.stack(
        [torch.stack([squared * x, squared * y], dim=-1), torch.stack([squared * y, -squared * x], dim=-1)]
    )


def sampled(images: Tensor, displacement_px: Tensor) -> Tensor:
    """Images [C, H, W] where each pixel shows what lies `displacement_px` [H, W, 2] from it.

    Cubic convolution with the coefficient -1/2 (Keys 1981), which alone reproduces straight ramps; torch's
    own has -3/4 and steepens them. What lies outside is the border's.
    """
    height, width = images.shape[-2:]
    row, column = torch.meshgrid(
        *(torch.arange(size, dtype=torch.float64) for size in (height, width)), indexing="ij"
    )
    columns, across = _taps(column + displacement_px[..., 0], width)
    rows, down = _taps(row + displacement_px[..., 1], height)
    flat = images.flatten(1)
    result = torch.zeros_like(images)
    for taken, share_down in zip(rows, down.to(images), strict=True):
        for along, share in zip(columns, across.to(images), strict=True):
            result += flat[:, taken * width + along] * (share_down * share)
    return result


def _taps(place: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Return the four pixels next to each place [...] along an axis [4, ...], and their shares [4, ...]."""
    below = place.floor()
    t = place - below
    shares = torch.stack(
        [
            ((2 - t) * t - 1) * t / 2,
            ((3 * t - 5) * t * t + 2) / 2,
            ((4 - 3 * t) * t + 1) * t / 2,
            (t - 1) * t * t / 2,
        ]
    )
    offsets = torch.arange(-1, 3).reshape(4, *(1,) * place.ndim)
    return (below.long() + offsets).clamp(0, size - 1), shares


def distortion_jacobian(by_principal_point: Tensor, camera: Camera) -> Tensor:
    """Derivative of line integrals by `radial` and `spiral` at none of either: [B, 2, H, W], no rendering.

    Args:
        by_principal_point: [B, 2, H, W], derivative per millimetre on the detector by which the principal
            point moves along the camera's x and y; see `intrinsics_jacobian`. A pixel then shows what lay as
            far on the other side, so that showing what lies d away is moving the principal point by -d.
        camera: the camera of the images.
    """
    basis = distortion_basis_px(camera).to(by_principal_point)
    # Signs of a mirrored camera's focal lengths go along: its x runs against u.
    pixel_mm = basis.new_tensor([camera.sdd_mm / camera.fx, camera.sdd_mm / camera.fy])
    return -torch.einsum("khwc,bchw->bkhw", basis * pixel_mm, by_principal_point)
