"""An X-ray as registrations compare it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..errors import InputError
from ..geometry import Camera
from ..volumes import PreprocessConfig, XRay, line_integrals


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
            InputError: an X-ray that is masked out entirely.
        """
        image, weight = line_integrals(xray, config)
        if not weight.any():
            raise InputError(
                f"{xray.path or 'the X-ray'}: nothing is left of it after masking collimation and metal"
            )
        return cls(image=torch.from_numpy(image), weight=torch.from_numpy(weight), camera=xray.camera)

    def at(self, pixels: int) -> FixedImage:
        """Averaged down by the whole factor that brings the longer side closest to `pixels`."""
        factor = max(1, round(max(self.camera.width, self.camera.height) / pixels))
        factor = min(factor, self.camera.width, self.camera.height)
        weight = avg_pool2d(self.weight[None], factor)[0]
        image = avg_pool2d((self.image * self.weight)[None], factor)[0] / weight.clamp(min=1e-3)
        # A pixel that is partly masked mixes anatomy with what the mask hides nearby.
        weight = torch.where(weight > 0.99, weight, torch.zeros_like(weight))
        return FixedImage(image=image, weight=weight, camera=self.camera.bin(factor))
