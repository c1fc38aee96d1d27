"""One pose for each structure: bones that moved relative to each other since the CT."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError, UsageError
from ..geometry import as_poses, se3
from ..rendering import RenderConfig
from ..similarity import JointSimilarity
from ..solver import Solution, Status, levenberg_marquardt
from ..volumes import Volume, XRay
from ._distinct import distinct
from ._fixed import FixedImage, pixel_at_mm
from ._halton import halton
from ._inputs import input_doubts
from ._structures_model import MovingStructure, Scene, Structure
from ._structures_prior import LikelyMotion, MotionPrior
from .confidence import expected_errors_mm
from .config import Stage
from .result import ImageStageResult
from .structures_config import StructuresConfig


@dataclass(frozen=True, kw_only=True, eq=False)
class StructureResult:
    """Where one structure is.

    Attributes:
        structure: its labels or names.
        camera_from_world: [4, 4] float64: the pose of the CT, world RAS in mm, as if all of it had moved with
            this structure.
        overall_camera_from_world: [4, 4], the pose of everything else.
        centroid_world: [3] [mm], of the structure in the CT.
        status: whether it can be relied on; `doubtful` where the images do not match or hardly show the
            structure.
        similarity: local correlation around the structure, in the last stage; 1 is a perfect match, NaN where
            it was not registered.
        visible: share of the structure that the X-ray shows, at the overall pose.
        covariance: [6, 6] of the tangent (rotation [rad], translation [mm]) about the centroid, in camera
            axes: the directions that X-ray and expected motion together leave uncertain.
        expected_error_mm: root mean square of a point's error that the covariance means: across the beam, and
            in depth.
        doubts: reasons why it is doubtful or diverged, for people to read; none in every other case.
        trace: its turns in the order they ran; empty where it was not registered.
        seconds: wall time of its turns.
    """

    structure: Structure
    camera_from_world: Tensor
    overall_camera_from_world: Tensor
    centroid_world: Tensor
    status: Status
    similarity: float
    visible: float
    covariance: Tensor
    expected_error_mm: tuple[float, float]
    doubts: tuple[str, ...]
    trace: tuple[ImageStageResult, ...]
    seconds: float

    @property
    def name(self) -> str:
        """For people to read."""
        return "+".join(map(str, self.structure))

    @property
    def stated_error_mm(self) -> tuple[float, float] | None:
        """`expected_error_mm`; None, which is unknown, where there is a doubt or it is not finite."""
        known = not self.doubts and math.isfinite(math.hypot(*self.expected_error_mm))
        return self.expected_error_mm if known else None

    @property
    def stated_overall_mm(self) -> float | None:
        """The two as one, their root sum of squares; None as for `stated_error_mm`."""
        return None if self.stated_error_mm is None else math.hypot(*self.stated_error_mm)

    @property
    def stated_similarity(self) -> float | None:
        """`similarity`; None where it is not a number."""
        return self.similarity if math.isfinite(self.similarity) else None

    @property
    def rotation_deg(self) -> float:
        """Angle by which the structure turned relative to the rest."""
        return float(se3.rotation_angle_deg(self.overall_camera_from_world, self.camera_from_world))

    @property
    def translation_mm(self) -> Tensor:
        """Motion [3] of its centroid relative to the rest: right, down and away in the image."""
        change = self.camera_from_world - self.overall_camera_from_world
        return change[:3, :3] @ self.centroid_world + change[:3, 3]

    @property
    def world_from_structure(self) -> Tensor:
        """Transform [4, 4] from where the structure was in the CT to where it is in the CT's world now."""
        return se3.inverse(self.overall_camera_from_world) @ self.camera_from_world


_DEFAULT = StructuresConfig()


