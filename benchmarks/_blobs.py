"""A body of Gaussian blobs: its line integrals in closed form, and the CT of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from isoclinic import Volume
from isoclinic.geometry import Camera, se3
from isoclinic.volumes.attenuation import mu_from_hu

CENTRE_WORLD = torch.tensor([12.0, -30.0, 200.0], dtype=torch.float64)
CAMERA = Camera.from_pixel_spacing(width=32, height=32, pixel_spacing_mm=(9.0, 9.0), sdd_mm=1050.0)
_COUNT, _SPREAD_MM, _SIDE_MM = 12, 45.0, 300.0
_OFFSETS = _SPREAD_MM * torch.randn(_COUNT, 3, generator=torch.Generator().manual_seed(0)).double()
_SHARES = torch.linspace(0.3, 1.0, _COUNT, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Blobs:
    """The body; it stands for a `Projector`, smooth in the pose and in float64.

    Attributes:
        width_mm: standard deviation of a blob [mm].
        camera: of the images.
        isocentre_world: [3] [mm].
    """

    width_mm: float = 20.0
    camera: Camera = CAMERA
    isocentre_world: Tensor = field(default_factory=lambda: CENTRE_WORLD)

    @property
    def peak_per_mm(self) -> float:
        """Attenuation in the middle of the densest blob [1/mm]; all of the body stays below that of water."""
        return 0.25 * float(mu_from_hu(np.zeros(1, dtype=np.float32))[0])

    def volume(self, voxel_mm: float) -> Volume:
        """A CT of the body."""
        count = round(_SIDE_MM / voxel_mm)
        axis = (torch.arange(count, dtype=torch.float64) - (count - 1) / 2) * voxel_mm
        mu = np.zeros((count,) * 3)
        for offset, share in zip(_OFFSETS, _SHARES, strict=True):
            along = [(-((axis - each) ** 2) / (2 * self.width_mm**2)).exp().numpy() for each in offset]
            mu += float(share) * self.peak_per_mm * np.einsum("i,j,k->ijk", *along)
        water = float(mu_from_hu(np.zeros(1, dtype=np.float32))[0])
        if mu.max() > water:
            raise ValueError("blobs overlap too much: beyond water attenuation is not linear in HU")
        affine = np.diag([voxel_mm] * 3 + [1.0])
        affine[:3, 3] = CENTRE_WORLD.numpy() + float(axis[0])
        return Volume(hu=(1000 * (mu / water - 1)).astype(np.float32), world_from_voxel=affine)

    def image(self, camera_from_world: Tensor) -> Tensor:
        """Line integrals [B, H, W]: those of a Gaussian depend on the distance of its centre alone."""
        rays = torch.nn.functional.normalize(self.camera.rays(), dim=-1)
        world = CENTRE_WORLD + _OFFSETS
        centres = world @ camera_from_world[:, :3, :3].mT + camera_from_world[:, None, :3, 3]
        along = torch.einsum("hwk,bnk->bnhw", rays, centres)
        squared = centres.square().sum(-1)[..., None, None] - along.square()
        blobs = (-squared / (2 * self.width_mm**2)).exp() * (math.sqrt(2 * math.pi) * self.width_mm)
        return self.peak_per_mm * (_SHARES[:, None, None] * blobs).sum(1)

    def image_and_jacobian(self, camera_from_world: Tensor) -> tuple[Tensor, Tensor]:
        """Line integrals and their derivative [B, 6, H, W] along the tangent of `se3.perturb`."""

        def moved(tangent: Tensor) -> Tensor:
            return self.image(se3.perturb(camera_from_world, tangent, CENTRE_WORLD))

        def along(axis: Tensor) -> Tensor:
            slope: Tensor = torch.func.jvp(moved, (zero,), (axis.expand_as(zero),))[1]
            return slope

        zero = camera_from_world.new_zeros(len(camera_from_world), 6)
        jacobian = torch.func.vmap(along)(torch.eye(6, dtype=torch.float64))
        return self.image(camera_from_world), jacobian.movedim(0, 1)


def ap_view(depth_mm: float) -> Tensor:
    """camera_from_world [4, 4] of an antero-posterior view of the body."""
    rotation = torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]], dtype=torch.float64)
    return se3.rigid(rotation, torch.tensor([0, 0, depth_mm], dtype=torch.float64) - rotation @ CENTRE_WORLD)
