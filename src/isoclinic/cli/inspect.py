"""`isoclinic inspect`: what was read from a CT and an X-ray, from where, and what about it is odd."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
import torch
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from .._files import atomic
from ..errors import InputError, IsoclinicError, UsageError
from ..geometry import PatientSides
from ..inspection import (
    InspectedValue,
    Inspection,
    inspect_view,
    inspect_volume,
    inspect_xray,
    patient_orientation,
    volume_header,
    xray_header,
)
from ..registration import InitialPose, RegistrationConfig
from ..registration.initialize import initial_pose
from ..results import drr, picture_of
from ..similarity.local_standardization import standardize
from ..viewer import write_comparison
from ..volumes import (
    Finding,
    GeometryWarning,
    PreprocessConfig,
    Volume,
    XRay,
    line_integrals,
)
from ._console import progress, results
from ._inspect_options import InspectOptions
from ._wording import as_options

_Read = TypeVar("_Read")

_CT, _XRAY, _VIEW = "CT", "X-ray", "view"
_LEVELS = {"error": "bold red", "warning": "yellow", "note": "dim"}


def main(options: InspectOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    _check(options)
    with progress().status("reading"):
        report = _inspect(options)
    if options.json:
        document = {subject: asdict(part) for subject, part in report.items()}
        print(as_options(json.dumps(document, indent=2)))
    else:
        _print(report)
    levels = [finding.level for part in report.values() for finding in part.findings]
    failed = levels.count("error") + (levels.count("warning") if options.strict else 0)
    if failed:
        raise IsoclinicError(
            f"{failed} of {len(levels)} findings must be settled before a registration",
            code="inspection.findings",
        )


def _check(options: InspectOptions) -> None:
    for path, name, suffixes in (
        (options.save, "--save", (".png",)),
        (options.save_ct, "--save-ct", (".nii", ".nii.gz")),
    ):
        if path is None:
            continue
        if not path.name.lower().endswith(suffixes):
            raise UsageError(
                f"{name} {path} must end in {' or '.join(suffixes)}", code="options.invalid-value"
            )
        if path.exists() and not options.overwrite:
            raise UsageError(
                f"{name} {path} exists already; choose another name or add --overwrite", code="output.exists"
            )
    if options.save is None:
        return
    if options.xray is None:
        raise UsageError(
            "--save shows CT and X-ray side by side; give the X-ray, too", code="options.incomplete"
        )


# Looking ----------------------------------------------------------------------------------------------


def _inspect(options: InspectOptions) -> dict[str, Inspection]:
    """Inspections by subject; a file that cannot be used is a finding, so that the other is still shown."""
    report: dict[str, Inspection] = {}
    correction = options.correction
    volume = _read(
        report, _CT, lambda: Volume.read(options.volume, labels=options.labels, correction=correction)
    )
    if volume is not None:
        report[_CT] += inspect_volume(volume) + volume_header(options.volume, correction)
        if options.save_ct is not None:
            _save_ct(options.save_ct, volume)
    if options.xray is None:
        return report
    path = options.xray
    xray = _read(report, _XRAY, lambda: XRay.read(path, options.xray_options))
    if xray is not None:
        path = xray.path or path  # of the X-ray in it, if it is a folder
        report[_XRAY] += inspect_xray(xray, options.preprocess) + xray_header(path)
    if volume is None or xray is None:
        return report
    start = _read(report, _VIEW, lambda: initial_pose(volume, xray, options.init), otherwise="--init")
    if start is not None:
        report[_VIEW] += inspect_view(volume, xray, start, patient_orientation(xray))
        if options.save is not None:
            _save(options.save, volume, xray, start, options.preprocess)
    return report


def _read(
    report: dict[str, Inspection], subject: str, read: Callable[[], _Read], *, otherwise: str = ""
) -> _Read | None:
    """What `read` returns; its warnings, or the error that stopped it, become the subject's findings.

    Warnings that the result keeps as its own findings are left to it.

    `otherwise` is the remedy where the message names no option.
    """
    findings: list[Finding] = []
    result = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeometryWarning)
        try:
            result = read()
        except InputError as error:
            findings.append(Finding.of_message("error", subject, str(error), otherwise))
    kept: tuple[Finding, ...] = getattr(result, "findings", ())
    for warning in caught:
        if isinstance(warning.message, GeometryWarning):
            message = warning.message
            finding = message.finding or Finding.of_message("warning", subject, str(message))
            findings += [] if finding in kept else [finding]
        else:  # of another package
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    report[subject] = Inspection(findings=tuple(findings))
    return result


def _save_ct(path: Path, volume: Volume) -> None:
    image = nib.Nifti1Image(volume.hu, volume.world_from_voxel)
    image.set_qform(None, 0)  # it cannot hold shear; the sform is read first
    image.set_sform(volume.world_from_voxel, 1)
    image.header.set_xyzt_units("mm")
    with atomic(path) as new_image:
        nib.save(image, new_image)


def _save(path: Path, volume: Volume, xray: XRay, start: InitialPose, config: PreprocessConfig) -> None:
    """Both images as line integrals, and standardised as in the last stage of a registration."""
    picture = picture_of(xray)
    camera = picture.camera
    image, weight = line_integrals(picture, config)
    rendered = drr(volume, camera, start.camera_from_world, RegistrationConfig())
    last = RegistrationConfig().stages[-1]
    radius = round(last.similarity.terms[0].window_px / 2 * max(camera.width, camera.height) / last.pixels)

    def standardized(values: NDArray[np.float32]) -> NDArray[np.float32]:
        stack, trust = torch.from_numpy(values)[None], torch.from_numpy(weight)
        floor = last.similarity.floor * float(stack.std())
        evened, _ = standardize(
            stack, stack.new_zeros(1, 0, *values.shape), trust, radius=max(radius, 1), floor=floor
        )
        return evened[0].numpy()

    write_comparison(
        path,
        images={
            "X-ray, line integrals": image,
            "CT rendered from the start": rendered,
            "X-ray as compared": standardized(image),
            "CT as compared": standardized(rendered),
        },
        weight=weight,
        # Of the CT alone: whether the X-ray shows the same sides is what is to be seen here.
        sides=dict.fromkeys(
            ("CT rendered from the start", "CT as compared"), PatientSides.of(camera, start.camera_from_world)
        ),
        camera=camera,
        caption=f"seen from the source, bright where dense; blue: masked; start: {start.source}",
    )


# Telling ----------------------------------------------------------------------------------------------


def _print(report: dict[str, Inspection]) -> None:
    table = Table("", "value")
    table.add_column("frame", overflow="fold")
    table.add_column("source", overflow="fold")
    for subject, part in report.items():
        table.add_section()
        table.add_row(f"[bold]{subject}[/]")
        for reading in part.readings:
            table.add_row(
                f"  {reading.name}", _text(reading), escape(reading.frame), escape(as_options(reading.source))
            )
    results().print(table)
    findings = [finding for part in report.values() for finding in part.findings]
    if not findings:
        results().print("Nothing odd was found.")
        return
    table = Table("level", "about")
    table.add_column("what is odd", overflow="fold", ratio=3)
    table.add_column("what settles it", overflow="fold", ratio=2)
    for finding in sorted(findings, key=lambda finding: [*_LEVELS].index(finding.level)):
        level = f"[{_LEVELS[finding.level]}]{finding.level}[/]"
        table.add_row(
            level, finding.subject, *(escape(as_options(each)) for each in (finding.message, finding.remedy))
        )
    results().print(table)


def _text(reading: InspectedValue) -> str:
    values = reading.value if isinstance(reading.value, tuple) else (reading.value,)
    words = [f"{value:.6g}" if isinstance(value, float) else str(value) for value in values]
    return escape(" ".join([", ".join(words), reading.unit]).strip())