def register_structures(
    volume: Volume,
    xray: XRay,
    overall_pose: Any,
    structures: Sequence[int | str | Sequence[int | str]],
    config: StructuresConfig = _DEFAULT,
) -> tuple[StructureResult, ...]:
    """Find where each of several structures is, starting from the pose of the CT as a whole.

    Each is compared as part of the whole picture: its own radiograph moves before that of everything else,
    the other structures where they were found last. One view hardly shows depth; what it leaves open is
    settled by `config.expected_motion_mm`.

    Args:
        volume: the CT with its label map.
        xray: the X-ray with its camera.
        overall_pose: camera_from_world [4, 4] of the CT as a whole, such as `register` finds; of everything
            that is not among `structures`.
        structures: labels or names; several in one tuple move as one.
        config: the schedule and all else.

    Returns:
        One result per structure, in their order. Never raises for want of convergence: see `status`.

    Raises:
        InputError: an X-ray that is masked out entirely, or an overall pose that is not one rigid motion.
        UsageError: no structures, one that is unknown, empty or named twice, a volume without labels, or a
            backend that is not there.
    """
    overall = as_poses(overall_pose, "overall_pose").detach().cpu()
    if len(overall) != 1:
        raise InputError(
            f"overall_pose must be one pose [4, 4], not {len(overall)}", code="structures.invalid-value"
        )
    groups = tuple((each,) if isinstance(each, int | str) else tuple(each) for each in structures)
    check_structures(volume, groups)
    moving = tuple(
        MovingStructure.of(volume, group, halo_mm=config.halo_mm, soft_tissue_hu=config.soft_tissue_hu)
        for group in groups
    )
    fixed = FixedImage.of(xray, config.preprocess.unaveraged)
    run = _Run(volume=volume, fixed=fixed, overall=overall[0], moving=moving, config=config)
    for stage in config.stages:
        run.take_turns(stage)
    doubts = input_doubts(volume, [xray], same_patient=config.same_patient)
    return tuple(run.conclude(index, doubts) for index in range(len(moving)))


def check_structures(volume: Volume, groups: Sequence[Structure]) -> None:
    """Refuse structures that cannot have a pose each, before anything is registered.

    Raises:
        UsageError: no structures, one that is unknown, empty or named twice, or a volume without labels.
    """
    if not all(groups) or not groups:
        raise UsageError("name at least one structure to register", code="structures.invalid-value")
    names = [name for group in groups for name in group]
    labels = [next((k for k, v in volume.label_names.items() if v == name), name) for name in names]
    twice = [str(name) for name, label in zip(names, labels, strict=True) if labels.count(label) > 1]
    if twice:
        raise UsageError(
            f"a structure can have one pose only, but these are named twice: {', '.join(twice)}",
            code="structures.ambiguous",
        )
    for group in groups:
        if not volume.structure_mask(group).any():
            raise UsageError(
                f"the label map has no voxel of {', '.join(map(str, group))}", code="labels.structure-missing"
            )


