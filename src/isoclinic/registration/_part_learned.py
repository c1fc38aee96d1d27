"""A model's network of a part: where it sees the part in an X-ray, and refinements by what it sees."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from ..errors import UsageError
from ..geometry import Camera, se3
from ..networks import CanonicalNetwork, Checkpoint
from ..networks.part_view import PartShape, camera_at_depth
from ..rendering import Projector, RenderConfig
from ..similarity import CanonicalSimilarity, canonical_target
from ..solver import Huber, Solution, levenberg_marquardt
from ..volumes import Volume
from ._fixed import FixedImage
from ._halton import halton
from ._learned import Learned
from .config import RegistrationConfig
from .initialize import InitialPose
from .result import StageResult

# A resampled pixel counts where all of what it is interpolated from does.
_SEEN = 0.99
# Steps that tell which candidates are worth more, and the number of those.
_FEW_STEPS, _FULLY = 8, 2
# Poses that are farther off than so many times the starts in training are lost.
_BEYOND = 1.5


@dataclass(frozen=True, kw_only=True, eq=False)
class PartLearned:
    """The canonical network of a part, and the X-ray it sees; in the place of `Learned`.

    The camera of each look is at the X-ray's source and is turned until it looks straight at where the part
    is thought to be, as in training; so a pose in that camera is the X-ray's but for this turn.

    Attributes:
        model: the network, in evaluation mode, and the record of its training.
        volume: the CT.
        fixed: the X-ray at full resolution.
        config: settings of the registration.
    """

    model: Checkpoint
    volume: Volume
    fixed: FixedImage
    config: RegistrationConfig

    @classmethod
    def of(
        cls, model: Checkpoint, volume: Volume, fixed: FixedImage, config: RegistrationConfig
    ) -> PartLearned:
        """Prepare the network of a model for an X-ray.

        Raises:
            UsageError: it was trained for other structures than those that are to be registered.
        """
        part = model.record.part
        assert part is not None
        if part.structures != config.structures:
            trained, wanted = (
                "all tissue" if each is None else ", ".join(map(str, each))
                for each in (part.structures, config.structures)
            )
            raise UsageError(
                f"the model was trained for {trained} of the CT, and {wanted} is to be registered: choose "
                "the same `structures`, or leave out the model",
                code="model.unused",
            )
        if not (config.learned.part.enabled or config.learned.part.polish):
            raise UsageError(
                "no part of the model is used: choose `learned.part.enabled` or `learned.part.polish`, or "
                "leave out the model",
                code="model.unused",
            )
        return cls(model=model, volume=volume, fixed=fixed, config=config)

    @property
    def names(self) -> tuple[str, ...]:
        """Name of the network that refines a start, for people to read; none where that is off."""
        return ("canonical",) if self.config.learned.part.enabled else ()

    def start(self) -> InitialPose | None:
        """None: nothing here predicts a pose without a start."""
        return None

    @property
    def canonical_image(self) -> FixedImage | None:
        """None: there is no image of the whole X-ray."""
        return None

    def refine(self, points: Tensor) -> list[StageResult]:
        """One stage for each look, the first around the first of poses [B, 4, 4]."""
        settings = self.config.learned.part
        if not self.names:
            return []
        results: list[StageResult] = []
        pose = points[:1]
        for reach in settings.reaches:
            stage = self.look(pose, reach)
            found = stage.camera_from_world[stage.best]
            if not self._within_reach(points[0], found):
                break
            results.append(stage)
            pose = found[None]
        return results

    def _within_reach(self, start: Tensor, found: Tensor) -> bool:
        """Whether a pose [4, 4] is about as near to the start as those were in training; else it is lost."""
        record = self.model.record
        reach = start.new_tensor([*map(math.radians, record.rotation_deg), *record.translation_mm])
        part = record.part
        assert part is not None
        centre = PartShape.of(self.volume, part.structures).centre_world
        tangent = se3.perturbation(start, found, centre)
        return bool(
            (tangent[:3].norm() <= _BEYOND * reach[0]) and (tangent[3:].abs() <= _BEYOND * reach[3:]).all()
        )

    def polish(self, pose: Tensor) -> StageResult:
        """One look around a pose [4, 4] that is nearly right."""
        return self.look(pose[None], 0.0)

    @torch.no_grad()
    def look(self, pose: Tensor, reach: float) -> StageResult:
        """Where the network sees the part near a pose [1, 4, 4]: candidates within the reach are refined.

        Args:
            pose: of the X-ray's camera.
            reach: largest shift across the beam [mm] and turn about each axis [deg] of the candidates; 0 for
                the pose alone.
        """
        began = time.perf_counter()
        settings = self.config.learned.part
        view, problem = self.problem(pose)
        points = view @ pose
        if reach > 0:
            count = settings.candidates
            scale = points.new_tensor([*[math.radians(reach)] * 3, reach, reach, 2 * reach])
            tangents = (2 * torch.from_numpy(halton(count, 6)) - 1) * scale
            around = se3.perturb(points, tangents, problem.projector.isocentre_world)
            costs = problem.cost(around)
            points = torch.cat([points, around[costs.argsort()[: settings.keep]]])
        solver = self.config.learned.solver(self.config.length_mm, self.config.max_step_mm)
        solver = replace(
            solver, step_tolerance=settings.step_tolerance_mm, max_steps=min(_FEW_STEPS, settings.max_steps)
        )
        if len(points) > _FULLY:
            few = levenberg_marquardt(problem, points, solver)
            points = few.x[few.cost.argsort()[:_FULLY]]
        solution = levenberg_marquardt(problem, points, replace(solver, max_steps=settings.max_steps))
        size = problem.projector.camera.width
        return StageResult(
            name=f"canonical, {size} x {size} px about the part",
            solution=_seen_by_xray(solution, view),
            best=int(solution.cost.argsort()[0]),
            seconds=time.perf_counter() - began,
        )

    def problem(self, pose: Tensor) -> tuple[Tensor, CanonicalSimilarity]:
        """The turn [1, 4, 4] to the camera of a look at a pose [1, 4, 4], and the problem in that camera."""
        part, network = self.model.record.part, cast(CanonicalNetwork, self.model.networks["canonical"])
        assert part is not None
        shape = PartShape.of(self.volume, part.structures)
        view = shape.view_from_camera(pose)
        camera = camera_at_depth(self.model.record.camera, part.depth_mm, float(shape.depth_mm(pose[0])))
        rendering = RenderConfig(
            method=self.model.record.renderer, structures=part.structures, backend=self.config.backend
        )
        projector = Projector.of(
            self.volume, camera, view @ pose, rendering, isocentre_world=shape.centre_world
        )
        device = torch.device("cuda" if self.config.backend == "cuda" else "cpu")
        image, weight = (each[None].to(device) for each in turned(self.fixed, camera, view[0]))
        hint = canonical_target(projector.image(view @ pose).cpu(), network.config).to(device)
        robust = Huber(scale=self.config.learned.robust_scale)
        problem = CanonicalSimilarity.of(projector, network.to(device), image, weight, robust, hint)
        return view, problem


def _seen_by_xray(solution: Solution, view_from_camera: Tensor) -> Solution:
    """A solution in a turned camera [1, 4, 4] as one of the X-ray's own camera."""
    back = se3.inverse(view_from_camera)
    trace = replace(solution.trace, x=back @ solution.trace.x)
    return replace(solution, x=back @ solution.x, trace=trace)


