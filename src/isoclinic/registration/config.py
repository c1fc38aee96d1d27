"""Everything about a registration that can be chosen: stages are data, not code."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..rendering.config import Backend
from ..similarity.config import IntrinsicsRefinement as IntrinsicsRefinement
from ..similarity.config import SimilarityConfig, SimilarityTerm
from ..similarity.config import ViewRefinement as ViewRefinement
from ..volumes import PreprocessConfig
from .confidence_config import ConfidenceConfig
from .intrinsics import IntrinsicsConfig
from .search_config import AnyViewConfig, SearchConfig

if TYPE_CHECKING:
    from ..solver import LMConfig


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One resolution of the coarse-to-fine schedule.

    Attributes:
        pixels: longer side of the image [px]; the X-ray is averaged down by the whole factor next to it.
        voxel_per_pixel: voxel size of the CT as a multiple of the pixel seen at the isocentre.
        similarity: how X-ray and DRR are compared.
        max_steps: Levenberg-Marquardt steps per start.
        step_tolerance_mm: step so short that it is the last one, in millimetres and rotations scaled by the
            length.
        keep: starts that go on to the next stage, the best ones.
        ranked_by: the similarity by which starts are ranked; `similarity` when None. Derivatives pull towards
            the right pose only from near by, but tell better than intensities which of several poses is
            right.
    """

    pixels: int
    voxel_per_pixel: float = 0.9
    similarity: SimilarityConfig = field(default_factory=SimilarityConfig)
    max_steps: int = 15
    step_tolerance_mm: float = 0.03
    keep: int = 1
    ranked_by: SimilarityConfig | None = None

    def __post_init__(self) -> None:
        lengths = min(self.voxel_per_pixel, self.step_tolerance_mm)
        if self.pixels < 8 or self.max_steps < 1 or self.keep < 1 or not lengths > 0:
            raise UsageError(
                "a stage needs pixels >= 8, max_steps >= 1, keep >= 1, voxel_per_pixel > 0 and "
                "step_tolerance_mm > 0",
                code="registration.invalid-value",
            )

    def solver(self, length_mm: float, max_step_mm: float) -> LMConfig:
        """Settings of the solver; its tolerances are in the units of `max_step_mm`.

        Args:
            length_mm: length by which rotations are scaled [mm].
            max_step_mm: longest single step, in millimetres and rotations so scaled.
        """
        settings = _solver(self.max_steps, length_mm, max_step_mm)
        return replace(settings, step_tolerance=self.step_tolerance_mm)


@dataclass(frozen=True, kw_only=True)
class PartLearnedConfig:
    """How the network of a part takes part, which was trained with `TrainConfig.part`.

    Attributes:
        enabled: refine the start by it and continue with the classical stages, before the search, which
            runs in any case.
        reaches: its looks, one after the other: how far from the pose before each looks for the part, as a
            shift across the beam [mm] and a turn about each axis [deg].
        candidates: poses within that reach that are compared.
        keep: the best ones that are refined, a few steps each, before the best two of them are refined fully.
        max_steps: Levenberg-Marquardt steps of these two.
        step_tolerance_mm: length of a step below which a look is finished [mm].
        margin: the margin by which the similarity of the last stage must be higher where the network has led
            than where the search has, to be preferred.
        polish: end with its pose instead of that of the classical stages, where the similarity of the last
            stage is not lower by more than `polish_margin` there.
        polish_margin: how much lower that similarity may be, for the pose of the network to be the result.
    """

    enabled: bool = True
    reaches: tuple[float, ...] = (20.0, 14.0, 5.0)
    candidates: int = 192
    keep: int = 8
    max_steps: int = 40
    step_tolerance_mm: float = 0.05
    margin: float = 0.02
    polish: bool = False
    polish_margin: float = 0.03

    def __post_init__(self) -> None:
        least = min(self.candidates, self.keep, self.max_steps)
        if least < 1 or not all(reach >= 0 for reach in self.reaches):
            raise UsageError(
                "looks for a part need candidates, keep and max_steps of at least 1, and reaches that are "
                "not negative",
                code="registration.invalid-value",
            )
        if not (self.step_tolerance_mm > 0 and min(self.margin, self.polish_margin) >= 0):
            raise UsageError(
                "step_tolerance_mm must be positive, margin and polish_margin not negative",
                code="registration.invalid-value",
            )