class _Run:
    """Poses so far, and how they were found."""

    def __init__(
        self,
        *,
        volume: Volume,
        fixed: FixedImage,
        overall: Tensor,
        moving: tuple[MovingStructure, ...],
        config: StructuresConfig,
    ) -> None:
        self._volume, self._fixed, self._overall = volume, fixed, overall
        self._moving, self._config = moving, config
        self._visible = [each.visible(fixed, overall) for each in moving]
        self._poses = [overall for _ in moving]
        self._starts = [overall.new_zeros(0, 4, 4) for _ in moving]
        self._traces: list[list[ImageStageResult]] = [[] for _ in moving]

    def take_turns(self, stage: Stage) -> None:
        """One stage of every structure, those that attenuate most first."""
        config, fixed = self._config, self._fixed.at(stage.pixels)
        isocentre = torch.as_tensor(self._volume.isocentre_world, dtype=torch.float64)
        pixel_mm = pixel_at_mm(fixed.camera, self._overall, isocentre)
        render = RenderConfig(
            method="trilinear", voxel_mm=stage.voxel_per_pixel * pixel_mm, backend=config.backend
        )
        scene = Scene(self._volume, self._moving, fixed, self._overall, self._poses, render)
        first = stage is config.stages[0]
        order = sorted(range(len(self._moving)), key=scene.contrast, reverse=True)
        for turn in range(config.rounds if first else 1):
            for index in order:
                if self._visible[index] >= config.least_visible:
                    self._take_turn(index, stage, scene, pixel_mm, search=first and turn == 0)

    def _take_turn(self, index: int, stage: Stage, scene: Scene, pixel_mm: float, *, search: bool) -> None:
        began = time.perf_counter()
        margin_px = math.ceil(self._config.margin_mm / pixel_mm)
        similarity = scene.similarity(index, margin_px, stage.similarity)
        if similarity is None:
            return
        view = JointSimilarity(views=(similarity,), view_from_first=torch.eye(4, dtype=torch.float64)[None])
        problem = LikelyMotion(image=view, prior=self._prior(index))
        # A coarse stage that was led astray must not decide.
        starts = torch.cat([self._overall[None], self._starts[index]])
        if search and self._config.candidates:
            starts = torch.cat([starts, self._search(index, view)])
        solver = stage.solver(self._moving[index].length_mm, self._config.max_step_mm)
        solution = levenberg_marquardt(problem, starts, solver)
        best = int(solution.cost.argsort()[0])  # NaN comes last, unlike with argmin
        self._poses[index] = solution.x[best]
        self._starts[index] = self._distinct(index, solution, pixel_mm / 2)[: stage.keep]
        scene.move(index, self._poses[index])
        self._traces[index].append(
            ImageStageResult(
                name=f"{scene.camera.width} x {scene.camera.height} px",
                problem=view,
                solution=solution,
                correlation=view.correlation(solution.x),
                rank=solution.cost.neg(),
                best=best,
                seconds=time.perf_counter() - began,
            )
        )

    def _search(self, index: int, view: JointSimilarity) -> Tensor:
        """Poses around the overall one that correlate best [<= starts, 4, 4]."""
        config = self._config
        reach = np.repeat([np.deg2rad(config.rotation_deg), config.translation_mm], 3)
        # Halton's sequence fills evenly whatever its length, and is the same every time.
        tangents = (2 * halton(config.candidates, 6) - 1) * reach
        centroid = self._moving[index].centroid_world
        poses = se3.perturb(self._overall, torch.from_numpy(tangents), centroid)
        return poses[view.correlation(poses).argsort(descending=True)[: config.starts]]

    def _distinct(self, index: int, solution: Solution, apart_mm: float) -> Tensor:
        """Poses [K, 4, 4], lowest cost first, none within `apart_mm` of a better one."""
        points = se3.transform_points(solution.x, self._moving[index].points_world)

        def distance_mm(one: int, others: list[int]) -> Tensor:
            return (points[one] - points[others]).square().sum(-1).mean(-1).sqrt()

        return solution.x[distinct(solution.cost.argsort().tolist(), distance_mm, apart_mm)]

    def _prior(self, index: int) -> MotionPrior:
        return MotionPrior(
            overall=self._overall,
            points_world=self._moving[index].points_world,
            centroid_world=self._moving[index].centroid_world,
            deviation_mm=self._config.expected_motion_mm,
            share=self._config.expected_motion_share,
        )

    def conclude(self, index: int, input_doubts: tuple[str, ...]) -> StructureResult:
        """The result of one structure, with the doubts that its inputs leave."""
        each, pose, trace = self._moving[index], self._poses[index], self._traces[index]
        similarity, status = math.nan, Status.CONVERGED
        hessian = self._prior(index).linearize(pose[None]).hessian[0]
        if trace:
            last = trace[-1]
            hessian, similarity = last.solution.hessian[last.best], last.similarity
            status = last.solution.status[last.best]
        doubts = (*self._doubts(index, similarity, status), *input_doubts)
        if doubts and status is not Status.DIVERGED:
            status = Status.DOUBTFUL
        # What the expected motion costs says what any cost means: half of `share` is one standard deviation.
        covariance = self._config.expected_motion_share * torch.linalg.pinv(hessian, hermitian=True)
        return StructureResult(
            structure=each.structure,
            camera_from_world=pose,
            overall_camera_from_world=self._overall,
            centroid_world=each.centroid_world,
            status=status,
            similarity=similarity,
            visible=self._visible[index],
            covariance=covariance,
            expected_error_mm=_expected_error_mm(each, pose, covariance),
            doubts=doubts,
            trace=tuple(trace),
            seconds=sum(turn.seconds for turn in trace),
        )

    def _doubts(self, index: int, similarity: float, status: Status) -> Iterator[str]:
        """Why the result of a structure is doubtful, if it is."""
        config = self._config
        if not self._traces[index]:
            yield (
                f"the X-ray shows only {self._visible[index]:.0%} of it, so it keeps the pose of the whole CT"
            )
        elif status is Status.DIVERGED:
            yield "its registration diverged"
        elif not similarity >= config.doubtful_below:
            yield (
                f"X-ray and CT hardly match around it: they correlate by {similarity:.2f}, "
                f"below {config.doubtful_below:g}"
            )


def _expected_error_mm(each: MovingStructure, pose: Tensor, covariance: Tensor) -> tuple[float, float]:
    errors_mm = expected_errors_mm(covariance, each.points_world, pose, each.centroid_world)
    variance = errors_mm.square().mean(dim=0)
    return math.sqrt(float(variance[:2].sum())), math.sqrt(float(variance[2]))
