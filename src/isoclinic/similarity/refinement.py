"""Geometry that may be corrected within bounds while a pose is found: how views lie, and intrinsics."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from torch import Tensor

from ..errors import UsageError
from ..geometry import Camera


@dataclass(frozen=True, kw_only=True)
class ViewRefinement:
    """How far X-rays after the first may lie from where their geometry puts them; 0 trusts it.

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
        """Of the turn [rad] and the shift [mm]."""
        return (math.radians(self.rotation_deg),) * 3, (self.translation_mm,) * 3


@dataclass(frozen=True, kw_only=True)
class IntrinsicsRefinement:
    """How far the intrinsics of an uncalibrated C-arm may be off; 0 trusts them.

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
                f"intrinsics refinement: focal_percent must be below 50, not {self.focal_percent}"
            )

    @property
    def on(self) -> bool:
        """Whether anything may change."""
        return self.focal_percent > 0 or self.principal_point_mm > 0

    @property
    def bounds(self) -> tuple[tuple[float, float, float], ...]:
        """Of the logarithm of the focal length's factor, and of the principal point's shift [mm]."""
        return ((math.log1p(self.focal_percent / 100), *(self.principal_point_mm,) * 2),)


def refined_camera(camera: Camera, values: Tensor) -> Camera:
    """A camera with other intrinsics, its pixels as large as before.

    Args:
        camera: the nominal one, at any resolution.
        values: [3]: logarithm of the focal length's factor, shift of the principal point along the camera's x
            and y on the detector [mm].
    """
    log_scale, right_mm, down_mm = values.tolist()
    scale = math.exp(log_scale)
    return replace(
        camera,
        fx=camera.fx * scale,
        fy=camera.fy * scale,
        cx=camera.cx + right_mm * camera.fx / camera.sdd_mm,
        cy=camera.cy + down_mm * camera.fy / camera.sdd_mm,
        sdd_mm=camera.sdd_mm * scale,
    )


def _check_bounds(what: str, *bounds: float) -> None:
    if not all(0 <= bound < math.inf for bound in bounds):
        raise UsageError(f"{what}: bounds must be finite and not negative, not {bounds}")
