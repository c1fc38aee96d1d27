"""The files that hold the poses of a registration, and the folder of a whole result."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from .. import __version__
from .._files import atomic
from .._folders import new_folder
from .._json import dumps
from ..errors import IsoclinicError
from ..exchange import write_slicer_transform
from ..geometry import Camera
from ..provenance import Provenance
from ..registration import PoseFile, RegistrationResult, StructureResult
from ..solver import Status
from ..viewer import write_report as write_page
from .document import document_of
from .names import POSE, REPORT, RESULT_FILES, STRUCTURES, TRANSFORM, folder_name, numbered
from .pictures import write_overlays
from .registered import Registered
from .report import report_of


def write_result(
    folder: Path | str,
    registered: Registered,
    *,
    overwrite: bool = False,
    warnings: Sequence[str] = (),
    reproduce: str = "",
) -> None:
    """Write all files of a registration into a folder of their own, which appears whole or not at all.

    They are the pose of every X-ray (`pose.json`, `pose-2.json`, ...), the first one as a transform for 3D
    Slicer (`transform.tfm`), a picture of every X-ray (`overlay.png`, ...), a page to judge the result by
    (`report.html`), and the pose of every structure (`structures/NAME/pose.json` and `transform.tfm`).

    Args:
        folder: the folder to write to; its parents are made.
        registered: the registration.
        overwrite: replace an older result; a folder that holds anything else is never replaced.
        warnings: warnings that were shown while it was made, for the report.
        reproduce: a command line that does it again, for the report; `Provenance.command` by default.

    Raises:
        IsoclinicError: the registration diverged, so that there is nothing to write.
        UsageError: the folder exists and may not be replaced.
        InputError: a file cannot be written, or one that the result was made from cannot be read any more.
    """
    check_not_diverged(registered.result)
    with new_folder(Path(folder), overwrite=overwrite, known=RESULT_FILES) as building:
        write_result_files(building, registered, warnings=warnings, reproduce=reproduce)


def write_result_files(
    folder: Path, registered: Registered, *, warnings: Sequence[str] = (), reproduce: str = ""
) -> None:
    """Write the files of `write_result` into a folder that exists.

    Args:
        folder: the folder to write to.
        registered: the registration.
        warnings: as for `write_result`.
        reproduce: as for `write_result`.

    Raises:
        InputError: as for `write_result`.
    """
    for _ in result_files_in_steps(folder, registered, warnings=warnings, reproduce=reproduce):
        pass


def result_files_in_steps(
    folder: Path, registered: Registered, *, warnings: Sequence[str] = (), reproduce: str = ""
) -> Iterator[None]:
    """The same in steps of some tenths of a second, for programs that have something more urgent to do.

    Args:
        folder: as for `write_result_files`.
        registered: as for `write_result_files`.
        warnings: as for `write_result`.
        reproduce: as for `write_result`.

    Raises:
        InputError: as for `write_result`.
    """
    for view in range(len(registered.xrays)):
        write_pose(folder / numbered(POSE, view), registered, view)
    write_transform(folder / TRANSFORM, registered)
    write_structures(folder, registered)
    yield
    yield from registered.draw_in_steps()
    write_overlays(folder, registered.pictures, registered.result)
    yield
    write_report(folder / REPORT, registered, warnings=warnings, reproduce=reproduce)


def write_pose(path: Path | str, registered: Registered, view: int = 0) -> None:
    """Write the pose of one X-ray as an isoclinic pose file, JSON.

    Args:
        path: path of the file to write.
        registered: the registration.
        view: index of the X-ray, counted from 0.

    Raises:
        InputError: the file cannot be written.
    """
    pose_file(registered.result, registered.made_from, view).write(path)


def write_transform(path: Path | str, registered: Registered) -> None:
    """Write the pose of the first X-ray as a transform that, applied to the CT in 3D Slicer, places it.

    Args:
        path: path of the file to write: .tfm or .txt (text), .h5 or .mat.
        registered: the registration.

    Raises:
        InputError: the file cannot be written.
    """
    write_slicer_transform(path, registered.result.camera_from_world)


def write_structures(folder: Path, registered: Registered) -> None:
    """Write the pose of every structure in the first X-ray, each in a folder `structures/NAME`.

    Args:
        folder: the folder of the result.
        registered: the registration.

    Raises:
        InputError: a file cannot be written.
    """
    camera = registered.result.cameras[0]
    for each in registered.structures:
        place = folder / STRUCTURES / folder_name(each.name)
        place.mkdir(parents=True)
        structure_pose_file(each, camera, registered.made_from).write(place / POSE)
        write_slicer_transform(place / TRANSFORM, each.camera_from_world)


def write_report(
    path: Path | str, registered: Registered, *, warnings: Sequence[str] = (), reproduce: str = ""
) -> None:
    """Write the page to judge a result by: one HTML file that opens offline and loads nothing.

    Args:
        path: path of the file to write.
        registered: the registration.
        warnings: as for `write_result`.
        reproduce: as for `write_result`.

    Raises:
        InputError: the file cannot be written.
    """
    command = reproduce or registered.made_from.command or ""
    write_page(path, report_of(registered, warnings, command))


def write_document(path: Path | str, registered: Registered) -> None:
    """Write everything that is known about a registration as JSON, for programs; see `document_of`.

    Args:
        path: path of the file to write.
        registered: the registration.

    Raises:
        InputError: the file cannot be written.
    """
    with atomic(Path(path)) as temporary:
        temporary.write_text(dumps(document_of(registered)) + "\n", encoding="utf-8")


def check_not_diverged(result: RegistrationResult) -> None:
    """Refuse a result whose pose means nothing.

    Raises:
        IsoclinicError: it diverged.
    """
    if result.status is Status.DIVERGED:
        raise IsoclinicError(
            f"the registration diverged ({result.reason}; start: {result.initial.source}), so nothing "
            "was written; check that CT and X-ray show the same anatomy, and start from another `init`",
            code="registration.diverged",
        )


def pose_file(result: RegistrationResult, provenance: Provenance, view: int = 0) -> PoseFile:
    """The pose of one X-ray with all that is known about it.

    A doubtful result has no expected error: what its covariance says holds near the right pose only.

    Args:
        result: of the registration.
        provenance: the files it was made from.
        view: index of the X-ray, counted from 0.
    """
    confidence = result.confidence
    return PoseFile(
        camera_from_world=result.cameras_from_world[view],
        camera=result.cameras[view],
        volume=provenance.volume,
        xray=provenance.xrays[view],
        model=provenance.model,
        files=provenance.files,
        status=result.status,
        similarity=result.similarity,
        # It belongs to the first camera's axes.
        covariance=confidence.covariance if view == 0 else None,
        expected_error_mm=confidence.stated_error_mm,
        doubts=confidence.doubts,
        isoclinic_version=__version__,
        command=provenance.command,
    )


def structure_pose_file(each: StructureResult, camera: Camera, provenance: Provenance) -> PoseFile:
    """The pose of one structure in the first X-ray, whose camera this is."""
    return PoseFile(
        camera_from_world=each.camera_from_world,
        camera=camera,
        volume=provenance.volume,
        xray=provenance.xrays[0],
        model=provenance.model,
        files=provenance.files,
        status=each.status,
        similarity=each.stated_similarity,
        expected_error_mm=each.stated_overall_mm,
        doubts=each.doubts,
        isoclinic_version=__version__,
        command=provenance.command,
    )
