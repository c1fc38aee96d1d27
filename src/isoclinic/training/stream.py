"""Endless training data: pairs of a randomised X-ray and a clean rendering of an anatomy, with both poses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Literal, get_args
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..anatomy import Cohort
from ..errors import UsageError
from ..geometry import Camera, se3
from ..networks import ImageDomain, in_domain, jacobian_in_domain
from ..rendering import Projector, RenderConfig
from ..rendering.config import Backend, Method
from ..volumes import Material, Volume
from ._draws import batch_generator, copied
from .pose_config import PoseConfig
from .poses import draw_perturbations, draw_poses
from .randomization import Parameters, apply, draw
from .randomization_config import RandomizationConfig

Moving = Literal["none", "same", "image", "jacobian"]


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """What a batch consists of.

    Attributes:
        batch: pairs in a batch.
        copies: pairs that share their renderings and differ in the randomisation only; divides the batch.
        moving: "none" for X-rays alone, "same" for a clean rendering of each, "image" for one of the
            perturbed pose, "jacobian" for its derivative by the pose, too.
        around: pairs in succession whose X-rays show the same view but for a perturbation of each after the
            first: any two images of theirs then make a pair. Divides `batch` over `copies`.
        domain: of all images; see `in_domain`.
        method: of rendering.
        voxel_mm: voxel size to render at, as in `RenderConfig`; "auto" is chosen for the middle of the poses.
        backend: of the renderer.
        poses: views and perturbations.
        randomization: of the X-rays.

    Raises:
        UsageError: no pairs, copies that do not divide them, or another kind of moving image.
    """

    batch: int = 8
    copies: int = 1
    moving: Moving = "image"
    around: int = 1
    domain: ImageDomain = "line_integrals"
    method: Method = "trilinear"
    voxel_mm: Literal["auto", "full"] | float = "auto"
    backend: Backend = "auto"
    poses: PoseConfig = field(default_factory=PoseConfig)
    randomization: RandomizationConfig = field(default_factory=RandomizationConfig.isoclinic)

    def __post_init__(self) -> None:
        if self.copies < 1 or self.batch < 1 or self.batch % self.copies:
            raise UsageError(
                f"copies ({self.copies}) must divide the batch ({self.batch}), both at least 1",
                code="training.invalid-value",
            )
        if self.around < 1 or (self.batch // self.copies) % self.around:
            raise UsageError(
                f"around ({self.around}) must be at least 1 and divide the renderings of a batch "
                f"({self.batch // self.copies})",
                code="training.invalid-value",
            )
        if self.moving not in get_args(Moving):
            raise UsageError(
                f"moving must be one of {', '.join(get_args(Moving))}, not {self.moving!r}",
                code="training.invalid-value",
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """B pairs of one anatomy. Images are on the device they were rendered on, poses on the CPU.

    Attributes:
        index: of the batch in its stream.
        volume: the CT of the anatomy, which may lack an end of it; see `Cohort.known_part`.
        camera: of the images.
        domain: of all images.
        fixed: randomised X-ray [B, H, W], bright where dense.
        weight: [B, H, W], 0 where a collimator or the detector's end hides the patient, else 1.
        fixed_camera_from_world: [B, 4, 4], float64.
        moving: clean rendering [B, H, W]; None where the stream makes none.
        jacobian: [B, H, W, 6], derivative of `moving` by the tangent of `se3.perturb`; None where the stream
            makes none.
        moving_camera_from_world: [B, 4, 4], float64; the fixed pose perturbed.
        perturbation: [B, 6], float64, the tangent that took the fixed pose to the moving one.
        parameters: of the randomisation.
        projector: of the moving images.
        hint: rendering [B, H, W] at a start, for networks of parts that see one; else None.
    """

    index: int
    volume: Volume
    camera: Camera
    domain: ImageDomain
    fixed: Tensor
    weight: Tensor
    fixed_camera_from_world: Tensor
    moving: Tensor | None
    jacobian: Tensor | None
    moving_camera_from_world: Tensor
    perturbation: Tensor
    parameters: Parameters
    projector: Projector
    hint: Tensor | None = None

    @property
    def isocentre_world(self) -> Tensor:
        """What poses turn about: the centre of the anatomy's grid [3] [mm], float64, on the CPU."""
        return torch.as_tensor(self.volume.isocentre_world, dtype=torch.float64)

    def to(self, device: torch.device) -> Batch:
        """The same with its images on another device."""
        moving, jacobian, hint = (
            None if image is None else image.to(device) for image in (self.moving, self.jacobian, self.hint)
        )
        fixed, weight = self.fixed.to(device), self.weight.to(device)
        return replace(self, fixed=fixed, weight=weight, moving=moving, jacobian=jacobian, hint=hint)


