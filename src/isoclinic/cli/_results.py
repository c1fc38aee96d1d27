"""What `register`, `evaluate` and `demo` leave of a registration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .. import __version__
from ..errors import IsoclinicError
from ..geometry import Camera
from ..registration import InputFile, PoseFile, RegistrationConfig, RegistrationResult
from ..rendering import RenderConfig, render
from ..solver import Status
from ..viewer import ConvergenceStage, write_convergence, write_overlay
from ..volumes import Volume, XRay, line_integrals

POSE, OVERLAY, CONVERGENCE = "pose.json", "overlay.png", "convergence.png"

# Longer side of the X-ray in a picture [px]; larger ones are averaged down.
_PICTURE_PX = 640


def check_not_diverged(result: RegistrationResult) -> None:
    """Refuse a result that is none.

    Raises:
        IsoclinicError: it diverged.
    """
    if result.status is Status.DIVERGED:
        raise IsoclinicError(
            f"the registration diverged ({result.reason}; start: {result.initial.source}), so nothing "
            "was written; check that CT and X-ray show the same anatomy, and start from another --init"
        )


def pose_file(result: RegistrationResult, camera: Camera, volume: InputFile, xray: InputFile) -> PoseFile:
    """The pose with all that is known about it."""
    return PoseFile(
        camera_from_world=result.camera_from_world,
        camera=camera,
        volume=volume,
        xray=xray,
        status=result.status,
        similarity=result.similarity,
        covariance=result.covariance,
        isoclinic_version=__version__,
    )


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
    xray: XRay,
    result: RegistrationResult,
    config: RegistrationConfig,
    errors_mm: Sequence[Sequence[float]] | None = None,
) -> None:
    """Overlay and course of convergence.

    Args:
        folder: where to.
        volume: the CT.
        xray: the X-ray.
        result: of its registration.
        config: of its registration.
        errors_mm: mTRE of the poses of `course` [mm], where the truth is known.
    """
    picture = picture_of(xray)
    image, weight = line_integrals(picture, config.preprocess)
    write_overlay(
        folder / OVERLAY,
        xray=image,
        drr=drr(volume, picture.camera, result.camera_from_world, config),
        camera=picture.camera,
        weight=weight,
        caption=f"{result.status}, similarity {result.similarity:.2f}, start: {result.initial.source}",
    )
    write_convergence(folder / CONVERGENCE, _stages(result, errors_mm))


def course(result: RegistrationResult) -> list[Tensor]:
    """How the best start of every stage moved: [T, 4, 4] each, its beginning first."""
    return [
        stage.solution.trace.x[: int(stage.solution.steps[stage.best]) + 1, stage.best]
        for stage in result.trace
    ]


def _stages(
    result: RegistrationResult, errors_mm: Sequence[Sequence[float]] | None
) -> list[ConvergenceStage]:
    stages = []
    for index, stage in enumerate(result.trace):
        cost = stage.solution.trace.cost[: int(stage.solution.steps[stage.best]) + 1, stage.best].numpy()
        error_mm = None if errors_mm is None else errors_mm[index]
        stages.append(ConvergenceStage(name=stage.name, cost=cost, error_mm=error_mm))
    return stages