@dataclass(frozen=True, kw_only=True)
class LearnedConfig:
    """The parts of a model that a registration uses; each takes effect where the model has its network.

    The networks see the first X-ray only, in the camera they were trained for, and all tissue of the CT.

    Attributes:
        initialize: start from the pose that the regressor predicts, where no other start is given.
        coarse: refine the start by the coarse encoder. Like the next two off, because the classical stages
            and the search get as far in less time where they were compared (docs/results.md).
        fine: refine it by the fine encoder.
        canonical: refine it by the canonical network, after the encoders.
        rescue: where nothing else has led to a match, search the canonical network's image of the X-ray, free
            of tone, noise and tools, in its place.
        rescue_margin: the margin by which the edges of a pose found that way must match
            better (`Confidence.edges`) to be preferred; what hardly matches better may match
            by chance.
        least_precision: pixels that it predicts less precisely than so many times the median are left out of
            that search.
        max_steps: Levenberg-Marquardt steps of each refinement.
        step_tolerance_mm: step so short that it ends a refinement, in millimetres and rotations scaled
            by the length; the stages that follow are finer.
        step_deviation_mm: where positive, a refinement ends by one rule alone: the standard deviation of
            the steps of the last ten iterations is below it, in the same unit. That is the rule of Chen &
            Kong (WACV 2026, supplement), who chose 1e-2.
        robust_scale: difference from the canonical image, whose variance is one, from which a pixel pulls
            less (Huber): tools, and errors of the network.
        fall_back: search as without a model where the pose that the model leads to does not match the X-ray.
        part: the network of a part of a body.
    """

    initialize: bool = True
    coarse: bool = False
    fine: bool = False
    canonical: bool = False
    rescue: bool = True
    rescue_margin: float = 0.03
    least_precision: float = 0.7
    max_steps: int = 15
    step_tolerance_mm: float = 0.3
    step_deviation_mm: float = 0.0
    robust_scale: float = 0.5
    fall_back: bool = True
    part: PartLearnedConfig = field(default_factory=PartLearnedConfig)

    def __post_init__(self) -> None:
        if self.max_steps < 1 or not (self.step_tolerance_mm > 0 and self.robust_scale > 0):
            raise UsageError(
                "learned stages need max_steps >= 1, step_tolerance_mm > 0 and robust_scale > 0",
                code="registration.invalid-value",
            )
        if not (self.least_precision >= 0 and self.rescue_margin >= 0 and self.step_deviation_mm >= 0):
            raise UsageError(
                "least_precision, rescue_margin and step_deviation_mm must not be negative",
                code="registration.invalid-value",
            )

    def solver(self, length_mm: float, max_step_mm: float) -> LMConfig:
        """Settings of the solver; see `Stage.solver`."""
        settings = _solver(self.max_steps, length_mm, max_step_mm)
        if not self.step_deviation_mm:
            return replace(settings, step_tolerance=self.step_tolerance_mm)
        return replace(
            settings,
            step_deviation_tolerance=self.step_deviation_mm,
            step_deviation_window=10,
            step_tolerance=0.0,
            decrease_tolerance=0.0,
            gradient_tolerance=0.0,
        )


def _solver(max_steps: int, length_mm: float, max_step_mm: float) -> LMConfig:
    # It takes torch with it, which options do without.
    from ..solver import LMConfig

    return LMConfig(
        max_steps=max_steps,
        step_scale=(1 / length_mm,) * 3 + (1.0,) * 3,
        max_step=max_step_mm,
        decrease_tolerance=1e-4,
        step_deviation_tolerance=0.0,
    )


def _local(window_px: int) -> SimilarityConfig:
    return SimilarityConfig(terms=(SimilarityTerm(window_px=window_px),))


def _gradients(window_px: int) -> SimilarityConfig:
    return SimilarityConfig(terms=(SimilarityTerm(image="gradient", window_px=window_px),))


def _with_gradients(window_px: int) -> SimilarityConfig:
    gradient = SimilarityTerm(image="gradient", window_px=window_px)
    return SimilarityConfig(terms=(SimilarityTerm(window_px=window_px), gradient))


