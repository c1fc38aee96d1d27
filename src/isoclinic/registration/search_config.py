"""Options of how a registration searches for its start, importable without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """Where a registration looks for its start.

    Attributes:
        candidates: orientations and depths tried; 0 starts from the initial pose alone.
        rotation_deg: reach about the camera's x, y and z axes [deg], semi-axes of an ellipsoid.
        depth_mm: reach along the viewing direction [mm].
        pixels: longer side of the image the search works on [px].
        image: the images that are compared: "intensity" (line integrals), or "gradient" (both derivatives of
            them), which soft tissue that the model lacks disturbs less, and which is more sensitive to a
            turn.
        window_px: side of the window for local standardisation [px], odd.
        margin: the distance that the anatomy may lie beside where the initial pose puts it, as a fraction of
            the image.
        keep: best candidates that are handed on.
    """

    candidates: int = 128
    rotation_deg: tuple[float, float, float] = (22.0, 22.0, 22.0)
    depth_mm: float = 0.0
    pixels: int = 32
    image: Literal["intensity", "gradient"] = "gradient"
    window_px: int = 9
    margin: float = 0.5
    keep: int = 24

    def __post_init__(self) -> None:
        if self.candidates < 0 or self.pixels < 8 or self.keep < 1:
            raise UsageError(
                "a search needs candidates >= 0, pixels >= 8 and keep >= 1", code="registration.invalid-value"
            )
        if self.window_px < 3 or self.window_px % 2 == 0:
            raise UsageError(
                f"the search's window_px must be odd and at least 3, not {self.window_px}",
                code="registration.invalid-value",
            )
        if min(*self.rotation_deg, self.depth_mm, self.margin) < 0:
            raise UsageError(
                "the search's rotation_deg, depth_mm and margin must not be negative",
                code="registration.invalid-value",
            )


@dataclass(frozen=True, kw_only=True)
class AnyViewConfig:
    """Settings of the search over all views, for an X-ray whose view is unknown.

    Attributes:
        enabled: look through all views where nothing else led to a match; a start of "any" always does.
        spacing_deg: between neighbouring directions, and between turns of the picture [deg].
        elevation_deg: largest tilt of the beam towards the patient's head or feet [deg].
        pixels: longer side of the image the search works on [px].
        image: see `SearchConfig.image`.
        window_px: side of the window for local standardisation [px], odd.
        margin: the distance that the middle of the CT may lie beside that of the image, as a fraction of the
            image.
        keep: best candidates that are handed on.
        depth_mm: the distance in depth that a result may lie from the start, as in a search.
        mirrored: look through mirrored pictures at last; a result of one is doubtful.
        mirrored_margin: the margin by which the edges of a mirrored picture must match better to be
            preferred.
    """

    enabled: bool = True
    spacing_deg: float = 12.0
    elevation_deg: float = 45.0
    depth_mm: float = 60.0
    pixels: int = 32
    image: Literal["intensity", "gradient"] = "gradient"
    window_px: int = 9
    margin: float = 0.5
    keep: int = 48
    mirrored: bool = True
    mirrored_margin: float = 0.05

    def __post_init__(self) -> None:
        if not 1 <= self.spacing_deg <= 90 or not 0 < self.elevation_deg <= 90:
            raise UsageError(
                "a search over all views needs a spacing_deg from 1 to 90 and an elevation_deg up to 90",
                code="registration.invalid-value",
            )
        if (
            self.pixels < 8
            or self.keep < 1
            or not all(value >= 0 for value in (self.margin, self.depth_mm, self.mirrored_margin))
        ):
            raise UsageError(
                "a search over all views needs pixels >= 8, keep >= 1, and margin, depth_mm and "
                "mirrored_margin that are not negative",
                code="registration.invalid-value",
            )
        if self.window_px < 3 or self.window_px % 2 == 0:
            raise UsageError(
                f"any_view's window_px must be odd and at least 3, not {self.window_px}",
                code="registration.invalid-value",
            )

    @property
    def candidates(self) -> int:
        """Number of directions times turns."""
        return self.directions * self.turns

    @property
    def directions(self) -> int:
        """Number of directions of the beam, spread evenly over the sphere within the elevation."""
        top = math.sin(math.radians(self.elevation_deg))
        return max(1, round(4 * math.pi * top / math.radians(self.spacing_deg) ** 2))

    @property
    def turns(self) -> int:
        """Number of turns of the picture for each direction."""
        return round(360 / self.spacing_deg)
