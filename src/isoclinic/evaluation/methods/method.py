"""What every method gives that is evaluated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from ...datasets import Sample
from ...provenance import InputFile
from ...registration import RegistrationResult


@dataclass(frozen=True, kw_only=True, eq=False)
class MethodResult:
    """A pose, and what the method knows about it.

    Attributes:
        camera_from_world: [4, 4], float64, world RAS mm.
        initial_camera_from_world: [4, 4], where it started.
        seconds: wall time of everything but reading files.
        status: how far the method relies on it; empty where it does not say.
        similarity: of X-ray and DRR at the pose, in the method's own terms; NaN where there is none.
        expected_error_mm: what the method itself expects [mm]; NaN where it does not.
        model: file of the networks that took part.
        result: all else, of this library's own pipelines.
    """

    camera_from_world: Tensor
    initial_camera_from_world: Tensor
    seconds: float
    status: str = ""
    similarity: float = math.nan
    expected_error_mm: float = math.nan
    model: InputFile | None = None
    result: RegistrationResult | None = None


class Method(Protocol):
    """Finds the pose of a sample. It can be sent to workers (pickled)."""

    @property
    def name(self) -> str:
        """As reports call it; results are filed under it."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything besides the sample and the start that the result depends on, as JSON can hold it."""

    def register(self, sample: Sample, start: Tensor | str | None) -> MethodResult:
        """Register a sample.

        Args:
            sample: what it says of the truth must not be looked at.
            start: camera_from_world [4, 4], the name of a view or "dicom", or None for the method's own way
                to begin; see `isoclinic.registration.initial_pose`.

        Raises:
            InputError: a sample or a start that cannot be used.
            UsageError: settings that make no sense for it, or a package that is not installed.
        """
