"""Options for the detector of X-rays that do not exist yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import UsageError
from ..volumes import XRayOptions

if TYPE_CHECKING:
    from ..geometry import Camera

_LEAST_PIXELS = 8


@dataclass(frozen=True, kw_only=True)
class DetectorOptions:
    """What the detector of simulated X-rays is like.

    Attributes:
        width: columns of an image [px].
        height: rows of an image [px].
        pixel_spacing_mm: (row, column) spacing of the detector's pixels [mm].
        sdd_mm: distance from the source to the detector [mm].
    """

    width: int = 256
    height: int = 256
    pixel_spacing_mm: tuple[float, float] = (1.2, 1.2)
    sdd_mm: float = 1020.0

    def __post_init__(self) -> None:
        if min(self.width, self.height) < _LEAST_PIXELS:
            raise UsageError(
                f"--width and --height must be at least {_LEAST_PIXELS}", code="options.invalid-value"
            )
        # The checks of an X-ray's options of these names.
        XRayOptions(sdd_mm=self.sdd_mm, pixel_spacing_mm=self.pixel_spacing_mm)

    @property
    def camera(self) -> Camera:
        """Its camera, the central ray meeting the middle."""
        from ..geometry import Camera  # it takes torch with it, which options do without

        return Camera.from_pixel_spacing(
            width=self.width,
            height=self.height,
            pixel_spacing_mm=self.pixel_spacing_mm,
            sdd_mm=self.sdd_mm,
        )
