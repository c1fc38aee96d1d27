"""`isoclinic convert`: poses for other programs, and from them."""

from __future__ import annotations

from collections.abc import Sequence

from .. import __version__
from ..errors import InputError, UsageError
from ..exchange import PosedCamera, read_pose, write_pose
from ..geometry import Camera
from ..registration import PoseFile
from ..solver import Status
from ..volumes import XRay
from ._console import results, warning_line
from ._convert_options import ConvertOptions


def main(options: ConvertOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    if options.to is None and options.from_ is None:
        raise UsageError(
            f"give the program that {options.pose} is converted for (--to PROGRAM) or, if it is not a pose "
            "file, comes from (--from PROGRAM)",
            code="options.incomplete",
        )
    if options.output.exists() and not options.overwrite:
        raise UsageError(
            f"{options.output} exists already; choose another --output or add --overwrite",
            code="output.exists",
        )
    posed = _read(options)
    if options.to is None:
        _pose_file(posed).write(options.output)
    else:
        write_pose(options.output, posed, options.to)
    results().print(
        f"{options.output}: pose for {options.to or 'isoclinic'}, from {options.from_ or 'isoclinic'}",
        markup=False,
        soft_wrap=True,
    )


def _read(options: ConvertOptions) -> PosedCamera:
    camera = _camera(options)
    if options.from_ is not None:
        return read_pose(options.pose, options.from_, camera)
    if camera is not None:
        raise UsageError(
            f"--camera and --xray go with --from only: {options.pose} has its own camera",
            code="options.conflict",
        )
    try:
        file = PoseFile.read(options.pose)
    except InputError as error:
        if not options.pose.is_file():
            raise
        raise InputError(
            f"{error}; a file of another program needs --from PROGRAM", code=error.code
        ) from error
    if file.status is Status.DOUBTFUL:
        # The files of other programs have no place for it.
        reasons = "; ".join(file.doubts) or "the file does not say why"
        warning_line(
            f"the pose in {options.pose} is doubtful: {reasons}. Look at its report before you use it"
        )
    return PosedCamera(camera_from_world=file.camera_from_world, camera=file.camera)


def _camera(options: ConvertOptions) -> Camera | None:
    if options.camera is not None and options.xray is not None:
        raise UsageError(
            "--camera and --xray both supply the intrinsics; give one of them", code="options.conflict"
        )
    if options.camera is not None:
        return PoseFile.read(options.camera).camera
    return None if options.xray is None else XRay.read(options.xray, options.xray_options).camera


def _pose_file(posed: PosedCamera) -> PoseFile:
    return PoseFile(
        camera_from_world=posed.camera_from_world, camera=posed.camera, isoclinic_version=__version__
    )
