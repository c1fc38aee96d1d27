"""One attempt at a registration: search around a start, then stages, coarse to fine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..geometry import Camera, transform_points
from ..rendering import Coverage, Projector, RenderConfig, Rendering
from ..similarity import ImageSimilarity, IntrinsicsRefinement, JointSimilarity
from ..solver import levenberg_marquardt
from ..volumes import MirrorPlane, Volume, mirror_plane, tissue_points
from ._any_view import any_view
from ._distinct import distinct
from ._explained import coverable_tissue
from ._fixed import FixedImage, pixel_at_mm
from ._progress import Progress, Watch
from ._region import Region, extremes, region_of
from ._rod import FAR_TURNS_DEG, NEAR_TURNS_DEG, long_axis, turned_poses
from ._search import SearchView, search
from ._search_bank import SearchBank
from ._twin import WIDE, twin_pose
from .confidence import Check, assess, ceiling
from .confidence_config import ConfidenceConfig
from .config import JUDGED_BY, RegistrationConfig, Stage
from .result import Confidence, ImageStageResult, StageResult, Twins
from .search_config import SearchConfig

# Margin around the model's picture while its pose is refined, as a share of that picture.
_STAGE_MARGIN = 0.2
# No patient is nearer to the source than this share of its distance from the detector.
_NEAREST = 0.2
# Longer side of the image on which it is decided whether a CT explains an X-ray as a whole [px].
_EXPLAINED_PX = 32
# Correlations that differ by less do not decide: a tone curve, noise and pixels change them by as much.
_AS_GOOD = 0.005
# Where the CT can speak of this share of a picture, it is as good as all.
_ENOUGH_KNOWN = 0.1
# A CT with more open faces than these is cut off all around.
_CUT_ALL_AROUND = 4


@dataclass(frozen=True, kw_only=True, eq=False)
class Run:
    """Everything that does not change while X-rays are registered.

    Attributes:
        volume: the CT.
        fixed: the V X-rays.
        view_from_first: [V, 4, 4] float64, from the first camera's frame to each camera's.
        start: initial pose of the first camera [4, 4].
        config: the schedule and all else.
        depth_reach_mm: distance from the start's depth within which a search looks [mm].
        whole: thresholds for CTs that explain all of the X-rays, where this one seems to explain only part of
            them and `config` is the schedule for that; else None.
        bank: renderings of earlier searches, for further X-rays; None where no further X-rays follow.
        watch: told of the progress; None where nobody wants to know.
        rendered: where earlier X-rays ended, which is where this one may start.
    """

    volume: Volume
    fixed: tuple[FixedImage, ...]
    view_from_first: Tensor
    start: Tensor
    config: RegistrationConfig
    depth_reach_mm: float = 0.0
    whole: ConfidenceConfig | None = None
    bank: SearchBank | None = None
    watch: Watch | None = None
    rendered: tuple[Rendering, ...] = ()

    def regions(self, poses: Tensor, margin: float) -> tuple[Region, ...]:
        """Where the X-rays may show the model at poses [B, 4, 4], with a margin, as a share of its size."""
        points = tissue_points(self.volume, self.config.structures)
        found = []
        for fixed, view_from_first in zip(self.fixed, self.view_from_first, strict=True):
            poses_there = view_from_first @ poses
            found.append(region_of(fixed.camera, poses_there, points, 0.0, margin_share=margin))
        return tuple(found)

    def explained_share(self) -> float:
        """Share of the tissue in the X-rays that the CT can show as it is turned at the start.

        It is the mean over the views. What the CT knows nothing of does not count. A whole CT shows nearly
        all of the tissue; a bone or an implant alone shows little.
        """
        regions = tuple(Region.whole(fixed.camera) for fixed in self.fixed)
        stage = Stage(pixels=_EXPLAINED_PX, similarity=self.config.confidence.similarity)
        views = self.problem(stage, regions, last=False).views
        poses = self.view_from_first @ self.start
        shares = [coverable_tissue(view, pose) for view, pose in zip(views, poses, strict=True)]
        return sum(shares) / len(shares)

    def is_part(self) -> bool:
        """Whether the CT explains only part of the X-rays."""
        return self.explained_share() < self.config.partial.covered_below

    def searched(self, search_config: SearchConfig) -> Tensor:
        """The start, and what a search around it finds [B, 4, 4]."""
        points = self.start[None]
        if search_config.candidates:
            self._tell(f"searching {search_config.candidates} poses around the start")
            found, _ = search(self._search_views(search_config), self.start, search_config)
            points = torch.cat([points, found])
        return points

    def any_view(self, runs: Sequence[Run]) -> list[tuple[Tensor, Tensor]]:
        """The poses that a search over all directions finds; see `any_view`.

        Args:
            runs: the same with the X-rays in their readings.
        """
        config = self.config.any_view
        self._tell(f"searching {config.candidates} poses in all directions")
        regions = tuple(Region.whole(fixed.camera) for fixed in self.fixed)
        views = [run._at(regions, config.pixels) for run in runs]
        depth_mm = float(self.start[2, :3] @ self._isocentre_world + self.start[2, 3])
        return any_view(views, depth_mm, config)

    def coarse(self, points: Tensor) -> list[ImageStageResult]:
        """All stages but the last, from poses [B, 4, 4]."""
        results: list[ImageStageResult] = []
        for stage in self.config.stages[:-1]:
            regions = self.regions(points[:, :4], _STAGE_MARGIN)
            results.append(self._run_stage(stage, points, regions, last=False))
            points = self.distinct(results[-1], stage.keep)
        return results

    def fine(self, points: Tensor) -> list[ImageStageResult]:
        """The last stage, from poses [B, 4, 4], and what may follow it; without one the poses as they are."""
        if not self.config.stages:
            return [self._judged(points)]
        return self._last_stage(points, self._run_masked, self._run_twin, self._run_turned, self._run_toned)

    def judged(self, last: ImageStageResult, pose: Tensor, found: StageResult) -> ImageStageResult:
        """What the problem of the last stage says of a pose [4, 4] that something else has found."""
        x = last.problem.start(pose[None])
        x[:, 4:] = last.solution.x[last.best, 4:]
        judged = self._solved(last.problem, x, self.config.stages[-1], found.name, steps=0)
        solution = replace(judged.solution, reason=(found.solution.reason[found.best],))
        return replace(judged, solution=solution, seconds=found.seconds + judged.seconds)

    def _judged(self, points: Tensor) -> ImageStageResult:
        """Poses [B, 4, 4] as the last of the usual stages sees them, which takes no step."""
        regions = self.regions(points[:, :4], _STAGE_MARGIN)
        return self._run_stage(JUDGED_BY, points, regions, last=False, steps=0)

    def register(self, points: Tensor) -> list[ImageStageResult]:
        """All stages, from poses [B, 4, 4]."""
        return self.continued(self.coarse(points), points)

    def continued(
        self, coarse: Sequence[ImageStageResult], points: Tensor | None = None
    ) -> list[ImageStageResult]:
        """All stages, of which the coarse ones have run; poses [B, 4, 4] are for a schedule without any."""
        if coarse:
            points = self.distinct(coarse[-1], self.config.stages[-2].keep)
        assert points is not None
        return [*coarse, *self.fine(points)]

    def edges(self, result: ImageStageResult) -> float:
        """The match of the edges where a stage ended; see `Confidence.edges`."""
        check = self._check(result.camera_from_world[result.best])
        start = check.problem.start(result.solution.x[result.best : result.best + 1])
        return float(check.correlation(start)[0])

    def polished(self, points: Tensor) -> list[ImageStageResult]:
        """The last stage, with a tone curve where one helps, from points [B, 4 + R, 4] near its optimum."""
        return self._last_stage(points, self._run_masked, self._run_toned)

    def _last_stage(
        self, points: Tensor, *further: Callable[[ImageStageResult], ImageStageResult | None]
    ) -> list[ImageStageResult]:
        """The last stage, from points [B, 4 + R, 4], then each further step that has something to add."""
        regions = self.regions(points[:, :4], _STAGE_MARGIN)
        results = [self._run_stage(self.config.stages[-1], points, regions, last=True)]
        for step in further:
            more = step(results[-1])
            results += [] if more is None else [more]
        return results

    def distinct(self, result: ImageStageResult, keep: int) -> Tensor:
        """Points that a stage hands on [<= keep, ...], best first, no two nearer than half a pixel."""
        camera = result.problem.views[0].projector.camera
        reach_mm = pixel_at_mm(camera, self.start, self._isocentre_world) / 2
        poses = result.camera_from_world
        # Where these four points come to lie tells any two poses apart.
        probe = self._isocentre_world + self.config.length_mm * torch.eye(4, 3, dtype=torch.float64)
        points = transform_points(poses, probe)

        def distance_mm(one: int, others: list[int]) -> Tensor:
            return (points[one] - points[others]).norm(dim=-1).mean(dim=-1)

        ranked = result.rank.argsort(descending=True).tolist()
        return result.solution.x[distinct(ranked, distance_mm, reach_mm, keep)]

    def _search_views(self, search_config: SearchConfig) -> list[SearchView]:
        reach = extremes(
            self.start, search_config.rotation_deg, search_config.depth_mm, self._isocentre_world
        )
        return self._at(self.regions(reach, search_config.margin), search_config.pixels)

    def _at(self, regions: tuple[Region, ...], pixels: int) -> list[SearchView]:
        """The X-rays at the resolution of a search."""
        voxel_per_pixel = self.config.stages[0].voxel_per_pixel
        return [
            SearchView(
                projector=self._projector(image.camera, view_from_first, voxel_per_pixel),
                fixed=image.image,
                weight=image.weight,
                view_from_first=view_from_first,
                coverage=self._coverage,
                bank=self.bank,
            )
            for image, view_from_first in zip(
                self._images(pixels, regions), self.view_from_first, strict=True
            )
        ]

    def assess(self, trace: list[ImageStageResult]) -> Confidence:
        """Whether the pose at which the stages ended can be relied on."""
        last = trace[-1]
        check = self._check(last.camera_from_world[last.best])
        return assess(trace, check, self.volume, self.config.structures, self.thresholds(last))

    def thresholds(self, last: ImageStageResult) -> ConfidenceConfig:
        """Limits of the checks; a CT that shows all of the X-rays there is not judged as a part."""
        if self.whole is None:
            return self.config.confidence
        pose = last.camera_from_world[last.best]
        return self.config.confidence if replace(self, start=pose).is_part() else self.whole

    def _check(self, pose: Tensor) -> Check:
        """The check of results near a pose [4, 4]."""
        config = self.config.confidence
        regions = self.regions(pose[None], _STAGE_MARGIN)
        problem = self.problem(Stage(pixels=config.pixels, similarity=config.similarity), regions, last=True)
        cropped = [region.crop(fixed) for region, fixed in zip(regions, self.fixed, strict=True)]
        halves = [
            fixed.halves(fixed.factor(config.pixels, region.span_px))
            for fixed, region in zip(cropped, regions, strict=True)
        ]
        pairs = zip(problem.views, halves, strict=True)
        return Check(problem=problem, ceilings=tuple(ceiling(view, half) for view, half in pairs))

    def _images(self, pixels: int, regions: tuple[Region, ...]) -> list[FixedImage]:
        """The X-rays in their regions, averaged down so that what the model fills has so many pixels."""
        cropped = [region.crop(fixed) for region, fixed in zip(regions, self.fixed, strict=True)]
        return [
            fixed.averaged(fixed.factor(pixels, region.span_px))
            for fixed, region in zip(cropped, regions, strict=True)
        ]

    def _run_stage(
        self,
        stage: Stage,
        points: Tensor,
        regions: tuple[Region, ...],
        *,
        last: bool,
        steps: int | None = None,
    ) -> ImageStageResult:
        problem = self.problem(stage, regions, last=last)
        cameras = [view.projector.camera for view in problem.views]
        name = " + ".join(f"{camera.width} x {camera.height} px" for camera in cameras)
        return self._solved(problem, problem.start(points), stage, name, steps)

    def _run_masked(self, result: ImageStageResult) -> ImageStageResult | None:
        """The last stage again, with what the CT can speak of at its result; None where it is everything."""
        if all(view.known is None for view in result.problem.views):
            return None
        point = result.solution.x[result.best : result.best + 1]
        return self._solved(result.problem, point, self.config.stages[-1], f"{result.name}, masked anew")

    def _run_twin(self, result: ImageStageResult) -> ImageStageResult | None:
        """The last stage from its result and from the mirror image of that; None of parts that have none.

        The one that counts is that which both measures of `Twins` together prefer. If that is the mirror
        image, the result was neither of the two answers or the worse one: then its own mirror image is
        compared, too.
        """
        plane = mirror_plane(self.volume, self.config.structures) if self.whole is not None else None
        if plane is None:
            return None
        found = self._beside_twin(result.solution.x[result.best], plane)
        if found.best == 1:
            found = self._beside_twin(found.solution.x[1], plane)
        return replace(found, name=f"{found.name}, and its mirror image")

    def _run_turned(self, result: ImageStageResult) -> ImageStageResult | None:
        """The last stage from its result and from that turned about a rod's own axis; None of other parts.

        A rod looks nearly alike from all sides, and stages end at the nearest turn at which some edges match.
        """
        points = tissue_points(self.volume, self.config.structures) if self.whole is not None else None
        axis = None if points is None else long_axis(points)
        if axis is None:
            return None
        point = result.solution.x[result.best : result.best + 1]
        near, far = (
            torch.cat([turned, point[:, 4:].expand(len(turned), -1, -1)], dim=1)
            for turned in (
                turned_poses(point[0, :4], axis, turns) for turns in (NEAR_TURNS_DEG, FAR_TURNS_DEG)
            )
        )
        starts = torch.cat([point, near, self._by_stage_before(far)])
        regions = self.regions(point[:, :4], _STAGE_MARGIN)
        found = self._run_stage(self.config.stages[-1], starts, regions, last=True)
        alike = found.camera_from_world[found.correlation >= found.similarity - _AS_GOOD]
        return replace(found, name=f"{found.name}, turned about its axis", alike=alike)

    def _beside_twin(self, point: Tensor, plane: MirrorPlane) -> ImageStageResult:
        """The last stage from a point [4 + R, 4] and from where its mirror image leads to."""
        other = self._approached(torch.cat([twin_pose(point[:4], plane), point[4:]]))
        points = torch.stack([point, other])
        stage, regions = self.config.stages[-1], self.regions(points[:, :4], _STAGE_MARGIN)
        found = self._run_stage(stage, points, regions, last=True)
        twins = self._twins(found)
        best = int((twins.edges + twins.wide).argmax())
        problem = self.problem(stage, regions, last=True).seen_from(found.solution.x[best : best + 1])
        return replace(found, best=best, problem=problem, twins=twins)

    def _approached(self, twin: Tensor) -> Tensor:
        """Where the last stages lead to from a twin [4 + R, 4], which perspective has moved by some degrees.

        The last stage alone may be too short-sighted, and the one before it may go astray.
        """
        starts = torch.cat([twin[None], self._by_stage_before(twin[None])])
        regions = self.regions(starts[:, :4], _STAGE_MARGIN)
        found = self._run_stage(self.config.stages[-1], starts, regions, last=True)
        return found.solution.x[found.best]

    def _by_stage_before(self, points: Tensor) -> Tensor:
        """Where the stage before the last leads to from points [B, 4 + R, 4]; what else is refined stays."""
        for stage in self.config.stages[-2:-1]:
            regions = self.regions(points[:, :4], _STAGE_MARGIN)
            nearer = self._run_stage(stage, points[:, :4], regions, last=False).solution.x
            points = torch.cat([nearer[:, :4], points[:, 4:]], dim=1)
        return points

    def _twins(self, found: ImageStageResult) -> Twins:
        x = found.solution.x
        stage = replace(self.config.stages[-1], similarity=WIDE)
        wide = self.problem(stage, self.regions(x[:, :4], _STAGE_MARGIN), last=True).seen_from(x)
        check = self._check(found.camera_from_world[found.best])
        return Twins(edges=check.correlation(x), wide=wide.correlation(x))

    def _run_toned(self, result: ImageStageResult) -> ImageStageResult | None:
        """The last stage again, with tone curves that its result suggests; None where they gain little."""
        if self.config.least_tone_gain is None:
            return None
        point = result.solution.x[result.best : result.best + 1]
        problem = result.problem.toned(point, self.config.least_tone_gain)
        if problem is result.problem:
            return None
        return self._solved(problem, point, self.config.stages[-1], f"{result.name}, tone curve")

    def _solved(
        self, problem: JointSimilarity, points: Tensor, stage: Stage, name: str, steps: int | None = None
    ) -> ImageStageResult:
        began = time.perf_counter()
        problem = problem.seen_from(points)
        settings = replace(
            stage.solver(self.config.length_mm, self.config.max_step_mm),
            step_scale=problem.step_scale(self.config.length_mm),
        )
        if steps is not None:
            settings = replace(settings, max_steps=steps)
        watch = None if self.watch is None else self._watching(f"refining, {name}")
        solution = levenberg_marquardt(problem, points, settings, watch=watch)
        ended = problem.seen_from(solution.x)
        correlation = rank = self._weighed(ended, solution.x)
        if stage.ranked_by is not None and len(points) > 1:
            rank = self._weighed(ended.compared_by(stage.ranked_by), solution.x)
        best = int(rank.argmax())
        return ImageStageResult(
            name=name,
            problem=ended if len(solution.x) == 1 else problem.seen_from(solution.x[best : best + 1]),
            solution=solution,
            correlation=correlation,
            rank=rank,
            best=best,
            seconds=time.perf_counter() - began,
        )

    def _tell(self, stage: str) -> None:
        if self.watch is not None:
            self.watch(Progress(stage=stage))

    def _watching(self, stage: str) -> Callable[[Tensor, Tensor], None]:
        """What tells the best of points [B, 4 + R, 4] by their costs [B]."""
        assert self.watch is not None
        tell = self.watch

        def watch(points: Tensor, costs: Tensor) -> None:
            tell(Progress(stage=stage, camera_from_world=points[int(costs.argmin()), :4].clone()))

        return watch

    @staticmethod
    def _weighed(problem: JointSimilarity, x: Tensor) -> Tensor:
        """Correlation [B] at points [B, 4 + R, 4], less what speaks against them.

        A pose that hides nearly all of the X-ray behind what the CT does not know has less to show for it.
        One at a limit of the depth would have gone on: it is chosen only where there is no other.
        """
        correlation = problem.correlation(x) * (problem.known_share / _ENOUGH_KNOWN).clamp(max=1).sqrt()
        return correlation - problem.at_depth_limit(x).to(correlation)

    def problem(self, stage: Stage, regions: tuple[Region, ...], *, last: bool = False) -> JointSimilarity:
        """The X-rays at a resolution, in regions of them; the last stage's problem refines intrinsics too."""
        images = self._images(stage.pixels, regions)
        views = [
            ImageSimilarity(
                projector=self._projector(image.camera, view_from_first, stage.voxel_per_pixel),
                fixed=image.image,
                weight=image.weight,
                config=stage.similarity,
                coverage=self._coverage,
            )
            for image, view_from_first in zip(images, self.view_from_first, strict=True)
        ]
        return JointSimilarity(
            views=tuple(views),
            view_from_first=self.view_from_first,
            refine_views=self.config.refine_views,
            refine_intrinsics=self.config.refine_intrinsics if last else IntrinsicsRefinement(),
            depth_mm=self._depth_limits_mm,
        )

    def _projector(self, camera: Camera, view_from_first: Tensor, voxel_per_pixel: float) -> Projector:
        camera_from_world = view_from_first @ self.start
        render = RenderConfig(
            method="trilinear",
            voxel_mm=voxel_per_pixel * pixel_at_mm(camera, camera_from_world, self._isocentre_world),
            structures=self.config.structures,
            backend=self.config.backend,
        )
        projector = Projector.of(self.volume, camera, camera_from_world[None], render).remembering()
        for rendering in self.rendered:
            projector.remember(rendering)
        return projector

    @property
    def _depth_limits_mm(self) -> tuple[float, float]:
        """Limits of the isocentre's depth in the first camera: around the start's, before the detector."""
        start = float(self.start[2, :3] @ self._isocentre_world + self.start[2, 3])
        reach = self.depth_reach_mm + self.config.depth_slack_mm
        sdd_mm = self.fixed[0].camera.sdd_mm
        return max(start - reach, min(_NEAREST * sdd_mm, start)), min(start + reach, max(sdd_mm, start))

    @cached_property
    def _coverage(self) -> Coverage | None:
        """The rays whose tissue the CT contains entirely; None where these are all rays or no ray.

        Every ray through a CT that is cut off all around, or is in other units, crosses a cut: it is compared
        as if it lay in air.
        """
        coverage = Coverage.of(self.volume, self.config.structures)
        return None if coverage.closed or len(coverage.open_faces) > _CUT_ALL_AROUND else coverage

    @property
    def _isocentre_world(self) -> Tensor:
        return torch.as_tensor(self.volume.isocentre_world, dtype=torch.float64)
