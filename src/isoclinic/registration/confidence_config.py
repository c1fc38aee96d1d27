"""When a registration is doubtful: options only, importable without torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..similarity import SimilarityConfig, SimilarityTerm

_LARGEST_PX = 10_000

_LARGEST_FACTOR = 1000


@dataclass(frozen=True, kw_only=True)
class ConfidenceConfig:
    """When a result is doubtful, and where and how its error is expected.

    Attributes:
        pixels: longer side of the image on which a result is checked [px]: fine enough for edges, coarse
            enough to average out noise.
        window_px: side of the window for local standardisation in that check [px], odd.
        edges_below: local correlation of the two images' gradients, in that check and as a share of what the
            X-ray's noise allows, below which a result is doubtful.
        similarity_below: local correlation in the last stage below which a result is doubtful.
        rival_above: share of that correlation which another pose, one that the search found too, may reach.
        rival_mm: distance from which a pose is another one, at the points where errors are expected [mm];
            across the beam, as depth is what the expected error is for.
        overlap_below: share of the tissue in the X-ray that the CT must cover.
        significance_below: standard deviations of chance that this correlation must be above 0; a search,
            which takes the best of thousands, reaches some six by chance.
        expected_error_above_mm: expected error above which a result is doubtful [mm].
        expected_across_above_mm: the same of the error across the first X-ray's beam alone [mm].
        expected_rotation_above_deg: expected error of the rotation above which a result is doubtful [deg].
        points: number of points, of bone where the CT shows any, at which errors are expected.
        tile_px: side of the squares of the last stage's image that err independently [px].
        error_factor: factor by which errors exceed the scatter of these squares; fitted to measured errors.
    """

    pixels: int = 64
    window_px: int = 9
    edges_below: float = 0.62
    similarity_below: float = 0.0
    rival_above: float = 0.9
    rival_mm: float = 10.0
    overlap_below: float = 0.25
    significance_below: float = 11.0
    expected_error_above_mm: float = 4.0
    expected_across_above_mm: float = 4.0
    expected_rotation_above_deg: float = 2.5
    points: int = 200
    tile_px: int = 16
    error_factor: float = 1.55

    def __post_init__(self) -> None:
        if self.pixels < 8 or self.points < 1 or self.tile_px < 1:
            raise UsageError(
                "confidence needs pixels >= 8, points >= 1 and tile_px >= 1",
                code="registration.invalid-value",
            )
        if max(self.window_px, self.tile_px) > _LARGEST_PX:
            raise UsageError(
                f"confidence's window_px and tile_px must not be above {_LARGEST_PX}",
                code="registration.invalid-value",
            )
        if self.window_px < 3 or self.window_px % 2 == 0:
            raise UsageError(
                f"confidence's window_px must be odd and at least 3, not {self.window_px}",
                code="registration.invalid-value",
            )
        if not (self.expected_across_above_mm > 0 and self.expected_rotation_above_deg > 0):
            raise UsageError(
                "confidence's expected_across_above_mm and expected_rotation_above_deg must be positive",
                code="registration.invalid-value",
            )
        if not (self.expected_error_above_mm > 0 and self.rival_mm > 0 and self.error_factor > 0):
            raise UsageError(
                "confidence's expected_error_above_mm, rival_mm and error_factor must be positive",
                code="registration.invalid-value",
            )
        if self.error_factor > _LARGEST_FACTOR:
            raise UsageError(
                f"confidence's error_factor must not be above {_LARGEST_FACTOR}",
                code="registration.invalid-value",
            )

    def matched(self, edges: float, significance: float, similarity: float) -> bool:
        """Whether X-ray and CT match, by these values of `Confidence` and of the last stage."""
        beyond_chance = significance >= self.significance_below
        return beyond_chance and edges >= self.edges_below and similarity >= self.similarity_below

    @property
    def similarity(self) -> SimilarityConfig:
        """The similarity that the check uses."""
        return SimilarityConfig(terms=(SimilarityTerm(image="gradient", window_px=self.window_px),))
