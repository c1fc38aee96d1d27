"""Ways to a pose, from the cheapest to the farthest, each tried where those before found no match."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ..errors import InputError
from ._learned import Learned
from ._part_learned import PartLearned
from ._readings import Reading, mirrored
from ._refined import kept_where_telling
from ._run import Run
from .config import RegistrationConfig
from .initialize import InitialPose
from .result import ANY_VIEW, CANONICAL_SEARCH, Attempt, Confidence, ImageStageResult, StageResult
from .search_config import AnyViewConfig, SearchConfig

# The last stage is worth its time where edges match by this share of what a match needs; it adds little.
_PROMISING = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcome:
    """Where an attempt ended.

    Attributes:
        attempt: the attempt.
        run: the run that it made.
        reading: the reading of the X-rays.
        refined: its stages that networks took part in, which came first.
        stages: its further ones, of which the last is where it ended.
        confidence: confidence in its result.
        finished: whether the last stage was worth its time: not where the edges do not match by far after
            those before.
        final: whether nothing else need be tried if it matches.
    """

    attempt: Attempt
    run: Run
    reading: Reading
    refined: tuple[StageResult, ...]
    stages: tuple[ImageStageResult, ...]
    confidence: Confidence
    finished: bool = True
    final: bool = True

    @property
    def last(self) -> ImageStageResult:
        """The stage that the result is from."""
        return self.stages[-1]

    @cached_property
    def matched(self) -> bool:
        """Whether X-rays and CT match there, so that nothing else need be tried."""
        if not self.finished:
            return False
        confidence = self.confidence
        thresholds = self.run.thresholds(self.last)
        return thresholds.matched(confidence.edges, confidence.significance, self.last.similarity)

    def completed(self) -> Outcome:
        """The outcome after its last stage."""
        if self.finished:
            return self
        stages = self.run.continued(self.stages)
        return _assessed(self.run, self.reading, self.attempt, self.refined, stages)


def merit(outcome: Outcome, config: RegistrationConfig) -> float:
    """The value that outcomes are chosen by: their edges, with handicaps for what may match by chance.

    Of a part, whose edges are few beside all others in the X-ray, it is the correlation in the last stage,
    which sees finer pixels; an outcome without that stage comes after all that have it.
    """
    if outcome.run.whole is not None:
        margin = config.learned.part.margin if outcome.attempt.learned else 0.0
        return outcome.last.similarity - margin if outcome.finished else outcome.confidence.edges - 2
    handicap = 0.0
    if CANONICAL_SEARCH in outcome.attempt.learned:
        handicap += config.learned.rescue_margin
    if outcome.reading.mirrored:
        handicap += config.any_view.mirrored_margin
    return outcome.confidence.edges - handicap


def outcomes(
    run: Run,
    ways: Sequence[Reading],
    start: InitialPose,
    usual: InitialPose,
    learned: Learned | PartLearned | None,
) -> Iterator[Outcome]:
    """Ways to a pose, each to be tried where those before found no match.

    Args:
        run: a run from `start`, of the X-rays as they were read.
        ways: possible readings of the X-rays, the first being the one in use.
        start: the pose to begin at.
        usual: the pose to begin at without a model.
        learned: the networks of a model.
    """
    searches, first = run.config.searches, ways[0]
    if learned is not None:
        refined = learned.refine(start.camera_from_world[None])
        ends = [stage.camera_from_world[stage.best] for stage in refined]
        if ends or start is not usual:
            names = learned.names
            # A network that leads astray must not decide: its start goes along.
            points = torch.stack([run.start, *ends])
            # Without stages nothing may choose between them by how the images match.
            points = points if run.config.stages else points[-1:]
            outcome = _outcome(run, first, points, start.source, names, refined)
            of_part = isinstance(learned, PartLearned)
            # What looks like a part may be another thing: the search is to confirm it, or find better.
            yield replace(outcome, final=not of_part or not run.config.learned.fall_back)
            if not run.config.learned.fall_back:
                return
            if not of_part:
                around = replace(run, start=ends[-1]) if ends else run
                yield _search(around, first, searches[0], start.source, names, refined)
            if start is not usual:
                for reach in searches[1:2]:
                    yield _search(run, first, reach, start.source)
    run = replace(run, start=usual.camera_from_world)
    if not usual.unknown:
        for reach in searches[1 if usual.rough else 0 :] or searches[-1:]:
            for way in ways:
                own = read_as(run, way)
                if own is not None:
                    yield _search(own, way, reach, usual.source)
    if usual.unknown or (run.config.any_view.enabled and run.whole is None):
        yield from _any_view(run, ways, usual.source)


def from_pose(run: Run, way: Reading, start: str) -> Outcome:
    """Where all stages of a run lead to from its start alone, without a search."""
    points = run.start[None]
    attempt = Attempt(start=start, learned=(), candidates=0, edges=0.0, reading=way.name)
    return _assessed(run, way, attempt, (), run.continued(run.coarse(points), points))


def polished(outcome: Outcome, learned: PartLearned) -> Outcome:
    """The outcome with the pose at which the network of a part sees it, where that matches about as well.

    The network sees one view, which alone must not decide over several.
    """
    settings = learned.config.learned.part
    if not settings.polish or not outcome.finished or len(outcome.run.fixed) > 1:
        return outcome
    last = outcome.last
    look = learned.polish(last.camera_from_world[last.best])
    judged = outcome.run.judged(last, look.camera_from_world[look.best], look)
    if judged.similarity < last.similarity - settings.polish_margin:
        return outcome
    stages = (*outcome.stages, judged)
    return replace(outcome, stages=stages, confidence=outcome.run.assess(list(stages)))


def rescue(run: Run, way: Reading, usual: InitialPose, learned: Learned | PartLearned) -> Iterator[Outcome]:
    """Searches of the canonical network's image of the first X-ray, around `usual` or in all directions.

    All directions are looked through where nobody has said where to start, as without a network. Stages that
    are coarser than that image compare it, too; the others the X-ray itself, as always.
    """
    image, config = learned.canonical_image, run.config
    if image is None:
        return
    size = max(image.camera.width, image.camera.height)
    coarse = tuple(stage for stage in config.stages[:-1] if stage.pixels < size)
    fine = config.stages[len(coarse) :]
    run = replace(run, start=usual.camera_from_world, config=replace(config, stages=fine))
    cleaned = replace(run, fixed=(image, *run.fixed[1:]), config=replace(config, stages=coarse or fine[:1]))

    def ended(points: Tensor, candidates: int, start: str = "") -> Outcome:
        stages = cleaned.register(points) if coarse else []
        if stages:
            points = cleaned.distinct(stages[-1], coarse[-1].keep)
        return _outcome(run, way, points, usual.source, (CANONICAL_SEARCH,), stages, candidates, start)

    # A search around where it does not start would be of no use.
    for reach in () if usual.unknown else config.searches[1:] or config.searches:
        yield ended(cleaned.searched(reach), reach.candidates)
    if usual.unknown or (usual.rough and config.any_view.enabled):
        cleaned, run = (replace(each, depth_reach_mm=config.any_view.depth_mm) for each in (cleaned, run))
        points, _ = cleaned.any_view([cleaned])[0]
        yield ended(points, config.any_view.candidates, ANY_VIEW)


def read_as(run: Run, way: Reading) -> Run | None:
    """The run of the X-rays in another reading; None where that leaves nothing of them to compare."""
    try:
        return replace(run, fixed=way.fixed)
    except InputError:
        return None


def _any_view(run: Run, ways: Sequence[Reading], start: str) -> Iterator[Outcome]:
    """Searches over all directions and turns, the likeliest reading first and mirrored pictures last.

    A mirrored picture looks as if it were taken from the other side, but for perspective. So a match is not
    final before the mirrored picture has been compared from there, too.
    """
    config = run.config.any_view
    runs = [(way, own) for way in ways if (own := read_as(run, way)) is not None]
    for outcome in _looked_around(run, runs, start, config):
        yield replace(outcome, final=not config.mirrored)
        if outcome.matched:
            if config.mirrored:
                yield from _from_the_other_side(outcome, start)
            return
    if config.mirrored:
        images = [mirrored(way) for way, _ in runs]
        runs = [(way, own) for way in images if (own := read_as(run, way)) is not None]
        yield from _looked_around(run, runs, start, config)


def _from_the_other_side(matched: Outcome, start: str) -> Iterator[Outcome]:
    """Where all stages lead to in the mirrored pictures, from where these look as the matched ones do."""
    run, way = matched.run, mirrored(matched.reading)
    own = read_as(run, way)
    if own is not None:
        isocentre = torch.as_tensor(run.volume.isocentre_world, dtype=torch.float64)
        pose = seen_from_the_other_side(matched.last.camera_from_world[matched.last.best], isocentre)
        yield _outcome(own, way, pose[None], start, (), candidates=1, search=ANY_VIEW)


def seen_from_the_other_side(camera_from_world: Tensor, isocentre_world: Tensor) -> Tensor:
    """The pose [4, 4] whose picture is that of another [4, 4] mirrored left to right, but for perspective.

    Parallel rays do not show depth: the picture of camera coordinates (-x, y, -z), z counted from the
    isocentre, is that of (-x, y, z), and the former is a rotation.
    """
    flip = torch.diag(camera_from_world.new_tensor([-1.0, 1.0, -1.0]))
    centre = camera_from_world[:3, :3] @ isocentre_world + camera_from_world[:3, 3]
    rotation = flip @ camera_from_world[:3, :3]
    pose = camera_from_world.clone()
    pose[:3, :3] = rotation
    pose[:3, 3] = centre * centre.new_tensor([-1.0, 1.0, 1.0]) - rotation @ isocentre_world
    return pose


def _looked_around(
    run: Run, runs: Sequence[tuple[Reading, Run]], start: str, config: AnyViewConfig
) -> Iterator[Outcome]:
    found = run.any_view([own for _, own in runs])
    order = sorted(range(len(runs)), key=lambda index: -float(found[index][1][0]))
    for index in order:
        way, own = runs[index]
        own = replace(own, depth_reach_mm=config.depth_mm)
        yield _outcome(own, way, found[index][0], start, (), candidates=config.candidates, search=ANY_VIEW)


def _search(
    run: Run,
    way: Reading,
    reach: SearchConfig,
    start: str,
    learned: tuple[str, ...] = (),
    refined: Sequence[StageResult] = (),
) -> Outcome:
    """Where all stages lead to from a search around the start of a run; see `Attempt` for the names."""
    run = replace(run, depth_reach_mm=reach.depth_mm)
    return _outcome(run, way, run.searched(reach), start, learned, refined, reach.candidates)


def _outcome(
    run: Run,
    way: Reading,
    points: Tensor,
    start: str,
    learned: tuple[str, ...],
    refined: Sequence[StageResult] = (),
    candidates: int = 0,
    search: str = "",
) -> Outcome:
    """Where all stages lead to from poses [B, 4, 4]."""
    attempt = Attempt(
        start=search or start, learned=learned, candidates=candidates, edges=0.0, reading=way.name
    )
    coarse, least = run.coarse(points), _PROMISING * min(run.config.confidence.edges_below, 1.0)
    if coarse and run.edges(coarse[-1]) < least:
        outcome = _assessed(run, way, attempt, refined, coarse)
        return replace(outcome, finished=False)
    return _assessed(run, way, attempt, refined, run.continued(coarse, points))


def _assessed(
    run: Run,
    way: Reading,
    attempt: Attempt,
    refined: Sequence[StageResult],
    stages: list[ImageStageResult],
) -> Outcome:
    stages = kept_where_telling(run, stages)
    confidence = run.assess(stages)
    return Outcome(
        attempt=replace(attempt, edges=confidence.edges),
        run=run,
        reading=way,
        refined=tuple(refined),
        stages=tuple(stages),
        confidence=confidence,
    )