_STAGES = (
    Stage(pixels=32, similarity=_local(15), max_steps=8, keep=4, ranked_by=_gradients(9)),
    Stage(pixels=32, similarity=_local(9), max_steps=15, keep=2, ranked_by=_gradients(9)),
    Stage(pixels=64, similarity=_local(9), max_steps=15, keep=1, ranked_by=_gradients(9)),
    Stage(pixels=128, similarity=_with_gradients(9), max_steps=20, keep=1),
)


_SEARCHES = (
    SearchConfig(),
    SearchConfig(candidates=512, rotation_deg=(35.0, 55.0, 25.0), depth_mm=60.0, keep=48),
)

# What a pose is judged by where no stage of image comparison refined it.
JUDGED_BY = _STAGES[-1]

_PART_SEARCHES = (
    SearchConfig(
        candidates=256,
        rotation_deg=(14.0, 14.0, 14.0),
        depth_mm=15.0,
        pixels=64,
        image="gradient",
        window_px=13,
        margin=0.2,
        keep=8,
    ),
    SearchConfig(
        candidates=2048,
        rotation_deg=(35.0, 35.0, 35.0),
        depth_mm=40.0,
        pixels=48,
        image="gradient",
        window_px=9,
        margin=0.5,
        keep=24,
    ),
)

_PART_STAGES = (
    Stage(pixels=64, similarity=_with_gradients(9), keep=3),
    Stage(pixels=128, similarity=_with_gradients(9), keep=1),
)


def _part_confidence() -> ConfidenceConfig:
    return ConfidenceConfig(
        edges_below=0.25,
        # Edges of a part are few among all others: right poses reach 5.5, and similarity_below tells.
        significance_below=3.0,
        similarity_below=0.29,
        overlap_below=0.0,
        expected_error_above_mm=30.0,
        expected_across_above_mm=1.0,
    )


@dataclass(frozen=True, kw_only=True)
class PartialConfig:
    """The schedule where the CT explains only part of an X-ray: a segmented bone, an implant, a structure.

    There is more in the picture than in the rendering, and nothing but edges tells where the part is: pixels
    are finer, counted across the part and not across the picture, and derivatives are compared throughout.

    Attributes:
        covered_below: share of the tissue in the X-ray that the CT must cover at the start not to be one; 0
            registers every CT as a whole.
        searches: as `RegistrationConfig.searches`, which they replace.
        stages: as `RegistrationConfig.stages`, which they replace.
        confidence: as `RegistrationConfig.confidence`, which it replaces: what the part lacks lowers every
            correlation, and single views leave its depth open.
    """

    covered_below: float = 0.6
    searches: tuple[SearchConfig, ...] = _PART_SEARCHES
    stages: tuple[Stage, ...] = _PART_STAGES
    confidence: ConfidenceConfig = field(default_factory=_part_confidence)

    def __post_init__(self) -> None:
        if not (self.stages and self.searches):
            raise UsageError(
                "a registration needs at least one search and one stage", code="registration.invalid-value"
            )


