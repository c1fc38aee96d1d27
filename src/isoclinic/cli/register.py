"""`isoclinic register`: from a CT and X-rays to a pose."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from tyro.conf import Positional, arg

from .._json import dumps
from ..errors import IsoclinicError, UsageError
from ..registration import (
    InputFile,
    RegistrationResult,
    StructureResult,
    View,
    check_structures,
    input_doubts,
    pose_from_landmark_files,
    read_landmark_pairs,
    read_world_points,
    register_structures,
    register_views,
    views_from_angles,
    views_from_file,
    views_from_poses,
)
from ..registration.initialize import MODEL
from ..results import (
    REPORT,
    RESULT_FILES,
    Origin,
    Registered,
    check_not_diverged,
    document_of,
    report_of,
    rescue_tried,
    targets_of,
    verdict,
    write_pictures,
    write_poses,
    write_structures,
)
from ..solver import Status
from ..viewer import write_report
from ..volumes import Volume, XRay, XRayOptions
from ._console import progress, recorded_warnings, results, warning_line
from ._folder import new_folder
from ._model import DEFAULT, chosen_model, last_resort_file
from ._options import FLAT, REGISTRATION_PRESETS, RegistrationOptions, StructuresOptions, parse_options
from ._register_tables import print_tables

_ALL = "all"
# The exit status of a result that must not be used before someone has looked at it.
DOUBTFUL_STATUS = 3


@dataclass(frozen=True, kw_only=True)
class RegisterOptions:
    """Find the pose that aligns a CT with an X-ray, and write it with pictures of the match.

    Attributes:
        xray: the X-ray: DICOM, or PNG, TIFF, NIfTI, MetaImage or NRRD with a JSON file of the same name for
            its geometry.
            Several X-rays of one patient at rest, from different directions, give one pose, depth included;
            options that say how to read an X-ray hold for all of them.
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: folder for pose.json, transform.tfm (3D Slicer), report.html and pictures; made whole or not
            at all.
        init: where to start: a pose file, a view ("ap", "pa", "left", "right": the way of the beam, or the
            side the detector is on), "dicom" for the C-arm angles in the X-ray's header, "model" for the
            pose that --model predicts, or "any" where nothing is known. By default it is the model's, if one
            is given; else "dicom" where there are angles, and "ap" where there are none.
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
        labels: label map of the CT, which --structures and --each-structure choose from: an image of labels,
            .seg.nrrd, DICOM SEG, or a folder with a mask for each structure.
        each_structure: find where each of these structures of --labels is, after the CT as a whole: names,
            labels, or "all"; several joined by "+" move as one.
        overwrite: replace an older result.
        accept_doubtful: end with exit status 0 even if the result is doubtful. Without it the status is then
            3, with all files written: as soon as one pose that was asked for is doubtful, be it that of the
            CT or that of a structure.
        json: print the result as JSON instead of a table; the verdict, otherwise the first line, is then its
            first entry.
        preset: where all further options start from: "isoclinic", or "paper" for the published registration:
            the pose that --model predicts, refined by its similarity network, and nothing else.
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
    accept_doubtful: bool = False
    json: bool = False
    preset: Literal["isoclinic", "paper"] = "isoclinic"
    config: Path | None = None
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)
    moving: StructuresOptions = field(default_factory=StructuresOptions)


