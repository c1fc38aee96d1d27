"""The files that hold the poses of a registration."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from .. import __version__
from ..errors import IsoclinicError
from ..exchange import write_slicer_transform
from ..geometry import Camera
from ..registration import PoseFile, RegistrationResult, StructureResult
from ..solver import Status
from .registered import POSE, STRUCTURES, TRANSFORM, Origin


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
        expected_error_mm=confidence.stated_error_mm,
        doubts=confidence.doubts,
        isoclinic_version=__version__,
        command=origin.command,
    )


def structure_pose_file(each: StructureResult, camera: Camera, origin: Origin) -> PoseFile:
    """The pose of one structure in the first X-ray, whose camera this is."""
    return PoseFile(
        camera_from_world=each.camera_from_world,
        camera=camera,
        volume=origin.volume,
        xray=origin.xrays[0],
        model=origin.model,
        files=origin.files,
        status=each.status,
        similarity=each.stated_similarity,
        expected_error_mm=each.stated_overall_mm,
        doubts=each.doubts,
        isoclinic_version=__version__,
        command=origin.command,
    )


def write_poses(folder: Path, result: RegistrationResult, origin: Origin) -> None:
    """Write the pose of every X-ray, and the first one's as a transform for 3D Slicer.

    Raises:
        InputError: a file cannot be written.
    """
    for index in range(len(origin.xrays)):
        pose_file(result, origin, index).write(folder / numbered(POSE, index))
    write_slicer_transform(folder / TRANSFORM, result.camera_from_world)


def write_structures(
    folder: Path, structures: Sequence[StructureResult], camera: Camera, origin: Origin
) -> None:
    """Write the pose of every structure in the first X-ray, in a folder of its name.

    Raises:
        InputError: a file cannot be written.
    """
    for each in structures:
        place = folder / STRUCTURES / file_name(each.name)
        place.mkdir(parents=True)
        structure_pose_file(each, camera, origin).write(place / POSE)
        write_slicer_transform(place / TRANSFORM, each.camera_from_world)


def numbered(name: str, index: int) -> str:
    """Name of a file about the X-ray of that index, counted from 0; the first one's has no number."""
    path = Path(name)
    return name if index == 0 else f"{path.stem}-{index + 1}{path.suffix}"


def file_name(structure: str) -> str:
    """A structure's name as the name of a folder."""
    return re.sub(r"[^\w+.-]", "_", structure)
