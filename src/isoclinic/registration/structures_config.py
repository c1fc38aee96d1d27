"""Options of how structures are registered one by one, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ..errors import UsageError
from ..rendering.config import Backend
from ..similarity import SimilarityConfig, SimilarityTerm
from ..volumes import PreprocessConfig
from .config import RegistrationConfig, Stage

_FIRST = SimilarityConfig(terms=(SimilarityTerm(window_px=9),))

_SECOND = SimilarityConfig(terms=(SimilarityTerm(window_px=9), SimilarityTerm(image="gradient", window_px=9)))


@dataclass(frozen=True, kw_only=True)
class StructuresConfig:
    """Settings of registering structures one by one.

    Attributes:
        preprocess: how detector values become line integrals and weights.
        stages: resolutions, coarse to fine; the structures take turns at each.
        candidates: poses around the overall one that are looked at for every structure, at the first stage.
        rotation_deg: their reach in each direction about the structure's centroid [deg].
        translation_mm: their reach along each axis [mm].
        starts: best candidates that are optimised, besides the overall pose.
        rounds: number of times that the structures take turns at the first stage; at later stages they do
            once.
        margin_mm: margin around a structure's outline within which the X-ray is compared [mm].
        halo_mm: how far beyond its labels, and not nearer to another one, a structure may reach: voxels it
            fills in part, and outlines drawn too tight [mm].
        soft_tissue_hu: Hounsfield units of what takes the place of a structure that moved.
        expected_motion_mm: standard deviation, along each axis, of how far a point of a structure has moved.
            Decides what the X-ray does not show, which is depth above all [mm].
        expected_motion_share: amount by which a motion of that size must improve the similarity, in its own
            units, to be believed. Less trusts the X-ray more.
        max_step_mm: longest single step, in millimetres of an average point of the structure.
        doubtful_below: final local correlation below which a result is doubtful.
        least_visible: share of a structure that the X-ray must show; one less visible keeps the overall pose.
        same_patient: CT and X-ray show the same part of one patient, whatever their headers say.
        backend: the device that renders; see `RenderConfig`.

    Raises:
        UsageError: no stage, or a number that is not positive.
    """

    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    stages: tuple[Stage, ...] = (
        Stage(pixels=64, similarity=_FIRST, keep=3),
        Stage(pixels=128, similarity=_SECOND),
    )
    candidates: int = 64
    rotation_deg: float = 8.0
    translation_mm: float = 8.0
    starts: int = 6
    rounds: int = 2
    margin_mm: float = 10.0
    halo_mm: float = 3.0
    soft_tissue_hu: float = 40.0
    expected_motion_mm: float = 5.0
    expected_motion_share: float = 0.002
    max_step_mm: float = 10.0
    doubtful_below: float = 0.6
    least_visible: float = 0.25
    same_patient: bool = False
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        if not self.stages:
            raise UsageError("structures need at least one stage", code="structures.invalid-value")
        for name in ("starts", "rounds", "expected_motion_mm", "expected_motion_share", "max_step_mm"):
            if not getattr(self, name) > 0:
                raise UsageError(
                    f"{name} must be positive, not {getattr(self, name)}", code="structures.invalid-value"
                )
        for name in ("candidates", "rotation_deg", "translation_mm", "margin_mm", "halo_mm"):
            if not getattr(self, name) >= 0:
                raise UsageError(
                    f"{name} must not be negative, not {getattr(self, name)}", code="structures.invalid-value"
                )

    def after(self, registration: RegistrationConfig) -> StructuresConfig:
        """The same, with X-rays read and rendered, and patients compared, as the registration before did."""
        return replace(
            self,
            preprocess=registration.preprocess,
            backend=registration.backend,
            same_patient=registration.same_patient,
        )