class SimulationStream:
    """Batch i depends on the seed and i alone: to resume, go on with the next index.

    Args:
        anatomies: CTs, of which every batch takes one at random, or a cohort that says whom it takes.
        camera: of all images.
        config: what a batch consists of.
        seed: of everything that is drawn.

    Raises:
        UsageError: no CTs, or a renderer that is not there.
    """

    def __init__(
        self, anatomies: Sequence[Volume] | Cohort, camera: Camera, config: StreamConfig, *, seed: int
    ) -> None:
        if not isinstance(anatomies, Cohort) and not anatomies:
            raise UsageError("a simulation stream needs at least one CT", code="training.no-ct")
        if seed < 0:
            raise UsageError(f"seed must not be negative, not {seed}", code="training.invalid-value")
        self.camera = camera
        self.config = config
        self.seed = seed
        self._anatomies = anatomies
        # Of those anatomies that are still in use somewhere.
        self._projectors: WeakKeyDictionary[Volume, dict[Material, Projector]] = WeakKeyDictionary()

    def __iter__(self) -> Iterator[Batch]:
        """Batches 0, 1, 2 and so on, without end."""
        return self.batches()

    def batches(self, start: int = 0, step: int = 1) -> Iterator[Batch]:
        """Batches start, start + step, and so on, without end.

        Args:
            start: first index: the number of batches done, to resume; the rank, in one of several processes.
            step: the number of processes.
        """
        return map(self.batch, count(start, step))

    def batch(self, index: int) -> Batch:
        """Batch number `index` of the stream, at least 0."""
        generator = batch_generator(self.seed, index)
        config, anatomy = self.config, self._anatomy(index, generator)
        volume = self._known_part(anatomy)
        projector = self.projector(volume)
        isocentre = projector.isocentre_world
        pairs = config.batch // config.copies
        fixed_pose = self._fixed_poses(isocentre, generator, pairs)
        perturbation = draw_perturbations(config.poses, generator, pairs)
        if config.moving == "same":
            perturbation = torch.zeros_like(perturbation)
        moving_pose = se3.perturb(fixed_pose, perturbation, isocentre)
        parameters = draw(config.randomization, generator, config.batch)
        materials = torch.stack(
            [self._projector_of(anatomy, each).image(fixed_pose) for each in ("soft_tissue", "bone")], dim=1
        )
        fixed, weight = apply(self._copies(materials), parameters, config.domain)
        moving, jacobian = self._moving(projector, moving_pose, weight)
        return Batch(
            index=index,
            volume=volume,
            camera=self.camera,
            domain=config.domain,
            fixed=fixed,
            weight=weight,
            fixed_camera_from_world=self._copies(fixed_pose),
            moving=moving,
            jacobian=None if jacobian is None else jacobian.movedim(1, -1),
            moving_camera_from_world=self._copies(moving_pose),
            perturbation=self._copies(perturbation),
            parameters=parameters,
            projector=projector,
        )

    def projector(self, volume: Volume) -> Projector:
        """What renders the moving images of an anatomy."""
        return self._projector_of(volume, "all")

    def _anatomy(self, index: int, generator: torch.Generator) -> Volume:
        if isinstance(self._anatomies, Cohort):
            return self._anatomies.anatomy(index)
        return self._anatomies[int(torch.randint(len(self._anatomies), (), generator=generator))]

    def _known_part(self, anatomy: Volume) -> Volume:
        # What an X-ray should have been without its trouble is all of it.
        if self.config.moving == "same" or not isinstance(self._anatomies, Cohort):
            return anatomy
        return self._anatomies.known_part(anatomy)

    def _projector_of(self, volume: Volume, material: Material) -> Projector:
        projectors = self._projectors.setdefault(volume, {})
        if material not in projectors:
            projectors[material] = self._projector(volume, material)
        return projectors[material]

    def _moving(
        self, projector: Projector, pose: Tensor, weight: Tensor
    ) -> tuple[Tensor | None, Tensor | None]:
        """Moving images and Jacobians of all copies of poses, of the weights [B, H, W] of the X-rays."""
        if self.config.moving == "none":
            return None, None
        if self.config.moving == "jacobian":
            image, jacobian = map(self._copies, projector.image_and_jacobian(pose))
            return jacobian_in_domain(image, jacobian, weight, self.config.domain)
        return in_domain(self._copies(projector.image(pose)), weight, self.config.domain), None

    def _fixed_poses(self, isocentre: Tensor, generator: torch.Generator, pairs: int) -> Tensor:
        poses, around = self.config.poses, self.config.around
        views = draw_poses(poses, isocentre, generator, pairs // around)
        if around == 1:
            return views
        perturbation = draw_perturbations(poses, generator, pairs)
        perturbation[::around] = 0
        return se3.perturb(views.repeat_interleave(around, dim=0), perturbation, isocentre)

    def _copies(self, of_pairs: Tensor) -> Tensor:
        return copied(of_pairs, self.config.copies)

    def _projector(self, volume: Volume, material: Material) -> Projector:
        config = self.config
        middle = config.poses.middle(torch.as_tensor(volume.isocentre_world, dtype=torch.float64))
        rendering = RenderConfig(
            method=config.method, voxel_mm=config.voxel_mm, material=material, backend=config.backend
        )
        return Projector.of(volume, self.camera, middle[None], rendering)
