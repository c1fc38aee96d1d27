"""The content of the HTML report on a registration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..geometry import Camera, se3
from ..registration import RegistrationResult, StructureResult
from ..rendering import structure_outline
from ..solver import Status
from ..viewer import (
    CheckRow,
    ErrorRow,
    GeometryRow,
    Report,
    ReportLandmarks,
    ReportView,
    StructureRow,
    mask_contours,
)
from ..volumes import XRay
from .geometry_check import depth_note, geometry_checks
from .pictures import convergence_stages, error_parts
from .registered import (
    Registered,
    ct_text,
    fallback_text,
    geometry,
    model_parts,
    moved_text,
    stopped_text,
    text,
)
from .targets import target_errors


def report_of(registered: Registered, warnings: Sequence[str] = (), command: str = "") -> Report:
    """The content of the report on a registration, as plain data for `viewer.write_report`.

    Args:
        registered: the registration.
        warnings: warnings that were shown while it was made.
        command: a command line that does it again, run in the present folder.
    """
    result = registered.result
    names = names_apart([xray.path for xray in registered.xrays])
    reasons = registered.doubts or _unsettled(result)
    return Report(
        title=f"{', '.join(names)} in {registered.volume.path.name if registered.volume.path else 'the CT'}",
        status=Status.DOUBTFUL if registered.doubtful else result.status,
        reasons=reasons,
        views=[_view(registered, index, name) for index, name in enumerate(names)],
        errors=[*_errors(result), *target_errors(registered.targets)],
        structures=[_structure_row(each) for each in registered.structures],
        checks=[
            *_checks(result),
            *geometry_checks(result.confidence, registered.config.intrinsics),
        ],
        geometry=list(_geometry_rows(registered)),
        # What is a reason already need not be said twice.
        warnings=[each for each in dict.fromkeys(warnings) if each not in reasons],
        command=command,
        folder=str(Path.cwd()),
        stages=convergence_stages(result),
    )


def _unsettled(result: RegistrationResult) -> tuple[str, ...]:
    return () if result.status is Status.CONVERGED else (stopped_text(result),)


def _view(registered: Registered, index: int, name: str) -> ReportView:
    pictures = registered.pictures[index]
    pose, start = pictures.camera_from_world, pictures.start_camera_from_world
    marked = index == 0
    return ReportView(
        name=name,
        xray=pictures.image,
        start=pictures.start,
        result=pictures.result,
        start_bones=pictures.start_bone,
        result_bones=pictures.result_bone,
        camera=pictures.camera,
        weight=pictures.weight,
        sides=pictures.sides,
        start_sides=pictures.start_sides,
        landmarks=_landmarks(registered, pictures.xray, start, pose) if marked else None,
        contours=_contours(
            registered, pictures.camera, [each.camera_from_world for each in registered.structures]
        ),
        start_contours=_contours(registered, pictures.camera, [start] * len(registered.structures)),
    )


def names_apart(paths: Sequence[Path | None]) -> list[str]:
    """A short name for every X-ray, no two alike: that of its file, with as many folders as it takes.

    Args:
        paths: paths of their files; None for an X-ray without one.
    """
    counted = [path or Path("X-ray") for path in paths]
    deepest = max((len(path.parts) for path in counted), default=1)
    for parts in range(1, deepest + 1):
        names = ["/".join(path.parts[-parts:]).replace("//", "/") for path in counted]
        if len(set(names)) == len(names):
            return names
    return [f"{path.name} ({number})" for number, path in enumerate(counted, start=1)]


def _landmarks(registered: Registered, picture: XRay, start: Tensor, pose: Tensor) -> ReportLandmarks | None:
    """Landmarks, and targets as some that are not marked in the X-ray."""
    pairs, targets = registered.landmarks, registered.targets
    if pairs is None and not targets:
        return None
    names, world = [each.name for each in targets], [each.point_world for each in targets]
    given_px = np.full((len(targets), 2), np.nan)
    if pairs is not None:
        names, world = [*pairs.names, *names], [*pairs.points_world, *world]
        given_px = np.concatenate([picture.pixels_from_stored(pairs.stored_px), given_px])
    points = torch.from_numpy(np.stack(world))
    return ReportLandmarks(
        names=names,
        start_px=picture.camera.project(points, start).numpy(),
        result_px=picture.camera.project(points, pose).numpy(),
        given_px=None if pairs is None else given_px,
    )


def _contours(
    registered: Registered, camera: Camera, poses: Sequence[Tensor]
) -> dict[str, list[NDArray[np.float64]]]:
    """Outlines of the structures in the first X-ray."""
    return {
        each.name: mask_contours(structure_outline(registered.volume, each.structure, camera, pose))
        for each, pose in zip(registered.structures, poses, strict=True)
    }


def _errors(result: RegistrationResult) -> list[ErrorRow]:
    """The expected error by the confidence; unknown where that is in doubt."""
    confidence = result.confidence
    right_mm, down_mm, depth_mm = confidence.stated_error_by_axis_mm or (None, None, None)
    depth = "along the viewing direction of the first X-ray"
    if confidence.geometry is not None:
        depth = f"{depth}; {depth_note(confidence)}"
    return [
        ErrorRow(
            name="overall",
            value=_number(confidence.stated_error_mm),
            note="root mean square at points of bone in view",
            parts=error_parts(confidence),
        ),
        ErrorRow(name="right in the image", value=_number(right_mm)),
        ErrorRow(name="down in the image", value=_number(down_mm)),
        ErrorRow(name="depth", value=_number(depth_mm), note=depth),
        ErrorRow(name="rotation", value=_number(confidence.stated_rotation_deg), unit="deg"),
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _structure_row(each: StructureResult) -> StructureRow:
    across_mm, depth_mm = each.stated_error_mm or (math.nan, math.nan)
    return StructureRow(
        name=each.name,
        status=each.status,
        doubts=each.doubts,
        moved=f"{each.rotation_deg:.1f} deg; {moved_text(each)} mm",
        across_mm=across_mm,
        depth_mm=depth_mm,
        visible=each.visible,
    )


def _checks(result: RegistrationResult) -> Iterator[CheckRow]:
    confidence, config = result.confidence, result.confidence.limits
    yield CheckRow(
        name="correlation of the edges of X-ray and CT",
        value=f"{confidence.edges:.2f}",
        limit=f"below {config.edges_below:g}",
    )
    yield CheckRow(
        name="the same correlation at the best other pose that was found",
        value="no such pose" if confidence.rival is None else f"{confidence.rival:.2f}",
        limit=f"above {config.rival_above:.0%} of the first row",
    )
    yield CheckRow(
        name="distance of this correlation from chance, in standard deviations",
        value=f"{confidence.significance:.0f}",
        limit=f"below {config.significance_below:g}",
    )
    yield CheckRow(
        name="share of the tissue in the X-ray that the CT covers",
        value=f"{confidence.overlap:.0%}",
        limit=f"below {config.overlap_below:.0%}",
    )
    yield CheckRow(
        name="expected error if the pose is right and the geometry is exact",
        value=f"{confidence.image_error_mm:.2f} mm",
        limit=f"above {config.expected_error_above_mm:g} mm",
    )
    yield CheckRow(
        name="the same error across the beam of the first X-ray",
        value=f"{confidence.image_error_across_mm:.2f} mm",
        limit=f"above {config.expected_across_above_mm:g} mm",
    )
    yield CheckRow(
        name="expected error of the rotation, likewise",
        value=f"{confidence.image_rotation_deg:.2f} degrees",
        limit=f"above {config.expected_rotation_above_deg:g} degrees",
    )
    if config.similarity_below > 0:
        yield CheckRow(
            name="correlation of X-ray and CT in the last stage",
            value=f"{result.similarity:.2f}",
            limit=f"below {config.similarity_below:g}",
        )


def _geometry_rows(registered: Registered) -> Iterator[GeometryRow]:
    volume, result = registered.volume, registered.result
    yield GeometryRow(name="CT", value=ct_text(volume), source=str(volume.path or ""))
    yield GeometryRow(name="start", value=result.initial.source)
    if registered.made_from.model is not None:
        parts = ", ".join(model_parts(result)) or "took no part"
        yield GeometryRow(name="model", value=parts, source=registered.made_from.model.path)
        fallback = fallback_text(result)
        if fallback is not None:
            yield GeometryRow(name="fallback", value=fallback[0], source=fallback[1])
    for xray, camera in zip(registered.xrays, result.cameras, strict=True):
        yield GeometryRow(
            name="X-ray", value=f"{camera.width} x {camera.height} px", source=str(xray.path or "")
        )
        refined = geometry(replace(xray, camera=camera))
        for name, value in geometry(xray).items():
            source = xray.provenance.get(name, "")
            if refined[name] != value:
                source = f"{source}; refined to {text(refined[name])}"
            if value is not None:
                yield GeometryRow(name=name, value=text(value), source=source)
    first, *others = result.cameras_from_world
    for number, pose in enumerate(others, start=2):
        yield GeometryRow(
            name=f"view {number} from the first",
            value=f"turned by {float(se3.rotation_angle_deg(first, pose)):.2f} deg",
            source=registered.views_source,
        )
