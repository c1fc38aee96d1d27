"""X-rays of Gaussian blobs: line integrals in closed form, float64, smooth in pose and intrinsics."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from isoclinic.geometry import Camera, se3
from isoclinic.similarity.image_similarity import Scatter
from isoclinic.solver import L2, Linearization, normal_equations

ISOCENTRE = torch.tensor([12.0, -30.0, 200.0], dtype=torch.float64)
DEPTH_MM = 700.0
WIDTH_MM = 25.0
CAMERA = Camera.from_pixel_spacing(
    width=22, height=18, pixel_spacing_mm=(14.0, 15.0), sdd_mm=1050.0, principal_point_px=(9.0, 10.0)
)
AP = se3.rigid(
    torch.tensor([[-1.0, 0, 0], [0, 0, -1], [0, -1, 0]], dtype=torch.float64), torch.zeros(3).double()
)
AP[:3, 3] = torch.tensor([0, 0, DEPTH_MM]) - AP[:3, :3] @ ISOCENTRE
_CENTRES = ISOCENTRE + 45 * torch.randn(12, 3, generator=torch.Generator().manual_seed(0)).double()


@dataclass(frozen=True, kw_only=True)
class BlobProjector:
    """Stands for a `Projector`."""

    camera: Camera = CAMERA
    isocentre_world: Tensor = field(default_factory=lambda: ISOCENTRE)

    def image(self, camera_from_world: Tensor, camera: Camera | None = None) -> Tensor:
        """The integral of a Gaussian along a line depends on the distance of its centre alone."""
        rays = torch.nn.functional.normalize((camera or self.camera).rays(), dim=-1)
        centres = _CENTRES @ camera_from_world[:, :3, :3].mT + camera_from_world[:, None, :3, 3]
        along = torch.einsum("hwk,bnk->bnhw", rays, centres)
        distance_squared = centres.square().sum(-1)[..., None, None] - along.square()
        blobs = (-distance_squared / (2 * WIDTH_MM**2)).exp() * math.sqrt(2 * math.pi) * WIDTH_MM
        weights = torch.linspace(0.1, 0.3, len(_CENTRES), dtype=torch.float64)
        return (weights[:, None, None] * blobs).sum(1)

    def image_and_jacobian(
        self, camera_from_world: Tensor, camera: Camera | None = None
    ) -> tuple[Tensor, Tensor]:
        """By automatic differentiation."""

        def moved(tangent: Tensor) -> Tensor:
            return self.image(se3.perturb(camera_from_world, tangent, ISOCENTRE), camera)

        def along(axis: Tensor) -> Tensor:
            return torch.func.jvp(moved, (zero,), (axis.expand_as(zero),))[1]

        zero = camera_from_world.new_zeros(len(camera_from_world), 6)
        jacobian = torch.func.vmap(along)(torch.eye(6, dtype=torch.float64))
        return self.image(camera_from_world, camera), jacobian.movedim(0, 1)


@dataclass(frozen=True, kw_only=True)
class BlobSimilarity:
    """Stands for an `ImageSimilarity`: half the mean squared difference of the images themselves."""

    fixed: Tensor
    projector: BlobProjector = field(default_factory=BlobProjector)

    def linearize_images(self, image: Tensor, jacobian: Tensor, items: Tensor | None = None) -> Linearization:
        residual = (image - self.fixed).flatten(1)
        weight = torch.full_like(residual, 1 / residual.shape[1])
        return normal_equations(residual, jacobian.flatten(2).mT, weight, L2())

    def scatter_images(self, image: Tensor, jacobian: Tensor, tile_px: int) -> Scatter:
        """Every row is a tile."""
        tiles = (jacobian * (image - self.fixed)[:, None]).sum(-1).mT / self.fixed.numel()
        return Scatter(tiles, self.linearize_images(image, jacobian).hessian)

    def correlate_images(self, image: Tensor) -> Tensor:
        return -(image - self.fixed).square().mean(dim=(1, 2))
