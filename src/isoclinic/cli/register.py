"""`isoclinic register`: from a CT and X-rays to a pose."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from rich.table import Table
from tyro.conf import Positional, arg

from ..errors import UsageError
from ..registration import (
    InputFile,
    LandmarkPose,
    RegistrationResult,
    StructureResult,
    View,
    pose_from_landmark_files,
    read_landmark_pairs,
    read_world_points,
    register_structures,
    register_views,
    straight_xrays,
    views_from_angles,
    views_from_file,
    views_from_poses,
)
from ..registration.initialize import MODEL
from ..solver import Status
from ..viewer import write_report
from ..volumes import POLARITY_GUESSED, Volume, XRay, XRayOptions
from ._console import progress, recorded_warnings, results, warning_line
from ._folder import new_folder
from ._geometry_text import depth_note, geometry_document, geometry_rows
from ._model import DEFAULT, chosen_model
from ._options import FLAT, RegistrationOptions, StructuresOptions, parse_options
from ._report import (
    Registered,
    ct_text,
    fallback_text,
    geometry,
    model_parts,
    report_of,
    rescue_tried,
    text,
    writing_beside,
)
from ._results import (
    POSE,
    REPORT,
    RESULT_FILES,
    TRANSFORM,
    Origin,
    check_not_diverged,
    write_pictures,
    write_poses,
    write_structures,
)
from ._targets import targets_document, targets_of, targets_table

_ALL = "all"


@dataclass(frozen=True, kw_only=True)
class RegisterOptions:
    """Find the pose that aligns a CT with an X-ray, and write it with pictures of the match.

    Attributes:
        xray: the X-ray: DICOM, or PNG, TIFF or NIfTI with a JSON file of the same name for its geometry.
            Several X-rays of one patient at rest, from different directions, give one pose, depth included;
            options that say how to read an X-ray hold for all of them.
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: folder for pose.json, transform.tfm (3D Slicer), report.html and pictures; made whole or not
            at all.
        init: where to start: a pose file, a view ("ap", "pa", "left", "right": the way of the beam, or the
            side the detector is on), "dicom" for the C-arm angles in the X-ray's header, or "model" for the
            pose that --model predicts. By default it is the model's, if one is given; else "dicom" where
            there are angles, and "ap" where there are none.
        model: networks that isoclinic train made for this CT, or pretrain for any: a model file, or the
            folder it is in. What they lead to is tried first; --learned.* says which of them. The default
            are those that come with isoclinic, for any CT: they take part only where nothing else leads to
            a match. With "none" they do not either.
        landmarks: start from landmarks instead: one file with points of the CT and of the X-ray, or two
            files, CT first (isoclinic JSON, or .mrk.json and .fcsv of 3D Slicer). They are matched by name.
        targets: points of the CT where the error counts, such as the entries of screws (isoclinic JSON,
            .mrk.json or .fcsv): for each the result says where the X-ray shows it and what error to expect.
        views: how several X-rays lie relative to each other: a JSON file of "view_from_first" matrices, or a
            pose file for each. By default it follows from the C-arm angles in their headers.
        labels: label map of the CT, which --structures and --each-structure choose from.
        each_structure: find where each of these structures of --labels is, after the CT as a whole: names,
            labels, or "all"; several joined by "+" move as one.
        overwrite: replace an older result.
        json: print the result as JSON instead of a table.
        config: TOML file with any of these options; the command line wins.
        xray_options: how to read the X-ray.
        registration: how to register.
        moving: how the structures of --each-structure are registered.
    """

    xray: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="XRAY [XRAY ...]", help_behavior_hint="(required)")
    ]
    volume: Path
    output: Path
    init: str | None = None
    model: str = DEFAULT
    landmarks: tuple[Path, ...] = ()
    targets: Path | None = None
    views: tuple[Path, ...] = ()
    labels: Path | None = None
    each_structure: tuple[str, ...] = ()
    overwrite: bool = False
    json: bool = False
    config: Path | None = None
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)
    moving: StructuresOptions = field(default_factory=StructuresOptions)


def main(arguments: Sequence[str]) -> None:
    """Run the command."""
    options = parse_options(RegisterOptions, "register", arguments)
    _check(options)
    with (
        recorded_warnings() as said,
        new_folder(options.output, overwrite=options.overwrite, known=RESULT_FILES) as folder,
        progress().status("reading") as status,
    ):
        xrays = [XRay.read(path, options.xray_options) for path in options.xray]
        volume = Volume.read(options.volume, labels=options.labels)
        ct, images = InputFile.of(options.volume), [InputFile.of(path) for path in options.xray]
        learned, model = chosen_model(options.model, ct, xrays[0])
        names = _structure_names(options, volume)
        points = read_world_points(options.targets) if options.targets else {}
        views = _views(options, xrays)
        marked = pose_from_landmark_files(xrays[0], *options.landmarks) if options.landmarks else None
        init = options.init if marked is None else marked.camera_from_world
        status.update("registering; the first time, this compiles the renderer")
        result = register_views(volume, views, init, options.registration, model=model)
        if options.model == DEFAULT and not rescue_tried(result):
            learned = None
        check_not_diverged(result)
        xrays = straight_xrays(xrays, result.distortions)
        if marked is not None:
            source = f"{len(marked.names)} landmarks"
            result = replace(result, initial=replace(result.initial, source=source))
        structures: tuple[StructureResult, ...] = ()
        if names:
            first = xrays[0].recalibrated(result.cameras[0])
            config = replace(
                options.moving,
                preprocess=options.registration.preprocess,
                backend=options.registration.backend,
            )
            structures = register_structures(volume, first, result.camera_from_world, names, config)
        status.update("writing")
        command = shlex.join(["isoclinic", "register", *arguments])
        origin = Origin(volume=ct, xrays=images, model=learned, files=_other_files(options), command=command)
        write_poses(folder, result, origin)
        write_structures(folder, structures, result.cameras[0], origin)
        write_pictures(folder, volume, xrays, result, options.registration)
        for warning in _doubts(options, xrays, result, structures):
            said.append(warning)
            warning_line(warning)
        registered = Registered(
            volume=volume,
            xrays=xrays,
            result=result,
            config=options.registration,
            model=learned,
            structures=structures,
            views_source=_views_source(options),
            landmarks=read_landmark_pairs(*options.landmarks) if options.landmarks else None,
            landmark_pose=marked,
            targets=targets_of(points, volume, result),
        )
        again = shlex.join(["isoclinic", "register", *writing_beside(options.output, arguments)])
        write_report(folder / REPORT, report_of(registered, said, again))
    if options.json:
        print(json.dumps(_document(options, registered), indent=2))
        return
    results().print(_table(options, registered))
    if marked is not None:
        results().print(_landmarks_table(marked))
    if registered.targets:
        results().print(targets_table(registered.targets))
    if structures:
        results().print(_structures_table(structures))


def _check(options: RegisterOptions) -> None:
    """Raises UsageError for options that are missing, or exclude or need each other."""
    if not options.xray:
        raise UsageError("give the X-ray, or several, before the options: isoclinic register XRAY ...")
    if len(options.landmarks) > 2:
        raise UsageError(f"--landmarks takes one file or two, CT first, not {len(options.landmarks)}")
    if options.landmarks and options.init is not None:
        raise UsageError("--landmarks and --init both say where to start; give one of them")
    if options.views and len(options.xray) == 1:
        raise UsageError("--views says how several X-rays lie to each other, but there is only one")
    angles = options.xray_options.primary_angle_deg, options.xray_options.secondary_angle_deg
    if len(options.xray) > 1 and angles != (None, None):
        raise UsageError(
            "--primary-angle-deg and --secondary-angle-deg would hold for all X-rays alike; --views says how "
            "several lie"
        )
    if options.each_structure and options.labels is None:
        raise UsageError("--each-structure chooses from a label map; give it with --labels")
    if options.each_structure and options.registration.structures is not None:
        raise UsageError("--structures registers structures as one, --each-structure one by one: choose")


def _views(options: RegisterOptions, xrays: Sequence[XRay]) -> Sequence[View]:
    if len(xrays) == 1:
        return [View(xray=xrays[0])]
    if not options.views:
        return views_from_angles(xrays)
    if len(options.views) == 1:
        return views_from_file(xrays, options.views[0])
    return views_from_poses(xrays, options.views)


def _views_source(options: RegisterOptions) -> str:
    refined = "; refined" if options.registration.refine_views.on else ""
    return f"{', '.join(map(str, options.views)) or 'C-arm angles'}{refined}"


def _other_files(options: RegisterOptions) -> dict[str, InputFile]:
    """Files besides CT, X-rays and model that the result depends on, by their option."""
    named = {
        "init": [Path(options.init)] if options.init and Path(options.init).is_file() else [],
        "landmarks": options.landmarks,
        "views": options.views,
        "labels": [options.labels] if options.labels else [],
        "exclude": [options.xray_options.exclude] if options.xray_options.exclude else [],
        "config": [options.config] if options.config else [],
    }
    return {
        name if index == 0 else f"{name}-{index + 1}": InputFile.of(path)
        for name, paths in named.items()
        for index, path in enumerate(paths)
    }


def _structure_names(options: RegisterOptions, volume: Volume) -> list[tuple[int | str, ...]]:
    """What --each-structure means, checked against the label map before anything is registered."""
    if options.each_structure == (_ALL,):
        assert volume.labels is not None
        labels = np.unique(volume.labels).tolist()
        return [(volume.label_names.get(label, label),) for label in labels if label > 0]
    groups = (group.split("+") for group in options.each_structure)
    names = [tuple(int(name) if name.isdecimal() else name for name in group) for group in groups]
    for group in names:
        volume.structure_mask(group, slice(0, 1))
    return names


def _doubts(
    options: RegisterOptions,
    xrays: Sequence[XRay],
    result: RegistrationResult,
    structures: Sequence[StructureResult],
) -> Iterator[str]:
    """What should make people look before they use the result."""
    if result.status is Status.DOUBTFUL:
        remedy = "try another --init or --landmarks"
        if any(xray.provenance.get("polarity") == POLARITY_GUESSED for xray in xrays):
            remedy += ", or the other --polarity, which was guessed"
        yield (
            f"the result is doubtful: {'; '.join(result.confidence.doubts)}. Look at "
            f"{options.output / REPORT} before using the pose, and {remedy}"
        )
    hidden = [each.name for each in structures if not each.trace]
    doubtful = [each.name for each in structures if each.trace and each.status is Status.DOUBTFUL]
    if hidden:
        yield f"the X-ray hardly shows {', '.join(hidden)}: left where the CT as a whole is"
    if doubtful:
        yield f"doubtful: {', '.join(doubtful)}; look at {options.output / REPORT} before using their poses"


def _document(options: RegisterOptions, registered: Registered) -> dict[str, Any]:
    xray, result = registered.xrays[0], registered.result
    confidence = result.confidence
    document = {
        "output": str(options.output),
        "status": result.status,
        "reason": result.reason,
        "similarity": result.similarity,
        "confidence": {
            "expected_error_mm": None if confidence.doubts else confidence.expected_error_mm,
            "expected_error_by_axis_mm": None if confidence.doubts else confidence.expected_error_by_axis_mm,
            "expected_rotation_deg": None if confidence.doubts else confidence.expected_rotation_deg,
            "edges": confidence.edges,
            "rival": confidence.rival,
            "overlap": confidence.overlap,
            "doubts": confidence.doubts,
            "geometry": geometry_document(confidence),
        },
        "seconds": result.seconds,
        "camera_from_world": result.camera_from_world.tolist(),
        "initial": {
            "source": result.initial.source,
            "camera_from_world": result.initial.camera_from_world.tolist(),
        },
        "attempts": [asdict(attempt) for attempt in result.attempts],
        "xray": {
            name: {"value": value, "source": xray.provenance.get(name)}
            for name, value in geometry(xray).items()
        },
    }
    if len(registered.xrays) > 1:
        document["cameras_from_world"] = result.cameras_from_world.tolist()
    if registered.model is not None:
        fallback = fallback_text(result)
        document["model"] = {
            **asdict(registered.model),
            "contributed": model_parts(result),
            "fallback": None if fallback is None else fallback[0],
        }
    if registered.landmark_pose is not None:
        document["landmarks"] = {
            name: {"residual_px": px, "residual_mm": mm}
            for name, px, mm in _residuals(registered.landmark_pose)
        }
    if registered.targets:
        document["targets"] = targets_document(registered.targets)
    if registered.structures:
        document["structures"] = {
            each.name: {
                "status": each.status,
                "similarity": each.similarity if each.trace else None,
                "visible": each.visible,
                "rotation_deg": each.rotation_deg,
                "translation_mm": each.translation_mm.tolist(),
                "expected_error_mm": dict(zip(("across", "depth"), each.expected_error_mm, strict=True)),
                "camera_from_world": each.camera_from_world.tolist(),
            }
            for each in registered.structures
        }
    return document


def _start_option(options: RegisterOptions, result: RegistrationResult) -> str:
    if options.landmarks:
        return f"--landmarks {' '.join(map(str, options.landmarks))}"
    if options.init:
        return "--init"
    return "--model" if result.initial.source == MODEL else "default"


def _table(options: RegisterOptions, registered: Registered) -> Table:
    result, confidence = registered.result, registered.result.confidence
    table = Table("", "value")
    table.add_column("source", overflow="fold")
    for xray in registered.xrays:
        table.add_row("X-ray", f"{xray.camera.width} x {xray.camera.height} px", str(xray.path))
        for name, value in geometry(xray).items():
            if value is not None:
                table.add_row(f"  {name}", text(value), xray.provenance.get(name, ""))
    table.add_row("CT", ct_text(registered.volume), str(options.volume))
    table.add_section()
    table.add_row("start", result.initial.source, _start_option(options, result))
    if registered.model is not None:
        table.add_row("model", ", ".join(model_parts(result)) or "took no part", registered.model.path)
        fallback = fallback_text(result)
        if fallback is not None:
            table.add_row("fallback", *fallback)
    table.add_row("status", str(result.status), f"stopped by {result.reason}")
    right_mm, down_mm, depth_mm = confidence.expected_error_by_axis_mm
    if confidence.doubts:
        table.add_row("expected error", "unknown", "; ".join(confidence.doubts))
    else:
        table.add_row(
            "expected error",
            f"{confidence.expected_error_mm:.2f} mm",
            f"of bones in view: {right_mm:.2f} mm right, {down_mm:.2f} mm down, {depth_mm:.2f} mm in depth",
        )
        if confidence.geometry is not None:
            table.add_row("", "", depth_note(confidence))
    table.add_row("similarity", f"{result.similarity:.3f}", "local correlation; 1 is a perfect match")
    table.add_row("edges", f"{confidence.edges:.3f}", "the same of the gradients, at low resolution")
    for said, given in geometry_rows(confidence):
        name, _, value = said.partition(": ")
        table.add_row(name, value, given)
    table.add_row("time", f"{result.seconds:.2f} s", "without reading and writing files")
    table.add_row("result", f"{POSE}, {TRANSFORM}, {REPORT}", str(options.output))
    return table


def _landmarks_table(marked: LandmarkPose) -> Table:
    table = Table("landmark", title="how far the start is off the landmarks", title_justify="left")
    table.add_column("residual\n\\[px]", justify="right")
    table.add_column("at its depth\n\\[mm]", justify="right")
    for name, px, mm in _residuals(marked):
        table.add_row(name, f"{px:.2f}", f"{mm:.2f}")
    table.add_section()
    table.add_row("root mean square", f"{marked.rms_px:.2f}", f"{marked.rms_mm:.2f}")
    return table


def _residuals(marked: LandmarkPose) -> Iterator[tuple[str, float, float]]:
    yield from zip(marked.names, marked.residuals_px.tolist(), marked.residuals_mm.tolist(), strict=True)


def _structures_table(structures: Sequence[StructureResult]) -> Table:
    table = Table("structure", "status", title="moved relative to the CT as a whole", title_justify="left")
    for heading in (
        "turned\n\\[deg]",
        "right, down, depth\n\\[mm]",
        "expected error\nacross, depth \\[mm]",
        "similarity",
        "in view",
    ):
        table.add_column(heading, justify="right")
    for each in structures:
        across_mm, depth_mm = each.expected_error_mm
        table.add_row(
            each.name,
            str(each.status),
            f"{each.rotation_deg:.1f}",
            ", ".join(f"{mm:.1f}" for mm in each.translation_mm.tolist()),
            f"{across_mm:.1f}, {depth_mm:.1f}",
            f"{each.similarity:.2f}" if each.trace else "",
            f"{each.visible:.0%}",
        )
    table.caption = "One X-ray hardly shows depth: what it leaves open, --moving.expected-motion-mm settles."
    return table
