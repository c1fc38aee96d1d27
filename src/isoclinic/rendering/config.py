"""Options of how a DRR is made, importable without torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from ..errors import UsageError
from ..volumes.config import Material

Method = Literal["siddon", "trilinear"]

Backend = Literal["auto", "cpu", "cuda", "reference"]


@dataclass(frozen=True, kw_only=True)
class RenderConfig:
    """Settings of how a DRR is made.

    Attributes:
        method: "siddon" (exact for piecewise constant voxels) or "trilinear" (Joseph's sum over interpolated
            voxels, smooth in the pose and therefore the one that a registration optimises).
        voxel_mm: voxel size to render at [mm]: "full" for the CT's own, "auto" for the largest that no pixel
            would notice (half a pixel across the rays, two along them; one size for all poses of a batch), or
            a number.
        structures: labels or names of the structures to render; all tissue when None.
        material: all of the attenuation, or its soft-tissue or bone component.
        backend: "cpu" (threads), "cuda" (GPU), "reference" (plain torch, float64, slow), or "auto": a GPU if
            there is one.

    Raises:
        UsageError: another method or backend, or a voxel size that is not one.
    """

    method: Method = "siddon"
    voxel_mm: Literal["auto", "full"] | float = "auto"
    structures: tuple[int | str, ...] | None = None
    material: Material = "all"
    backend: Backend = "auto"

    def __post_init__(self) -> None:
        for name, choices in (("method", get_args(Method)), ("backend", get_args(Backend))):
            if getattr(self, name) not in choices:
                raise UsageError(
                    f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}",
                    code="rendering.invalid-value",
                )
        if self.voxel_mm not in ("auto", "full") and not (
            isinstance(self.voxel_mm, float | int) and 0 < self.voxel_mm < math.inf
        ):
            raise UsageError(
                f"voxel_mm must be 'auto', 'full' or a positive number, not {self.voxel_mm!r}",
                code="rendering.invalid-value",
            )