def main(arguments: Sequence[str]) -> int:
    """Run the command; its exit status is 3 where a pose is doubtful."""
    options = parse_options(RegisterOptions, "register", arguments, REGISTRATION_PRESETS)
    _check(options)
    unfinished: IsoclinicError | None = None
    with (
        recorded_warnings() as said,
        new_folder(options.output, overwrite=options.overwrite, known=RESULT_FILES) as folder,
        progress().status("reading") as status,
    ):
        xrays = [XRay.read(path, options.xray_options) for path in options.xray]
        volume = Volume.read(options.volume, labels=options.labels)
        ct, images = InputFile.of(options.volume), [InputFile.of(path) for path in options.xray]
        learned, model = chosen_model(options.model, ct, xrays[0], volume)
        names = _structure_names(options, volume)
        points = read_world_points(options.targets) if options.targets else {}
        views = _views(options, xrays)
        marked = pose_from_landmark_files(xrays[0], *options.landmarks) if options.landmarks else None
        init = options.init if marked is None else marked.camera_from_world
        status.update("registering; the first time, this compiles the renderer")
        result = register_views(volume, views, init, options.registration, model=model)
        if options.model == DEFAULT and rescue_tried(result):
            learned = last_resort_file()
        check_not_diverged(result)
        xrays = list(result.xrays)
        if marked is not None:
            source = f"{len(marked.names)} landmarks"
            result = replace(result, initial=replace(result.initial, source=source))
        structures: tuple[StructureResult, ...] = ()
        if names:
            try:
                structures = _registered_structures(options, volume, xrays[0], result, names)
            except IsoclinicError as error:
                # The pose of the CT as a whole must not be lost with it.
                unfinished = error
        status.update("writing")
        command = shlex.join(["isoclinic", "register", *arguments])
        origin = Origin(volume=ct, xrays=images, model=learned, files=_other_files(options), command=command)
        registered = Registered(
            volume=volume,
            xrays=xrays,
            result=result,
            config=options.registration,
            origin=origin,
            structures=structures,
            views_source=_views_source(options),
            landmarks=read_landmark_pairs(*options.landmarks) if options.landmarks else None,
            landmark_pose=marked,
            targets=targets_of(points, volume, result),
        )
        write_poses(folder, result, origin)
        write_structures(folder, structures, result.cameras[0], origin)
        write_pictures(folder, volume, xrays, result, options.registration)
        for warning in _doubts(options, registered):
            said.append(warning)
            warning_line(warning)
        again = shlex.join(["isoclinic", "register", *_writing_beside(options.output, arguments)])
        write_report(folder / REPORT, report_of(registered, said, again))
    _show(options, registered)
    if unfinished is not None:
        raise type(unfinished)(
            f"the structures could not be registered: {unfinished}. The pose of the CT as a whole is in "
            f"{options.output}"
        ) from unfinished
    return DOUBTFUL_STATUS if registered.doubtful and not options.accept_doubtful else 0


def _registered_structures(
    options: RegisterOptions,
    volume: Volume,
    xray: XRay,
    result: RegistrationResult,
    names: Sequence[tuple[int | str, ...]],
) -> tuple[StructureResult, ...]:
    config = replace(
        options.moving,
        preprocess=options.registration.preprocess,
        backend=options.registration.backend,
        same_patient=options.registration.same_patient,
    )
    first = xray.recalibrated(result.cameras[0])
    return register_structures(volume, first, result.camera_from_world, names, config)


def _show(options: RegisterOptions, registered: Registered) -> None:
    """Print the verdict, then everything else; a JSON document has it as its first entry."""
    if options.json:
        print(dumps(document_of(registered, options.output)))
        return
    results().print(verdict(registered, options.output), markup=False, soft_wrap=True)
    start = _start_option(options, registered.result)
    print_tables(results(), registered, str(options.output), start)


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
    if not options.each_structure:
        return []
    names: list[tuple[int | str, ...]]
    if options.each_structure == (_ALL,):
        assert volume.labels is not None
        labels = np.unique(volume.labels).tolist()
        names = [(volume.label_names.get(label, label),) for label in labels if label > 0]
        if not names:
            raise UsageError(f"--each-structure all: the label map {options.labels} has no structure")
    else:
        groups = (group.split("+") for group in options.each_structure)
        names = [tuple(int(name) if name.isdecimal() else name for name in group) for group in groups]
    check_structures(volume, names)
    return names


def _doubts(options: RegisterOptions, registered: Registered) -> Iterator[str]:
    """What should make people look before they use the result."""
    result, report = registered.result, options.output / REPORT
    if result.status is Status.DOUBTFUL:
        of_inputs = input_doubts(
            registered.volume, registered.xrays, same_patient=options.registration.same_patient
        )
        remedy = "try another --init or --landmarks"
        if set(result.confidence.doubts) <= set(of_inputs):
            remedy = "settle what CT and X-ray leave open, with the options named"
        yield (
            f"the result is doubtful: {'; '.join(result.confidence.doubts)}. Look at {report} before using "
            f"the pose, and {remedy}"
        )
    for each in registered.structures:
        if each.doubts:
            yield f"{each.name} is doubtful: {'; '.join(each.doubts)}. Look at {report} before using its pose"


def _start_option(options: RegisterOptions, result: RegistrationResult) -> str:
    if options.landmarks:
        return f"--landmarks {' '.join(map(str, options.landmarks))}"
    if options.init:
        return "--init"
    return "--model" if result.initial.source == MODEL else "default"


def _writing_beside(output: Path, arguments: Sequence[str]) -> list[str]:
    """A command's arguments with another place for --output, so that it runs while its result is there."""
    again = f"{output}-again"
    changed = [f"--output={again}" if word.startswith("--output=") else word for word in arguments]
    if "--output" in changed:
        changed[changed.index("--output") + 1] = again
    elif changed == list(arguments):
        changed += ["--output", again]
    return changed
