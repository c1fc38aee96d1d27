"""Endless training data of a part: X-rays of it and random surroundings, and clean renderings of it alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import count

import numpy as np
import torch
from torch import Tensor

from ..geometry import Camera, se3
from ..networks.part_view import PartShape
from ..rendering import Projector, RenderConfig
from ..volumes import Material, Volume, open_faces
from ._draws import batch_generator, copied, log_uniform, uniform
from .part_config import PartConfig
from .randomization import apply, draw
from .stream import Batch, StreamConfig
from .surroundings import MATERIALS, Surroundings, random_rotations


class PartStream:
    """Like `SimulationStream`, of a part: the fixed image shows all else, too, the moving one the part alone.

    Every X-ray comes with the rendering at a start, of which it is known how far it may be off: the camera
    looks straight at the start, as `PartShape.view_from_camera` turns it, so that any start of a registration
    can be seen in the same way.

    Args:
        volume: the CT.
        camera: see `networks.part_view.part_camera`.
        config: of the batches; its poses are not used.
        part: what a part has besides.
        depth_mm: distance of the part from the source [mm].
        seed: of everything that is drawn.
    """

    def __init__(
        self,
        volume: Volume,
        camera: Camera,
        config: StreamConfig,
        part: PartConfig,
        *,
        depth_mm: float,
        seed: int,
    ) -> None:
        self.camera = camera
        self.config = config
        self.part = part
        self.seed = seed
        self.shape = PartShape.of(volume, part.structures)
        self.depth_mm = depth_mm
        self._volume = volume
        self._projectors = [self._projector(material, part.structures) for material in MATERIALS]
        longer = volume if part.structures else continued(volume)
        self._beyond = (
            None if longer is volume else [self._projector(material, None, longer) for material in MATERIALS]
        )
        self._moving = self._projector("all", part.structures)
        self._all = [self._projector(material, None) for material in MATERIALS] if part.structures else None
        self._surroundings = Surroundings(
            volume,
            camera,
            depth_mm,
            self.shape.radius_mm,
            part.surroundings,
            method=config.method,
            backend=config.backend,
            seed=seed,
        )

    def __iter__(self) -> Iterator[Batch]:
        """Batches 0, 1, 2 and so on, without end."""
        return self.batches()

    def batches(self, start: int = 0, step: int = 1) -> Iterator[Batch]:
        """Batches start, start + step, and so on, without end; see `SimulationStream.batches`."""
        return map(self.batch, count(start, step))

    def projector(self, volume: Volume) -> Projector:
        """What renders the moving images; the volume is always that of the stream."""
        return self._moving

    def batch(self, index: int) -> Batch:
        """Batch number `index` of the stream, at least 0; `hint` is the rendering at the start."""
        generator = batch_generator(self.seed, index)
        config = self.config
        pairs = config.batch // config.copies
        start = self._starts(generator, pairs)
        perturbation = self._perturbations(generator, pairs)
        pose = se3.perturb(start, perturbation, self.shape.centre_world)
        strength = uniform(self.part.strength, pairs, 1, 1, 1, generator=generator)
        own = self._own(pose, generator)
        own = strength.to(own) * own + self._rest(pose, generator)
        around = torch.cat(
            [self._surroundings.images(index, generator, pairs) for _ in range(config.copies)]
        ).unflatten(0, (config.copies, pairs))
        materials = (own[None] + around.to(own)).movedim(0, 1).flatten(0, 1)
        parameters = draw(config.randomization, generator, config.batch)
        fixed, weight = apply(materials, parameters, config.domain)
        clean = [self._copies(self._moving.image(each)) for each in (pose, start)]
        return Batch(
            index=index,
            volume=self._volume,
            camera=self.camera,
            domain=config.domain,
            fixed=fixed,
            weight=weight,
            fixed_camera_from_world=self._copies(pose),
            moving=clean[0],
            jacobian=None,
            moving_camera_from_world=self._copies(start),
            perturbation=self._copies(perturbation),
            parameters=parameters,
            projector=self._moving,
            hint=clean[1],
        )

    def _starts(self, generator: torch.Generator, pairs: int) -> Tensor:
        """Poses [pairs, 4, 4] of a part that is turned any way, as the camera looks straight at it."""
        shape = self.shape
        turn = random_rotations(generator, pairs)
        place = torch.tensor([0.0, 0.0, self.depth_mm], dtype=torch.float64)
        poses = se3.rigid(turn, place - turn @ shape.centre_world)
        return shape.view_from_camera(poses) @ poses

    def _perturbations(self, generator: torch.Generator, pairs: int) -> Tensor:
        """Tangents [pairs, 6] from starts to the true poses."""
        part = self.part
        turn, shift = torch.nn.functional.normalize(
            torch.randn(2, pairs, 3, generator=generator, dtype=torch.float64), dim=-1
        )
        turn = turn * torch.deg2rad(log_uniform(part.start_deg, pairs, 1, generator=generator).double())
        size = log_uniform(part.start_mm, pairs, 1, generator=generator).double()
        shift = shift * size * shift.new_tensor([1.0, 1.0, part.start_depth_mm / part.start_mm[1]])
        return torch.cat([turn, shift], dim=1)

    def _own(self, pose: Tensor, generator: torch.Generator) -> Tensor:
        """Line integrals [pairs, 2, H, W] of the part, of some with what follows where the CT ends."""
        probability = self.part.surroundings.continued_probability
        longer = torch.rand(len(pose), generator=generator) < probability
        images = torch.stack([projector.image(pose) for projector in self._projectors], dim=1)
        if self._beyond is None or not longer.any():
            return images
        images[longer] = torch.stack([each.image(pose[longer]) for each in self._beyond], dim=1)
        return images

    def _rest(self, pose: Tensor, generator: torch.Generator) -> Tensor | float:
        """The rest of the CT [pairs, 2, H, W] about where it lies; nothing where the part is all of it."""
        if self._all is None:
            return 0.0
        config, pairs = self.part.surroundings, len(pose)
        reach = config.rest_reach_mm * pose.new_tensor([*[math.pi / 540] * 3, 1.0, 1.0, 1.0])
        tangent = (2 * torch.rand(pairs, 6, generator=generator, dtype=torch.float64) - 1) * reach
        there = se3.perturb(pose, tangent, self.shape.centre_world)
        shown = (torch.rand(pairs, 1, 1, 1, generator=generator) < config.rest_probability).float()
        rest = [
            (every.image(there) - own.image(there)).clamp(min=0)
            for every, own in zip(self._all, self._projectors, strict=True)
        ]
        images = torch.stack(rest, dim=1)
        return shown.to(images) * images

    def _copies(self, of_pairs: Tensor) -> Tensor:
        return copied(of_pairs, self.config.copies)

    def _projector(
        self, material: Material, structures: tuple[int | str, ...] | None, volume: Volume | None = None
    ) -> Projector:
        config, shape = self.config, self.shape
        rendering = RenderConfig(
            method=config.method,
            voxel_mm=config.voxel_mm,
            structures=structures,
            material=material,
            backend=config.backend,
        )
        middle = torch.eye(4, dtype=torch.float64)
        middle[2, 3] = self.depth_mm
        middle[:3, 3] -= shape.centre_world
        volume = self._volume if volume is None else volume
        return Projector.of(volume, self.camera, middle[None], rendering, isocentre_world=shape.centre_world)


def continued(volume: Volume) -> Volume:
    """The CT with what its open faces show drawn out to half its length; the same where none is open."""
    ends = np.zeros((3, 2), dtype=int)
    for face in open_faces(volume):
        ends[face.axis, int(face.last)] = volume.shape[face.axis] // 2
    if not ends.any():
        return volume
    affine = volume.world_from_voxel.copy()
    affine[:3, 3] -= affine[:3, :3] @ ends[:, 0]
    hu = np.pad(volume.hu.astype(np.float32), ends, mode="edge")
    return Volume(hu=hu, world_from_voxel=affine)
