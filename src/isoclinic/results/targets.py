"""Points of the CT where the error counts: where they are in the X-ray, and what error to expect there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..registration import RegistrationResult
from ..registration.confidence import expected_errors_mm
from ..viewer import ErrorRow
from ..volumes import Volume


@dataclass(frozen=True, kw_only=True, eq=False)
class Target:
    """A point of the CT after a registration.

    Attributes:
        name: name of the point.
        point_world: [3] float64, world RAS [mm].
        pixel: [2] float64, (u, v) of where the first X-ray, as used, shows it; NaN behind the source.
        expected_error_mm: root mean square along the image's right, down and depth; None where in doubt.
    """

    name: str
    point_world: NDArray[np.float64]
    pixel: NDArray[np.float64]
    expected_error_mm: tuple[float, float, float] | None

    @property
    def overall_mm(self) -> float | None:
        """Root mean square in all [mm]; None where in doubt."""
        return None if self.expected_error_mm is None else math.hypot(*self.expected_error_mm)


def targets_of(
    points: Mapping[str, NDArray[np.float64]], volume: Volume, result: RegistrationResult
) -> list[Target]:
    """Points of the CT [3] by name, at a result."""
    if not points:
        return []
    world = torch.from_numpy(np.stack(list(points.values())))
    pose, confidence = result.camera_from_world, result.confidence
    pixels = result.cameras[0].project(world, pose).numpy()
    isocentre = torch.as_tensor(volume.isocentre_world, dtype=torch.float64)
    errors_mm = expected_errors_mm(confidence.covariance, world, pose, isocentre).tolist()
    return [
        Target(
            name=name,
            point_world=point,
            pixel=pixel,
            expected_error_mm=None if confidence.stated_error_mm is None else tuple(error_mm),
        )
        for (name, point), pixel, error_mm in zip(points.items(), pixels, errors_mm, strict=True)
    ]


def targets_document(targets: Sequence[Target]) -> dict[str, Any]:
    """For programs to read."""
    return {
        each.name: {
            "pixel": each.pixel.tolist() if np.isfinite(each.pixel).all() else None,
            "expected_error_mm": each.overall_mm,
            "expected_error_by_axis_mm": each.expected_error_mm,
        }
        for each in targets
    }


def target_errors(targets: Sequence[Target]) -> Iterator[ErrorRow]:
    """For the report's table."""
    for each in targets:
        if each.expected_error_mm is None:
            yield ErrorRow(name=each.name, value=math.nan, note="target")
        else:
            right_mm, down_mm, depth_mm = each.expected_error_mm
            yield ErrorRow(
                name=each.name,
                value=math.hypot(right_mm, down_mm, depth_mm),
                note=f"target: {right_mm:.2f} right, {down_mm:.2f} down, {depth_mm:.2f} in depth",
            )
