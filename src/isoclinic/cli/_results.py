"""What `register`, `evaluate` and `demo` leave of a registration."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .. import __version__
from ..errors import IsoclinicError
from ..exchange import write_slicer_transform
from ..geometry import Camera
from ..registration import InputFile, PoseFile, RegistrationConfig, RegistrationResult, StructureResult
from ..rendering import RenderConfig, render
from ..solver import Status
from ..viewer import ConvergenceStage, write_convergence, write_overlay
from ..volumes import Volume, XRay, line_integrals

POSE, TRANSFORM, OVERLAY = "pose.json", "transform.tfm", "overlay.png"
CONVERGENCE, REPORT, STRUCTURES = "convergence.png", "report.html", "structures"
# With numbers: of the second X-ray and further ones.
RESULT_FILES = frozenset(
    {POSE, TRANSFORM, OVERLAY, CONVERGENCE, REPORT, "pose-[0-9]*.json", "overlay-[0-9]*.png"}
)

# Longer side of the X-ray in a picture [px]; larger ones are averaged down.
_PICTURE_PX = 640


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What a result was made from.

    Attributes:
        volume: the CT.
        xrays: the X-rays.
        model: whose networks took part.
        files: other files that count, by the option that named them.
        command: the command line.
    """

    volume: InputFile
    xrays: Sequence[InputFile]
    model: InputFile | None = None
    files: Mapping[str, InputFile] = field(default_factory=dict)
    command: str | None = None


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


def pose_file(result: RegistrationResult, origin: Origin, index: int = 0) -> PoseFile:
    """The pose of one X-ray with all that is known about it.

    A doubtful result has no expected error: what its covariance says holds near the right pose only.
    """
    confidence = result.confidence
    return PoseFile(
        camera_from_world=result.cameras_from_world[index],
        camera=result.cameras[index],
        volume=origin.volume,
        xray=origin.xrays[index],
        model=origin.model,
        files=origin.files,
        status=result.status,
        similarity=result.similarity,
        # It belongs to the first camera's axes.
        covariance=confidence.covariance if index == 0 else None,
        expected_error_mm=None if confidence.doubts else confidence.expected_error_mm,
        doubts=confidence.doubts,
        isoclinic_version=__version__,
        command=origin.command,
    )


def write_poses(folder: Path, result: RegistrationResult, origin: Origin) -> None:
    """The pose of every X-ray, and the first one's as a transform for 3D Slicer."""
    for index in range(len(origin.xrays)):
        pose_file(result, origin, index).write(folder / numbered(POSE, index))
    write_slicer_transform(folder / TRANSFORM, result.camera_from_world)


def write_structures(
    folder: Path, structures: Sequence[StructureResult], camera: Camera, origin: Origin
) -> None:
    """The pose of every structure in the first X-ray, in a folder of its name."""
    for each in structures:
        place = folder / STRUCTURES / file_name(each.name)
        place.mkdir(parents=True)
        across_mm, depth_mm = each.expected_error_mm
        PoseFile(
            camera_from_world=each.camera_from_world,
            camera=camera,
            volume=origin.volume,
            xray=origin.xrays[0],
            model=origin.model,
            files=origin.files,
            status=each.status,
            similarity=each.similarity,
            expected_error_mm=None if each.status is Status.DOUBTFUL else math.hypot(across_mm, depth_mm),
            isoclinic_version=__version__,
            command=origin.command,
        ).write(place / POSE)
        write_slicer_transform(place / TRANSFORM, each.camera_from_world)


def numbered(name: str, index: int) -> str:
    """Name of a file about the X-ray of that index, counted from 0; the first one's has no number."""
    path = Path(name)
    return name if index == 0 else f"{path.stem}-{index + 1}{path.suffix}"


def file_name(structure: str) -> str:
    """A structure's name as the name of a folder."""
    return re.sub(r"[^\w+.-]", "_", structure)


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
    """Overlay of every X-ray, and the course of convergence.

    Args:
        folder: where to.
        volume: the CT.
        xrays: the X-rays.
        result: of their registration.
        config: of their registration.
        errors_mm: mTRE of the poses of every stage's `course` [mm], where the truth is known.
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
            caption=f"{result.status}, {expected_error_text(result)}, start: {result.initial.source}",
        )
    write_convergence(folder / CONVERGENCE, convergence_stages(result, errors_mm))


def expected_error_text(result: RegistrationResult) -> str:
    """The expected error in a few words."""
    confidence = result.confidence
    if confidence.doubts:
        return "expected error unknown"
    if confidence.geometry is None:
        return f"expected error {confidence.expected_error_mm:.2f} mm"
    depth_mm = confidence.expected_error_by_axis_mm[2]
    return f"expected error {confidence.expected_error_across_mm:.2f} mm across, {depth_mm:.1f} mm in depth"


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
