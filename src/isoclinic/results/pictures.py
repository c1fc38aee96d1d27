"""Pictures of a registration: X-ray and CT at its pose, and how it got there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Camera, PatientSides
from ..registration import RegistrationConfig, RegistrationResult
from ..rendering import RenderConfig, render
from ..viewer import ConvergenceStage, write_convergence, write_overlay
from ..volumes import Volume, XRay, line_integrals
from .files import numbered
from .registered import CONVERGENCE, OVERLAY, expected_error_text

# Longer side of the X-ray in a picture [px]; larger ones are averaged down.
_PICTURE_PX = 640


def picture_of(xray: XRay) -> XRay:
    """The X-ray averaged down to the size of a picture."""
    factor = math.ceil(max(xray.camera.width, xray.camera.height) / _PICTURE_PX)
    return xray.bin(factor) if factor > 1 else xray


def drr(
    volume: Volume, camera: Camera, camera_from_world: Tensor, config: RegistrationConfig
) -> NDArray[np.float32]:
    """What a registration compared with the X-ray [H, W]."""
    rendering = RenderConfig(structures=config.structures, backend=config.backend)
    image: NDArray[np.float32] = render(volume, camera, camera_from_world, rendering)[0].cpu().numpy()
    return image


def write_pictures(
    folder: Path,
    volume: Volume,
    xrays: Sequence[XRay],
    result: RegistrationResult,
    config: RegistrationConfig,
    errors_mm: Sequence[Sequence[float]] | None = None,
) -> None:
    """Write the overlay of every X-ray, and the course of convergence.

    Args:
        folder: where to.
        volume: the CT.
        xrays: the X-rays.
        result: of their registration.
        config: of their registration.
        errors_mm: mTRE of the poses of every stage's `course` [mm], where the truth is known.

    Raises:
        InputError: a file cannot be written.
    """
    for index, xray in enumerate(xrays):
        picture = picture_of(xray.recalibrated(result.cameras[index]))
        image, weight = line_integrals(picture, config.preprocess)
        write_overlay(
            folder / numbered(OVERLAY, index),
            xray=image,
            drr=drr(volume, picture.camera, result.cameras_from_world[index], config),
            camera=picture.camera,
            weight=weight,
            sides=PatientSides.of(picture.camera, result.cameras_from_world[index]),
            caption=f"{result.status}, {expected_error_text(result)}, start: {result.initial.source}",
        )
    write_convergence(folder / CONVERGENCE, convergence_stages(result, errors_mm))


def convergence_stages(
    result: RegistrationResult, errors_mm: Sequence[Sequence[float]] | None = None
) -> list[ConvergenceStage]:
    """The best start of every stage, for a drawing."""
    stages = []
    for index, stage in enumerate(result.trace):
        cost = stage.solution.trace.cost[: int(stage.solution.steps[stage.best]) + 1, stage.best].numpy()
        error_mm = None if errors_mm is None else errors_mm[index]
        stages.append(ConvergenceStage(name=f"{index + 1}: {stage.name}", cost=cost, error_mm=error_mm))
    return stages
