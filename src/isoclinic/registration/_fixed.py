"""An X-ray as registrations compare it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..errors import InputError
from ..geometry import Camera
from ..volumes import PreprocessConfig, XRay, line_integrals

# What is narrower leaves nothing to compare once the longer side is averaged down.
_LEAST_PX = 8
_LEAST_ASPECT = 1 / 8


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedImage:
    """The X-ray as line integrals with weights, at full and at working resolutions."""

    image: Tensor
    weight: Tensor
    camera: Camera

    @classmethod
    def of(cls, xray: XRay, config: PreprocessConfig) -> FixedImage:
        """At full resolution.

        Raises:
            InputError: an X-ray that is too narrow, or masked out entirely.
        """
        width, height = xray.camera.width, xray.camera.height
        if min(width, height) < max(_LEAST_PX, _LEAST_ASPECT * max(width, height)):
            raise InputError(
                f"{xray.path or 'the X-ray'} is too narrow to register: {width} x {height} pixels; crop or "
                "bin it less"
            )
        image, weight = line_integrals(xray, config)
        if not weight.any():
            raise InputError(
                f"{xray.path or 'the X-ray'}: nothing is left of it after masking collimation and metal"
            )
        return cls(image=torch.from_numpy(image), weight=torch.from_numpy(weight), camera=xray.camera)

    def at(self, pixels: int) -> FixedImage:
        """Averaged down by the whole factor that brings the longer side closest to `pixels`."""
        factor = self._factor(pixels)
        weight = avg_pool2d(self.weight[None], factor)[0]
        # A pixel that is partly masked mixes anatomy with what the mask hides nearby.
        whole = torch.where(weight > 0.99, weight, torch.zeros_like(weight))
        return FixedImage(
            image=self._averaged(self.weight, factor), weight=whole, camera=self.camera.bin(factor)
        )

    def halves(self, pixels: int) -> tuple[Tensor, Tensor] | None:
        """The image of `at` twice, each from every other pixel like the fields of a chessboard.

        They differ by the noise of single pixels. None where no pixels are averaged.
        """
        factor = self._factor(pixels)
        if factor == 1:
            return None
        rows, columns = torch.meshgrid(*map(torch.arange, self.weight.shape), indexing="ij")
        black = ((rows + columns) % 2).to(self.weight)
        return self._averaged(self.weight * black, factor), self._averaged(self.weight * (1 - black), factor)

    def _factor(self, pixels: int) -> int:
        factor = max(1, round(max(self.camera.width, self.camera.height) / pixels))
        return min(factor, self.camera.width, self.camera.height)

    def _averaged(self, weight: Tensor, factor: int) -> Tensor:
        total, norm = (avg_pool2d(each[None], factor)[0] for each in (self.image * weight, weight))
        return total / norm.clamp(min=1e-3)


def pixel_at_mm(camera: Camera, camera_from_world: Tensor, point_world: Tensor) -> float:
    """Side of a pixel at the depth of a world point [3] [mm]."""
    depth = float(camera_from_world[2, :3] @ point_world + camera_from_world[2, 3])
    return min(camera.pixel_spacing_mm) * min(max(depth / camera.sdd_mm, 0.1), 1.0)
