"""An X-ray as registrations compare it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..errors import InputError
from ..geometry import Camera
from ..volumes import PreprocessConfig, XRay, line_integrals

# What is narrower leaves nothing to compare once the longer side is averaged down.
_LEAST_PX = 8
_LEAST_ASPECT = 1 / 8
# What is noisy keeps so many pixels along its longer side, or up to twice as many: those of the finest stage.
_NOISY_PX = 128
# Noise is measured at up to twice as many places along each side: more would only take time.
_SAMPLED_PX = 256
# The median of a normal distribution's absolute values, in standard deviations.
_MEDIAN_DEVIATION = 0.6745


@dataclass(frozen=True, kw_only=True, eq=False)
class FixedImage:
    """The X-ray as line integrals with weights, at full and at working resolutions."""

    image: Tensor
    weight: Tensor
    camera: Camera

    @classmethod
    def of(cls, xray: XRay, config: PreprocessConfig) -> FixedImage:
        """At full resolution, or where pixels are noisy at the one that averaging leaves.

        The logarithm of a pixel of few quanta is noise with a bias, and pixels without any make up areas that
        look as if the detector were at its limit. So such pixels are averaged first, as far as the finest
        stage does it anyway; see `PreprocessConfig.noise`.

        Raises:
            InputError: an X-ray that is too narrow, or masked out entirely.
        """
        width, height = xray.camera.width, xray.camera.height
        if min(width, height) < max(_LEAST_PX, _LEAST_ASPECT * max(width, height)):
            raise InputError(
                f"{xray.path or 'the X-ray'} is too narrow to register: {width} x {height} pixels; crop or "
                "bin it less",
                code="xray.too-small",
            )
        image, weight = line_integrals(xray, config)
        factor = max(width, height) // _NOISY_PX
        if factor > 1 and weight.any() and _noise(image, weight) > config.noise:
            xray = xray.bin(factor)
            image, weight = line_integrals(xray, config)
        if not weight.any():
            raise InputError(
                f"{xray.path or 'the X-ray'}: no pixel is left after masking collimation and metal",
                code="xray.all-masked",
            )
        return cls(image=torch.from_numpy(image), weight=torch.from_numpy(weight), camera=xray.camera)

    def at(self, pixels: int) -> FixedImage:
        """Averaged down by the whole factor that brings the longer side closest to `pixels`."""
        return self.averaged(self.factor(pixels))

    def averaged(self, factor: int) -> FixedImage:
        """Averaged down by a whole factor."""
        return FixedImage(
            image=self._averaged(self.weight, factor),
            weight=_whole(avg_pool2d(self.weight[None], factor)[0]),
            camera=self.camera.bin(factor),
        )

    def through(self, camera: Camera) -> FixedImage:
        """The X-ray as another camera at the same source sees it; weight 0 where the X-ray does not reach.

        Each pixel averages the X-ray, interpolated between its pixels, over that pixel's area.
        """
        own = self.camera
        rows = _averaging(camera.height, camera.fy, camera.cy, own.height, own.fy, own.cy)
        columns = _averaging(camera.width, camera.fx, camera.cx, own.width, own.fx, own.cx)
        total, norm = (rows @ each @ columns.mT for each in (self.image * self.weight, self.weight))
        return FixedImage(image=total / norm.clamp(min=1e-3), weight=_whole(norm), camera=camera)

    def halves(self, factor: int) -> tuple[Tensor, Tensor] | None:
        """The image of `averaged` twice, each from every other pixel like the fields of a chessboard.

        They differ by the noise of single pixels. None where no pixels are averaged.
        """
        if factor == 1:
            return None
        rows, columns = torch.meshgrid(*map(torch.arange, self.weight.shape), indexing="ij")
        black = ((rows + columns) % 2).to(self.weight)
        return self._averaged(self.weight * black, factor), self._averaged(self.weight * (1 - black), factor)

    def factor(self, pixels: int, span_px: float | None = None) -> int:
        """The whole factor that brings a length in the image closest to `pixels`; the longer side if None."""
        span_px = max(self.camera.width, self.camera.height) if span_px is None else span_px
        return min(max(1, round(span_px / pixels)), self.camera.width, self.camera.height)

    def _averaged(self, weight: Tensor, factor: int) -> Tensor:
        total, norm = (avg_pool2d(each[None], factor)[0] for each in (self.image * weight, weight))
        return total / norm.clamp(min=1e-3)


def _noise(image: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    """Noise of single pixels over the span of an image [H, W], where its weight [H, W] is positive.

    The second difference across the corners of four pixels sees next to nothing of anatomy, and its median
    nothing of edges. It has twice the standard deviation of a pixel.
    """
    every = max(1, max(image.shape) // _SAMPLED_PX)
    first, second = slice(0, -1, every), slice(1, None, every)
    seen = weight[first, first] > 0
    differences = image[first, first] - image[second, first] - image[first, second] + image[second, second]
    if not seen.any():
        return 0.0
    low, high = np.percentile(image[first, first][seen], (5, 95))
    deviation = np.median(np.abs(differences[seen])) / _MEDIAN_DEVIATION / 2
    return float(deviation / max(high - low, np.finfo(np.float32).tiny))


def _whole(weight: Tensor) -> Tensor:
    """Weights of averaged pixels; one that is partly masked mixes anatomy with what the mask hides nearby."""
    return torch.where(weight > 0.99, weight, torch.zeros_like(weight))


def _averaging(
    size: int, focal: float, centre: float, own_size: int, own_focal: float, own_centre: float
) -> Tensor:
    """Matrix [size, own_size], float32, that makes a camera's pixels along one axis out of another camera's.

    The other camera's pixels are interpolated linearly, at least once each, and averaged.
    """
    per_pixel = own_focal / focal
    samples = max(1, math.ceil(abs(per_pixel) - 1e-6))
    place = (torch.arange(size * samples, dtype=torch.float64) + 0.5) / samples - 0.5
    own_place = own_centre + per_pixel * (place - centre)
    inside = (own_place > -0.5 - 1e-6) & (own_place < own_size - 0.5 + 1e-6)
    distance = own_place.clamp(0, own_size - 1)[:, None] - torch.arange(own_size)
    share = inside[:, None] * (1 - distance.abs()).clamp(min=0)
    return share.unflatten(0, (size, samples)).mean(1).float()


def pixel_at_mm(camera: Camera, camera_from_world: Tensor, point_world: Tensor) -> float:
    """Side of a pixel at the depth of a world point [3] [mm]."""
    depth = float(camera_from_world[2, :3] @ point_world + camera_from_world[2, 3])
    return min(camera.pixel_spacing_mm) * min(max(depth / camera.sdd_mm, 0.1), 1.0)
