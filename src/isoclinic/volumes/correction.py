"""Corrections of what a CT's file says wrongly about its values, its unit and its sides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ..errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LengthUnit = Literal["mm", "cm", "m", "um"]

_MM_PER_UNIT: dict[LengthUnit, float] = {"mm": 1.0, "cm": 10.0, "m": 1e3, "um": 1e-3}


@dataclass(frozen=True, kw_only=True)
class CTCorrection:
    """Corrections of what a CT's file says.

    Attributes:
        hu_scale: factor that turns the file's values into Hounsfield units, where a rescale slope was lost.
        hu_offset: number that is added after that [HU], often -1024, where a rescale intercept was lost.
        length_unit: true unit of the file's positions and spacings, where the file says millimetres wrongly.
        mirror_left_right: left and right are swapped; mirror the CT.
        mirror_head_feet: head and feet are swapped, as where slices are in reverse; mirror the CT.
        slices_where: read only DICOM slices whose attribute has a value, such as AcquisitionNumber=2 or
            SeriesNumber=3, where several phases or series lie in one folder; the keyword is DICOM's.
        fill_gaps_mm: interpolate between DICOM slices that are up to this far apart [mm], where some
            are lost.
        nan_hu: value of voxels that are NaN or infinite [HU], where they lie within the body.

    Raises:
        UsageError: a scale that is zero or not finite, an offset or value that is not finite, or a gap that
            is not positive.
    """

    hu_scale: float = 1.0
    hu_offset: float = 0.0
    length_unit: LengthUnit = "mm"
    mirror_left_right: bool = False
    mirror_head_feet: bool = False
    slices_where: str | None = None
    fill_gaps_mm: float | None = None
    nan_hu: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.hu_scale) or self.hu_scale == 0:
            raise UsageError(
                f"`hu_scale` must be finite and not 0, not {self.hu_scale}", code="ct.invalid-value"
            )
        if not math.isfinite(self.hu_offset):
            raise UsageError(f"`hu_offset` must be finite, not {self.hu_offset}", code="ct.invalid-value")
        if self.nan_hu is not None and not math.isfinite(self.nan_hu):
            raise UsageError(f"`nan_hu` must be finite, not {self.nan_hu}", code="ct.invalid-value")
        if self.fill_gaps_mm is not None and not 0 < self.fill_gaps_mm < math.inf:
            raise UsageError(
                f"`fill_gaps_mm` must be positive, not {self.fill_gaps_mm}", code="ct.invalid-value"
            )

    def hu(self, values: NDArray[np.generic]) -> NDArray[np.int16] | NDArray[np.float32]:
        """Hounsfield units of the file's values, as they are where there is nothing to correct."""
        if self.hu_scale == 1 and self.hu_offset == 0:
            return values  # type: ignore[return-value]
        import numpy as np  # options do without

        return values.astype(np.float32) * np.float32(self.hu_scale) + np.float32(self.hu_offset)

    def world_from_voxel(self, affine: NDArray[np.float64]) -> NDArray[np.float64]:
        """The file's affine [4, 4] in millimetres, and mirrored in x or z of RAS if asked for."""
        import numpy as np  # options do without

        scale = np.full(3, _MM_PER_UNIT[self.length_unit])
        scale[0] *= -1 if self.mirror_left_right else 1
        scale[2] *= -1 if self.mirror_head_feet else 1
        return np.diag([*scale, 1.0]) @ affine
