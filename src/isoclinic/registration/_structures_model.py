"""A CT whose structures move one by one, and its radiograph.

Line integrals add up, so the radiograph is that of the CT at rest, plus for every structure what it
attenuates where it is now, less the same where it was. A bone leaves soft tissue behind, not a hole: only
what it attenuates beyond soft tissue moves.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from skimage.segmentation import expand_labels
from torch import Tensor
from torch.nn.functional import max_pool2d

from ..geometry import Camera
from ..rendering import Projector, RenderConfig, render
from ..similarity import ImageSimilarity, SimilarityConfig
from ..volumes import Volume, mu_from_hu
from ._fixed import FixedImage

Structure = tuple[int | str, ...]

# Attenuation is a straight line in Hounsfield units between these; the last is beyond any bone or metal.
_KNOTS_HU = np.array([-1000.0, 0.0, 30000.0])
_POINTS = 200
# Share of its largest line integral from which a structure shows at a pixel.
_LEAST_SHOWN = 0.05


@dataclass(frozen=True, kw_only=True, eq=False)
class MovingStructure:
    """A structure that may have moved since the CT.

    Attributes:
        structure: labels or names of its parts.
        excess: its attenuation beyond that of soft tissue; air elsewhere.
        centroid_world: [3] float64 [mm].
        points_world: [N, 3] float64 [mm], centres of some of its voxels, evenly chosen.
    """

    structure: Structure
    excess: Volume
    centroid_world: Tensor
    points_world: Tensor

    @classmethod
    def of(
        cls, volume: Volume, structure: Structure, *, halo_mm: float, soft_tissue_hu: float
    ) -> MovingStructure:
        """The structure, taken out of the CT.

        Args:
            volume: the CT with its label map.
            structure: labels or names.
            halo_mm: distance that its voxels may reach beyond its labels, where no other structure is nearer.
            soft_tissue_hu: Hounsfield units of the tissue that takes its place.

        Raises:
            UsageError: a volume without labels, an unknown structure, or one without voxels.
        """
        crop = volume.crop_to_structures(structure, margin_mm=halo_mm)
        assert crop.labels is not None
        inside = crop.structure_mask(structure)
        parts = np.where(inside, 1, np.where(crop.labels > 0, 2, 0))
        parts = expand_labels(parts, halo_mm, spacing=tuple(crop.spacing_mm))
        mu = crop.attenuation() - mu_from_hu(np.array(soft_tissue_hu))
        mu = np.where(parts == 1, np.maximum(mu, 0), 0)
        hu = np.interp(mu, mu_from_hu(_KNOTS_HU), _KNOTS_HU).astype(np.float32)
        affine = crop.world_from_voxel
        points = np.argwhere(inside) @ affine[:3, :3].T + affine[:3, 3]
        return cls(
            structure=structure,
            excess=Volume(hu=hu, world_from_voxel=affine),
            centroid_world=torch.from_numpy(points.mean(axis=0)),
            points_world=torch.from_numpy(points[:: -(-len(points) // _POINTS)]),
        )

    @property
    def length_mm(self) -> float:
        """Root mean square distance of its points from the centroid."""
        return max(float((self.points_world - self.centroid_world).square().sum(-1).mean().sqrt()), 1.0)

    def visible(self, fixed: FixedImage, camera_from_world: Tensor) -> float:
        """Share of its points that the X-ray shows with any weight, at the pose [4, 4]."""
        pixels = fixed.camera.project(self.points_world, camera_from_world).round()
        limits = pixels.new_tensor([fixed.camera.width, fixed.camera.height])
        inside = ((pixels >= 0) & (pixels < limits)).all(dim=-1)
        column, row = pixels[inside].long().unbind(-1)
        return int((fixed.weight[row, column] > 0).sum()) / len(pixels)


class Scene:
    """The radiograph of a CT and its structures, at one resolution, as sum of its parts.

    Args:
        volume: the CT.
        structures: the structures that move.
        fixed: the X-ray at this resolution.
        overall: camera_from_world [4, 4] of everything else.
        poses: camera_from_world of every structure now.
        config: settings of the renderer.
    """

    def __init__(
        self,
        volume: Volume,
        structures: tuple[MovingStructure, ...],
        fixed: FixedImage,
        overall: Tensor,
        poses: list[Tensor],
        config: RenderConfig,
    ) -> None:
        self._fixed = fixed
        self._projectors = [
            Projector.of(
                each.excess, fixed.camera, overall[None], config, isocentre_world=each.centroid_world
            )
            for each in structures
        ]
        # What rests is a difference: fine voxels keep the two from blurring edges apart.
        fine = replace(config, voxel_mm="auto")
        self._rest = render(volume, fixed.camera, overall, fine)[0].cpu()
        for each in structures:
            self._rest = self._rest - render(each.excess, fixed.camera, overall, fine)[0].cpu()
        self._shown = [torch.zeros_like(self._rest) for _ in structures]
        for index, pose in enumerate(poses):
            self.move(index, pose)

    @property
    def camera(self) -> Camera:
        """The camera of the whole image."""
        return self._fixed.camera

    def contrast(self, index: int) -> float:
        """Sum of the attenuation that a structure adds to the picture."""
        return float(self._shown[index].sum())

    def move(self, index: int, pose: Tensor) -> None:
        """Put a structure at camera_from_world [4, 4]."""
        self._shown[index] = self._projectors[index].image(pose[None])[0].cpu()

    def similarity(self, index: int, margin_px: int, config: SimilarityConfig) -> ImageSimilarity | None:
        """The solver's problem of one structure, all others staying where they are.

        Only pixels within `margin_px` of the structure count, and only the part of the image around them is
        rendered. None where the X-ray shows none of them.
        """
        shown = self._shown[index]
        near = (shown > _LEAST_SHOWN * shown.max()).float()
        near = max_pool2d(near[None], 2 * margin_px + 1, stride=1, padding=margin_px)[0]
        weight = self._fixed.weight * near
        rows, columns = (weight.any(dim=dim).nonzero().flatten() for dim in (1, 0))
        if not len(rows):
            return None
        top, left = int(rows[0]), int(columns[0])
        height, width = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
        window = slice(top, top + height), slice(left, left + width)
        others = sum((image for other, image in enumerate(self._shown) if other != index), start=self._rest)
        return ImageSimilarity(
            projector=replace(
                self._projectors[index],
                camera=self._fixed.camera.crop(top=top, left=left, height=height, width=width),
            ),
            fixed=self._fixed.image[window],
            weight=weight[window],
            config=config,
            background=others[window],
        )