@dataclass(frozen=True, kw_only=True)
class RegistrationConfig:
    """Settings of a registration.

    Attributes:
        preprocess: how detector values become line integrals and weights.
        searches: multi-starts around the initial pose, of growing reach. A rough start, such as a standard
            view, begins with the second; the next one runs only where the images do not match yet.
        any_view: the search that follows those where they found no match, for a CT that explains the X-ray.
        partial: the schedule that takes the place of `searches` and `stages` where the CT explains only part
            of the X-ray.
        depth_slack_mm: the distance in depth by which a result may lie beyond the reach of its search [mm].
        learned: the parts of a model that are used, if there is one.
        stages: resolutions, coarse to fine. None leaves the pose where a model's networks end: nothing is
            searched or refined after them, and the result is judged there.
        least_tone_gain: fit a tone curve for scatter and beam hardening at the end of the last stage, and
            repeat that stage with the curve if it raises the correlation by at least this much; no curve when
            None.
        length_mm: size at which a rotation and a translation count alike: rotations are scaled by it [mm].
        max_step_mm: longest single step, in millimetres and rotations scaled by that length.
        confidence: settings of the checks that make a result doubtful, and of the expected error.
        intrinsics: errors to expect in the X-rays' geometry, and the checks of it.
        structures: labels or names of the CT's structures to register as one, instead of all tissue.
        same_patient: confirm that CT and X-rays show the same part of one patient, whatever their headers
            say; otherwise headers that contradict each other make the result doubtful.
        refine_views: bounds for moving the X-rays after the first from where their geometry puts them.
        refine_intrinsics: bounds for correcting the intrinsics, which are refined in the last stage where the
            images contradict those given beyond chance.
        refine_distortion: remove a distortion, such as that of an image intensifier, from an X-ray that shows
            one beyond chance, and register the straightened X-ray.
        backend: the device that renders: "cpu" (threads), "cuda" (GPU), "reference" (plain torch, slow),
            or "auto", a GPU if there is one.
    """

    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    searches: tuple[SearchConfig, ...] = _SEARCHES
    any_view: AnyViewConfig = field(default_factory=AnyViewConfig)
    partial: PartialConfig = field(default_factory=PartialConfig)
    depth_slack_mm: float = 75.0
    learned: LearnedConfig = field(default_factory=LearnedConfig)
    stages: tuple[Stage, ...] = _STAGES
    least_tone_gain: float | None = 0.01
    length_mm: float = 60.0
    max_step_mm: float = 40.0
    confidence: ConfidenceConfig = field(default_factory=ConfidenceConfig)
    intrinsics: IntrinsicsConfig = field(default_factory=IntrinsicsConfig)
    structures: tuple[int | str, ...] | None = None
    same_patient: bool = False
    refine_views: ViewRefinement = field(default_factory=ViewRefinement)
    refine_intrinsics: IntrinsicsRefinement = field(default_factory=IntrinsicsRefinement)
    refine_distortion: bool = False
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if self.structures == ():
            raise UsageError(
                "`structures` needs at least one label or name; leave it out for all tissue",
                code="registration.invalid-value",
            )
        if not self.searches:
            raise UsageError("a registration needs at least one search", code="registration.invalid-value")
        if not self.stages and self.learned.fall_back:
            raise UsageError(
                "stages = [] leaves the pose where a model's networks end, and no search can follow: "
                "switch `learned.fall_back` off, too",
                code="registration.invalid-value",
            )
        refines = self.refine_intrinsics.on or self.refine_distortion
        if not self.stages and refines:
            raise UsageError(
                "stages = [] leaves nothing that could refine intrinsics or distortion: switch "
                "`refine_intrinsics` and `refine_distortion` off, too",
                code="registration.invalid-value",
            )
        if not (self.length_mm > 0 and self.max_step_mm > 0 and self.depth_slack_mm > 0):
            raise UsageError(
                "length_mm, max_step_mm and depth_slack_mm must be positive",
                code="registration.invalid-value",
            )

    def without_search(self) -> RegistrationConfig:
        """The same from one start: no search around it, of a part, in all directions, or as a last resort."""
        nowhere = (SearchConfig(candidates=0),)
        return replace(
            self,
            searches=nowhere,
            any_view=replace(self.any_view, enabled=False),
            partial=replace(self.partial, searches=nowhere),
            learned=replace(self.learned, rescue=False),
        )

    @classmethod
    def paper(cls) -> RegistrationConfig:
        """The published registration (Chen & Kong, WACV 2026), with a model that was trained for it.

        The regressor's pose, then Levenberg-Marquardt on the one similarity network until the standard
        deviation of the last ten steps is below 1e-2, in millimetres and rotations scaled by `length_mm`; no
        search, no stages that compare images, no second attempt. The number of steps at most is ours.
        """
        return cls(
            searches=(SearchConfig(candidates=0),),
            any_view=AnyViewConfig(enabled=False),
            partial=PartialConfig(covered_below=0.0),
            learned=LearnedConfig(
                coarse=True, rescue=False, fall_back=False, max_steps=50, step_deviation_mm=1e-2
            ),
            stages=(),
            least_tone_gain=None,
        )

    def for_part(self) -> RegistrationConfig:
        """The configuration with the schedule of a CT that explains only part of an X-ray."""
        part = self.partial
        config = replace(self, confidence=part.confidence, preprocess=self.preprocess.unaveraged)
        return replace(config, searches=part.searches, stages=part.stages) if self.stages else config