def turned(fixed: FixedImage, camera: Camera, view_from_camera: Tensor) -> tuple[Tensor, Tensor]:
    """The X-ray [H, W] in a camera at the same source that is turned [4, 4], and the weight of its pixels.

    A camera that turns about its source sees the same rays: pixels go over into each other by a homography
    (Hartley & Zisserman 2004, section 8.4). The X-ray is averaged down first where its pixels are smaller.
    """
    own = fixed.camera
    factor = max(1, math.floor(min(abs(own.fx / camera.fx), abs(own.fy / camera.fy))))
    if factor > 1:
        fixed = fixed.averaged(min(factor, own.width, own.height))
        own = fixed.camera
    rays = camera.rays().reshape(-1, 3) @ view_from_camera[:3, :3]
    before = rays[:, 2] > 0
    place = rays[:, :2] / rays[:, 2:].clamp(min=1e-6)
    u, v = own.fx * place[:, 0] + own.cx, own.fy * place[:, 1] + own.cy
    grid = torch.stack([(2 * u + 1) / own.width - 1, (2 * v + 1) / own.height - 1], dim=1)
    grid = torch.where(before[:, None], grid, torch.full_like(grid, -3.0)).float()
    grid = grid.reshape(1, camera.height, camera.width, 2)
    both = torch.stack([fixed.image * fixed.weight, fixed.weight])[None]
    total, norm = grid_sample(both, grid, mode="bilinear", padding_mode="zeros", align_corners=False)[0]
    weight = (norm > _SEEN).to(norm)
    return total / norm.clamp(min=1e-3), weight


def learned_of(
    model: Checkpoint, volume: Volume, fixed: FixedImage, config: RegistrationConfig
) -> Learned | PartLearned:
    """Prepare the networks of a model, of whole CTs or of a part, for an X-ray in its own camera.

    Raises:
        UsageError: as for `Learned.of` and `PartLearned.of`.
    """
    kind = Learned if model.record.part is None else PartLearned
    return kind.of(model, volume, fixed, config)
