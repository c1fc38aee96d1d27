"""Options of the comparison, and of the geometry that may be corrected, importable without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SimilarityTerm:
    """One normalised correlation of the two images.

    Attributes:
        image: the images that are compared: "intensity" (line integrals) or "gradient" (both derivatives of
            them).
        window_px: side of the window within which images are standardised [px], odd; 0 for the whole image.
        share: weight of this term among all.
    """

    image: Literal["intensity", "gradient"] = "intensity"
    window_px: int = 9
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.window_px != 0 and (self.window_px < 3 or self.window_px % 2 == 0):
            raise UsageError(
                f"window_px must be odd and at least 3, or 0 for the whole image, not {self.window_px}",
                code="similarity.invalid-value",
            )
        if not self.share > 0:
            raise UsageError(
                f"a term's share must be positive, not {self.share}", code="similarity.invalid-value"
            )


@dataclass(frozen=True, kw_only=True)
class SimilarityConfig:
    """The terms of a similarity, and the weight of outliers.

    Attributes:
        terms: the correlations that are added up.
        floor: contrast below which a window counts as flat, as a fraction of the X-ray's own contrast and,
            for the DRR, in line integrals.
        robust_scale: standardised difference from which a pixel pulls less (pseudo-Huber).
    """

    terms: tuple[SimilarityTerm, ...] = (SimilarityTerm(),)
    floor: float = 0.05
    robust_scale: float = 1.5

    def __post_init__(self) -> None:
        if not self.terms:
            raise UsageError("a similarity needs at least one term", code="similarity.invalid-value")
        if not (self.floor > 0 and self.robust_scale > 0):
            raise UsageError("floor and robust_scale must be positive", code="similarity.invalid-value")


@dataclass(frozen=True, kw_only=True)
class ViewRefinement:
    """Bounds for refining the relative geometry of several X-rays; 0 keeps it as it is given.

    Each of these X-rays then gets a turn about the isocentre and a shift of its own, in its camera's axes.
    Half the bound counts as one standard deviation (a Gaussian prior); no value leaves the bound.

    Attributes:
        rotation_deg: bound on the turn about each axis [deg].
        translation_mm: bound on the shift along each axis [mm].
    """

    rotation_deg: float = 0.0
    translation_mm: float = 0.0

    def __post_init__(self) -> None:
        _check_bounds("view refinement", self.rotation_deg, self.translation_mm)

    @property
    def on(self) -> bool:
        """Whether anything may move."""
        return self.rotation_deg > 0 or self.translation_mm > 0

    @property
    def bounds(self) -> tuple[tuple[float, float, float], ...]:
        """The bounds of the turn [rad] and of the shift [mm]."""
        return (math.radians(self.rotation_deg),) * 3, (self.translation_mm,) * 3


@dataclass(frozen=True, kw_only=True)
class IntrinsicsRefinement:
    """Bounds for correcting the intrinsics of an uncalibrated C-arm; 0 keeps them as they are given.

    The focal length is hard to tell from depth, least of all in a single X-ray: what a pose gains in match it
    loses in certainty of depth. Half the bound counts as one standard deviation (a Gaussian prior); no value
    leaves the bound. Every X-ray has intrinsics of its own.

    Attributes:
        focal_percent: bound on the change of the source-detector distance [%].
        principal_point_mm: bound on the shift of the principal point along each side of the detector [mm].
    """

    focal_percent: float = 0.0
    principal_point_mm: float = 0.0

    def __post_init__(self) -> None:
        _check_bounds("intrinsics refinement", self.focal_percent, self.principal_point_mm)
        if self.focal_percent >= 50:
            raise UsageError(
                f"intrinsics refinement: focal_percent must be below 50, not {self.focal_percent}",
                code="similarity.invalid-value",
            )

    @property
    def on(self) -> bool:
        """Whether anything may change."""
        return self.focal_percent > 0 or self.principal_point_mm > 0

    @property
    def bounds(self) -> tuple[tuple[float, float, float], ...]:
        """The bounds of the focal length's factor (its logarithm) and of the principal point's shift [mm]."""
        return ((math.log1p(self.focal_percent / 100), *(self.principal_point_mm,) * 2),)


def _check_bounds(what: str, *bounds: float) -> None:
    if not all(0 <= bound < math.inf for bound in bounds):
        raise UsageError(
            f"{what}: bounds must be finite and not negative, not {bounds}", code="similarity.invalid-value"
        )
