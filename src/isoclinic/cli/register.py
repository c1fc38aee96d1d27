"""`isoclinic register`: from two files to a pose."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from rich.table import Table
from tyro.conf import Positional

from ..registration import InputFile, RegistrationResult, register
from ..solver import Status
from ..volumes import Volume, XRay, XRayOptions
from ._console import progress, results, warning_line
from ._folder import new_folder
from ._options import FLAT, RegistrationOptions, parse_options
from ._results import CONVERGENCE, OVERLAY, POSE, check_not_diverged, pose_file, write_pictures

_FILES = frozenset({POSE, OVERLAY, CONVERGENCE})


@dataclass(frozen=True, kw_only=True)
class RegisterOptions:
    """Find the pose that aligns a CT with an X-ray, and write it with a picture of the match.

    Attributes:
        xray: the X-ray: DICOM, or PNG, TIFF or NIfTI with a JSON file of the same name for its geometry.
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: folder for pose.json, overlay.png and convergence.png; made whole or not at all.
        init: where to start: a pose file, a view ("ap", "pa", "left", "right": the way of the beam, or the
            side the detector is on), or "dicom" for the C-arm angles in the X-ray's header. By default
            "dicom" where there are angles, else "ap".
        labels: label map of the CT, which --structures chooses from.
        overwrite: replace an older result.
        json: print the result as JSON instead of a table.
        config: TOML file with any of these options; the command line wins.
        xray_options: how to read the X-ray.
        registration: how to register.
    """

    xray: Positional[Path]
    volume: Path
    output: Path
    init: str | None = None
    labels: Path | None = None
    overwrite: bool = False
    json: bool = False
    config: Path | None = None
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(RegisterOptions, "register", arguments)
    with new_folder(options.output, overwrite=options.overwrite, known=_FILES) as folder:
        status = progress().status("reading")
        with status:
            xray = XRay.read(options.xray, options.xray_options)
            volume = Volume.read(options.volume, labels=options.labels)
            status.update("registering; the first time, this compiles the renderer")
            result = register(volume, xray, options.init, options.registration)
            check_not_diverged(result)
            status.update("writing")
            files = InputFile.of(options.volume), InputFile.of(options.xray)
            pose_file(result, xray.camera, *files).write(folder / POSE)
            write_pictures(folder, volume, xray, result, options.registration)
    if options.json:
        print(json.dumps(_document(options, xray, result), indent=2))
    else:
        results().print(_table(options, volume, xray, result))
    if result.status is Status.DOUBTFUL:
        warning_line(
            f"the result is doubtful: X-ray and CT correlate by {result.similarity:.2f} only; look at "
            f"{options.output / OVERLAY} before using the pose, and try another --init"
        )


def _geometry(xray: XRay) -> dict[str, Any]:
    """Values that were read, by the names of their options."""
    row_mm, column_mm = xray.camera.pixel_spacing_mm
    return {
        "sdd_mm": xray.camera.sdd_mm,
        "pixel_spacing_mm": [row_mm, column_mm],
        "principal_point_px": [xray.camera.cx, xray.camera.cy],
        "source_isocentre_mm": xray.source_isocentre_mm,
        "primary_angle_deg": xray.primary_angle_deg,
        "secondary_angle_deg": xray.secondary_angle_deg,
        "polarity": xray.polarity,
        "pixel_scale": xray.pixel_scale,
    }


def _document(options: RegisterOptions, xray: XRay, result: RegistrationResult) -> dict[str, Any]:
    return {
        "output": str(options.output),
        "status": result.status,
        "reason": result.reason,
        "similarity": result.similarity,
        "seconds": result.seconds,
        "camera_from_world": result.camera_from_world.tolist(),
        "initial": {
            "source": result.initial.source,
            "camera_from_world": result.initial.camera_from_world.tolist(),
        },
        "xray": {
            name: {"value": value, "source": xray.provenance.get(name)}
            for name, value in _geometry(xray).items()
        },
    }


def _table(options: RegisterOptions, volume: Volume, xray: XRay, result: RegistrationResult) -> Table:
    table = Table("", "value")
    table.add_column("source", overflow="fold")
    table.add_row("X-ray", f"{xray.camera.width} x {xray.camera.height} px", str(options.xray))
    for name, value in _geometry(xray).items():
        if value is not None:
            table.add_row(f"  {name}", _text(value), xray.provenance.get(name, ""))
    nx, ny, nz = volume.shape
    spacing = " x ".join(f"{mm:.3g}" for mm in volume.spacing_mm)
    table.add_row(
        "CT", f"{nx} x {ny} x {nz} voxels of {spacing} mm, {volume.orientation}", str(options.volume)
    )
    table.add_section()
    table.add_row("start", result.initial.source, "--init" if options.init else "default")
    table.add_row("status", str(result.status), f"stopped by {result.reason}")
    table.add_row("similarity", f"{result.similarity:.3f}", "local correlation; 1 is a perfect match")
    table.add_row("time", f"{result.seconds:.2f} s", "without reading and writing files")
    table.add_row("result", POSE, str(options.output))
    return table


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{number:.6g}" for number in value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)
