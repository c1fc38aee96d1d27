"""Distortion of an X-ray: what an intensifier's curved input and magnetic fields do to straight lines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ..errors import UsageError
from .camera import Camera

# Fixed-point steps of the inverse; each gains the digits of the distortion's own size, some two.
_INVERSE_STEPS = 12
_LARGEST = 0.2


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
        if not all(math.isfinite(value) and abs(value) <= _LARGEST for value in (self.radial, self.spiral)):
            raise UsageError(
                f"a distortion's radial and spiral parts must lie between {-_LARGEST} and {_LARGEST}, not "
                f"{self.radial} and {self.spiral}"
            )

    def source_px(self, camera: Camera) -> Tensor:
        """How far from each pixel [H, W, 2] lies what it shows, along u and v [px]."""
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
    """Images [C, H, W] where each pixel shows what lies `displacement_px` [H, W, 2] from it (bicubic).

    What lies outside is the border's.
    """
    height, width = images.shape[-2:]
    row, column = torch.meshgrid(
        *(torch.arange(size, dtype=torch.float64) for size in (height, width)), indexing="ij"
    )
    place = torch.stack([column, row], dim=-1) + displacement_px
    # grid_sample counts from -1 to 1 between the centres of the first and the last pixel.
    grid = 2 * place / place.new_tensor([max(width - 1, 1), max(height - 1, 1)]) - 1
    return grid_sample(
        images[None], grid[None].to(images), mode="bicubic", padding_mode="border", align_corners=True
    )[0]


def distortion_jacobian(by_principal_point: Tensor, camera: Camera) -> Tensor:
    """Derivative of line integrals by `radial` and `spiral` at none of either: [B, 2, H, W], no rendering.

    Args:
        by_principal_point: [B, 2, H, W], derivative per millimetre on the detector by which the principal
            point moves along the camera's x and y; see `intrinsics_jacobian`. A pixel then shows what lay as
            far on the other side, so that showing what lies d away is moving the principal point by -d.
        camera: of the images.
    """
    basis = distortion_basis_px(camera).to(by_principal_point)
    # Signs of a mirrored camera's focal lengths go along: its x runs against u.
    pixel_mm = basis.new_tensor([camera.sdd_mm / camera.fx, camera.sdd_mm / camera.fy])
    return -torch.einsum("khwc,bchw->bkhw", basis * pixel_mm, by_principal_point)
