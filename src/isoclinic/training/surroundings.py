"""What else an X-ray of a part shows: line integrals of other things, put together at random."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ..anatomy import Cohort
from ..geometry import Camera, se3, so3
from ..rendering import Projector, RenderConfig
from ..rendering.config import Backend, Method
from ..volumes import Material, Volume
from ._draws import log_uniform, per_image, uniform
from .part_config import SurroundingsConfig

MATERIALS: tuple[Material, ...] = ("soft_tissue", "bone")
# Things lie before and behind the part by up to so many of its radii.
_DEPTH = 1.5


class Surroundings:
    """Images of all that is no part of the part, by the index of the batch.

    Args:
        volume: the CT, of which variations are made.
        camera: of the images.
        depth_mm: distance of the part from the source [mm].
        radius_mm: of the part [mm].
        config: what there is.
        method: of rendering.
        backend: of the renderer.
        seed: of all that is drawn.
    """

    def __init__(
        self,
        volume: Volume,
        camera: Camera,
        depth_mm: float,
        radius_mm: float,
        config: SurroundingsConfig,
        *,
        method: Method,
        backend: Backend,
        seed: int,
    ) -> None:
        self.config = config
        self._camera = camera
        self._depth_mm = depth_mm
        self._radius_mm = radius_mm
        self._rendering = method, backend
        pixel_mm = depth_mm / camera.fx
        self._voxel_mm = 1.2 * pixel_mm
        self._cohort = Cohort([volume], config.cohort(self._voxel_mm), seed=seed)
        self._projectors: WeakKeyDictionary[Volume, list[Projector]] = WeakKeyDictionary()

    def images(self, index: int, generator: torch.Generator, count: int) -> Tensor:
        """Line integrals [count, 2, H, W] of soft tissue and bone, metal among it."""
        low, high = self.config.things
        number = torch.randint(low, high + 1, (count,), generator=generator)
        total = torch.zeros(count, 2, self._camera.height, self._camera.width)
        if high:
            # Two things, seen from as many sides; each X-ray takes some of the views.
            seen = count - count // 2
            views = torch.cat(
                [self._views(self._cohort.anatomy(2 * index + half), generator, seen) for half in (0, 1)]
            ).to(total)
            for place in range(high):
                strength = uniform(self.config.strength, count, 1, generator=generator)
                strength = strength * (place < number)[:, None]
                chosen = torch.randperm(len(views), generator=generator)[:count]
                total = total + strength[..., None, None] * views[chosen]
        total[:, 0] += self._tissue(generator, count)
        return total

    def _views(self, thing: Volume, generator: torch.Generator, count: int) -> Tensor:
        if thing not in self._projectors:
            self._projectors[thing] = [self._projector(thing, material) for material in MATERIALS]
        projectors = self._projectors[thing]
        turn = random_rotations(generator, count)
        half_mm = self._depth_mm / self._camera.fx * self._camera.width / 2
        reach = torch.tensor([half_mm, half_mm, _DEPTH * self._radius_mm], dtype=torch.float64)
        place = (2 * torch.rand(count, 3, generator=generator, dtype=torch.float64) - 1) * reach
        place[:, 2] += self._depth_mm
        isocentre = projectors[0].isocentre_world
        poses = se3.rigid(turn, place - turn @ isocentre)
        return torch.stack([projector.image(poses) for projector in projectors], dim=1)

    def _projector(self, thing: Volume, material: Material) -> Projector:
        method, backend = self._rendering
        rendering = RenderConfig(method=method, voxel_mm="full", material=material, backend=backend)
        return Projector.of(thing, self._camera, torch.eye(4, dtype=torch.float64)[None], rendering)

    def _tissue(self, generator: torch.Generator, count: int) -> Tensor:
        """Smooth positive lumps [count, H, W] of different sizes."""
        height, width = self._camera.height, self._camera.width
        scale = log_uniform(self.config.tissue_scale, count, generator=generator)
        sizes = (1 / scale).round().int().clamp(2, min(height, width)).tolist()
        strength = per_image(uniform(self.config.tissue, count, generator=generator))
        base = per_image(uniform((0.0, 3.0), count, generator=generator))
        lumps = [
            interpolate(
                torch.randn(1, 1, size, size, generator=generator),
                (height, width),
                mode="bicubic",
                align_corners=False,
            )[0, 0]
            for size in sizes
        ]
        return (base * strength + strength * torch.stack(lumps)).clamp(min=0)


def random_rotations(generator: torch.Generator, count: int) -> Tensor:
    """Rotations [count, 3, 3], float64, uniform among all: those of normal quaternions (Shoemake 1992)."""
    return so3.matrix_from_quaternion(torch.randn(count, 4, generator=generator, dtype=torch.float64))
