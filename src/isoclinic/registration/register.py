"""From a CT and an X-ray to a pose: search, coarse to fine, and what is known about the result."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from ..errors import InputError
from ..geometry import Camera
from ..rendering import Projector, RenderConfig
from ..similarity import ImageSimilarity
from ..solver import Reason, Solution, Status, levenberg_marquardt
from ..volumes import Volume, XRay, line_integrals
from .config import RegistrationConfig, Stage
from .initialize import InitialPose, initial_pose
from .search import SearchConfig, search

_DEFAULT = RegistrationConfig()


@dataclass(frozen=True, kw_only=True, eq=False)
class StageResult:
    """What one stage did.

    Attributes:
        name: for people to read.
        solution: of all its starts [B]; see `Solution`.
        correlation: local correlation of every start's result [B].
        best: index of the start with the highest correlation.
        seconds: wall time.
    """

    name: str
    solution: Solution
    correlation: Tensor
    best: int
    seconds: float

    @property
    def similarity(self) -> float:
        """Highest of the correlations."""
        return float(self.correlation[self.best])


@dataclass(frozen=True, kw_only=True, eq=False)
class RegistrationResult:
    """A registered pose.

    Attributes:
        camera_from_world: [4, 4], float64, world RAS in mm.
        status: how far to rely on it; `doubtful` where the images do not match.
        reason: the rule that stopped the last stage.
        similarity: local correlation of X-ray and DRR at the pose, in the last stage; 1 is a perfect match.
        covariance: [6, 6] of the tangent (rotation [rad], translation [mm]) about the centre of the CT, in
            camera axes, from the curvature of the last stage, taking pixels for independent.
        initial: where it started.
        trace: the stages in the order they ran.
        seconds: wall time of everything but reading files.
    """

    camera_from_world: Tensor
    status: Status
    reason: Reason
    similarity: float
    covariance: Tensor
    initial: InitialPose
    trace: tuple[StageResult, ...]
    seconds: float


def register(
    volume: Volume, xray: XRay, init: Any = None, config: RegistrationConfig = _DEFAULT
) -> RegistrationResult:
    """Find the pose at which the CT shows what the X-ray shows.

    Never raises for want of convergence: see `status`. The CT's resolutions are prepared on the first call
    with a volume and kept with it.

    Args:
        volume: the CT.
        xray: the X-ray with its camera.
        init: where to start; see `initial_pose`.
        config: the schedule and all else.

    Raises:
        InputError: an X-ray that is masked out entirely, or an initial pose that cannot be used.
        UsageError: an `init` that means nothing, an unknown structure, a backend that is not there.
    """
    began = time.perf_counter()
    start = initial_pose(volume, xray, init)
    fixed = _FixedImage.of(xray, config)
    run = _Run(volume=volume, fixed=fixed, start=start.camera_from_world, config=config)
    result: list[StageResult] = []
    for reach in config.searches[1 if start.rough else 0 :] or config.searches[-1:]:
        attempt = run.register(reach)
        if not result or attempt[-1].similarity > result[-1].similarity:
            result = attempt
        if result[-1].similarity >= config.doubtful_below:
            break
    return _conclude(result, fixed, start, config, time.perf_counter() - began)


@dataclass(frozen=True, kw_only=True, eq=False)
class _FixedImage:
    """The X-ray as line integrals with weights, at full and at working resolutions."""

    image: Tensor
    weight: Tensor
    camera: Camera

    @classmethod
    def of(cls, xray: XRay, config: RegistrationConfig) -> _FixedImage:
        image, weight = line_integrals(xray, config.preprocess)
        if not weight.any():
            raise InputError(
                f"{xray.path or 'the X-ray'}: nothing is left of it after masking collimation and metal"
            )
        return cls(image=torch.from_numpy(image), weight=torch.from_numpy(weight), camera=xray.camera)

    def at(self, pixels: int) -> _FixedImage:
        """Averaged down by the whole factor that brings the longer side closest to `pixels`."""
        factor = max(1, round(max(self.camera.width, self.camera.height) / pixels))
        factor = min(factor, self.camera.width, self.camera.height)
        weight = avg_pool2d(self.weight[None], factor)[0]
        image = avg_pool2d((self.image * self.weight)[None], factor)[0] / weight.clamp(min=1e-3)
        # A pixel that is partly masked mixes anatomy with what the mask hides nearby.
        weight = torch.where(weight > 0.99, weight, torch.zeros_like(weight))
        return _FixedImage(image=image, weight=weight, camera=self.camera.bin(factor))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    volume: Volume
    fixed: _FixedImage
    start: Tensor
    config: RegistrationConfig

    def register(self, search_config: SearchConfig) -> list[StageResult]:
        """All stages, from a search around the start."""
        poses = self.start[None]
        if search_config.candidates:
            image = self.fixed.at(search_config.pixels)
            projector = self._projector(image, self.config.stages[0].voxel_per_pixel)
            found, _ = search(projector, image.image, image.weight, self.start, search_config)
            poses = torch.cat([poses, found])
        results: list[StageResult] = []
        for stage in self.config.stages:
            fixed = self.fixed.at(stage.pixels)
            result = self._run_stage(stage, fixed, poses)
            results.append(result)
            poses = self._distinct(result, stage.keep, fixed.camera)
        return results

    def _projector(self, fixed: _FixedImage, voxel_per_pixel: float) -> Projector:
        voxel_mm = voxel_per_pixel * self._pixel_at_isocentre_mm(fixed.camera)
        render = RenderConfig(
            method="trilinear",
            voxel_mm=voxel_mm,
            structures=self.config.structures,
            backend=self.config.backend,
        )
        return Projector.of(self.volume, fixed.camera, self.start[None], render)

    def _pixel_at_isocentre_mm(self, camera: Camera) -> float:
        isocentre = torch.as_tensor(self.volume.isocentre_world, dtype=torch.float64)
        depth = float(self.start[2, :3] @ isocentre + self.start[2, 3])
        return min(camera.pixel_spacing_mm) * min(max(depth / camera.sdd_mm, 0.1), 1.0)

    def _distinct(self, result: StageResult, keep: int, camera: Camera) -> Tensor:
        """Poses the stage hands on [<= keep, 4, 4], best first, none within half a pixel of a better one."""
        reach_mm = self._pixel_at_isocentre_mm(camera) / 2
        poses = result.solution.x
        centre = torch.as_tensor(self.volume.isocentre_world, dtype=torch.float64)
        # Where these four points come to lie tells any two poses apart.
        probe = centre + self.config.length_mm * torch.eye(4, 3, dtype=torch.float64)
        points = probe @ poses[:, :3, :3].mT + poses[:, None, :3, 3]
        chosen: list[int] = []
        for index in result.correlation.argsort(descending=True).tolist():
            if all((points[index] - points[other]).norm(dim=-1).mean() > reach_mm for other in chosen):
                chosen.append(index)
            if len(chosen) == keep:
                break
        return poses[chosen]

    def _run_stage(self, stage: Stage, fixed: _FixedImage, poses: Tensor) -> StageResult:
        began = time.perf_counter()
        problem = ImageSimilarity(
            projector=self._projector(fixed, stage.voxel_per_pixel),
            fixed=fixed.image,
            weight=fixed.weight,
            config=stage.similarity,
        )
        solution = levenberg_marquardt(problem, poses, self.config.solver(stage))
        correlation = problem.correlation(solution.x)
        return StageResult(
            name=f"{fixed.camera.width} x {fixed.camera.height} px",
            solution=solution,
            correlation=correlation,
            best=int(correlation.argmax()),
            seconds=time.perf_counter() - began,
        )


def _conclude(
    trace: list[StageResult],
    fixed: _FixedImage,
    start: InitialPose,
    config: RegistrationConfig,
    seconds: float,
) -> RegistrationResult:
    last = trace[-1]
    solution, best = last.solution, last.best
    similarity = last.similarity
    status = solution.status[best]
    if status is not Status.DIVERGED and not similarity >= config.doubtful_below:
        status = Status.DOUBTFUL
    weight = fixed.at(config.stages[-1].pixels).weight
    # The cost is half the mean squared residual and the Hessian the mean of J^T J, so with N pixels that are
    # worth a full one the covariance is 2 cost / N times the inverse Hessian.
    pixels = float(weight.sum().square() / weight.square().sum().clamp(min=1e-6))
    covariance = 2 * solution.cost[best] / pixels * torch.linalg.pinv(solution.hessian[best], hermitian=True)
    return RegistrationResult(
        camera_from_world=solution.x[best],
        status=status,
        reason=solution.reason[best],
        similarity=similarity,
        covariance=covariance,
        initial=start,
        trace=tuple(trace),
        seconds=seconds,
    )
