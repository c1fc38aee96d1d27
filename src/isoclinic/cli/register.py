"""`isoclinic register`: from a CT and X-rays to a pose."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from .._folders import new_folder
from .._json import dumps
from ..errors import IsoclinicError, UsageError
from ..provenance import InputFile, Provenance
from ..registration import (
    Confidence,
    RegistrationResult,
    StructureResult,
    View,
    pose_from_landmark_files,
    register_structures,
    register_views,
    views_from_angles,
    views_from_file,
    views_from_poses,
)
from ..registration._inputs import input_doubts
from ..registration._structure_names import structure_names
from ..registration.initialize import MODEL
from ..registration.landmarks import read_landmark_pairs, read_world_points
from ..results import (
    RESULT_FILES,
    Registered,
    check_not_diverged,
    document_of,
    targets_of,
    verdict,
    write_result_files,
)
from ..results.names import REPORT
from ..results.registered import rescue_tried
from ..solver import Status
from ..volumes import Volume, XRay
from ._console import progress, recorded_warnings, results, warning_line
from ._model import chosen_model, last_resort_file
from ._model_names import DEFAULT
from ._register_options import RegisterOptions
from ._register_tables import print_tables
from ._structures import check_each_structure
from ._wording import as_options

Doubted = TypeVar("Doubted", Confidence, StructureResult)
# The exit status of a result that must not be used before someone has looked at it.
DOUBTFUL_STATUS = 3
# What a table of X-rays may be called.
_TABLES = (".csv", ".tsv", ".xlsx", ".xls", ".ods")


def main(options: RegisterOptions, arguments: Sequence[str]) -> int:
    """Run the command; its exit status is 3 where a pose is doubtful."""
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
        names = structure_names(options.each_structure, options.labels, volume)
        points = read_world_points(options.targets) if options.targets else {}
        views = _views(options, xrays)
        marked = pose_from_landmark_files(xrays[0], *options.landmarks) if options.landmarks else None
        init = options.init if marked is None else marked.camera_from_world
        status.update("registering; the first time, this compiles the renderer")
        result = register_views(volume, views, init, options.registration, model=model)
        if options.model == DEFAULT and rescue_tried(result):
            learned = last_resort_file()
        check_not_diverged(result)
        result = replace(result, confidence=_by_options(result.confidence))
        xrays = list(result.xrays)
        if marked is not None:
            source = f"{len(marked.names)} landmarks"
            result = replace(result, initial=replace(result.initial, source=source))
        structures: tuple[StructureResult, ...] = ()
        if names:
            try:
                structures = tuple(
                    _by_options(each)
                    for each in _registered_structures(options, volume, xrays[0], result, names)
                )
            except IsoclinicError as error:
                # The pose of the CT as a whole must not be lost with it.
                unfinished = error
        status.update("writing")
        provenance = Provenance(
            volume=ct,
            xrays=images,
            model=learned,
            files=_other_files(options),
            command=shlex.join(["isoclinic", "register", *arguments]),
        )
        registered = Registered(
            volume=volume,
            result=result,
            xrays=xrays,
            config=options.registration,
            provenance=provenance,
            structures=structures,
            views_source=_views_source(options),
            landmarks=read_landmark_pairs(*options.landmarks) if options.landmarks else None,
            landmark_pose=marked,
            targets=targets_of(points, volume, result),
        )
        again = shlex.join(["isoclinic", "register", *writing_beside(options.output, arguments)])
        write_result_files(folder, registered, warnings=said, reproduce=again)
    for warning in _doubts(options, registered):
        warning_line(warning)
    _show(options, registered)
    if unfinished is not None:
        raise type(unfinished)(
            f"the structures could not be registered: {unfinished}. The pose of the CT as a whole is in "
            f"{options.output}",
            code=unfinished.code,
        ) from unfinished
    return DOUBTFUL_STATUS if registered.doubtful and not options.accept_doubtful else 0


def _by_options(doubted: Doubted) -> Doubted:
    """The same with doubts that name options, for people who typed them."""
    return replace(doubted, doubts=tuple(map(as_options, doubted.doubts)))


def _registered_structures(
    options: RegisterOptions,
    volume: Volume,
    xray: XRay,
    result: RegistrationResult,
    names: Sequence[tuple[int | str, ...]],
) -> tuple[StructureResult, ...]:
    config = options.moving.after(options.registration)
    first = xray.recalibrated(result.cameras[0])
    return register_structures(volume, first, result.camera_from_world, names, config)


def _show(options: RegisterOptions, registered: Registered) -> None:
    """Print the verdict, then everything else; a JSON document has it as its first entry."""
    if options.json:
        document = document_of(registered, options.output)
        for entry in document["xray"].values():
            entry["source"] = None if entry["source"] is None else as_options(entry["source"])
        print(dumps(document))
        return
    results().print(verdict(registered, options.output / REPORT), markup=False, soft_wrap=True)
    start = _start_option(options, registered.result)
    print_tables(results(), registered, str(options.output), start)


def _check(options: RegisterOptions) -> None:
    """Raises UsageError for options that are missing, or exclude or need each other."""
    if not options.xray:
        raise UsageError(
            "give the X-ray, or several, before the options: isoclinic register XRAY ...",
            code="options.incomplete",
        )
    table = next((path for path in options.xray if path.suffix.lower() in _TABLES), None)
    if table is not None:
        raise UsageError(
            f"{table} is a table, but isoclinic register finds one pose of one patient: isoclinic batch "
            f"{table} registers each X-ray of a table or a folder",
            code="batch.other-command",
        )
    if len(options.landmarks) > 2:
        raise UsageError(
            f"--landmarks takes one file or two, CT first, not {len(options.landmarks)}",
            code="options.invalid-value",
        )
    if options.landmarks and options.init is not None:
        raise UsageError(
            "--landmarks and --init both say where to start; give one of them", code="options.conflict"
        )
    if options.views and len(options.xray) == 1:
        raise UsageError(
            "--views gives the relative geometry of several X-rays, but there is only one X-ray",
            code="options.conflict",
        )
    angles = options.xray_options.primary_angle_deg, options.xray_options.secondary_angle_deg
    if len(options.xray) > 1 and angles != (None, None):
        raise UsageError(
            "--primary-angle-deg and --secondary-angle-deg would apply to every X-ray; give the relative "
            "geometry of several X-rays with --views",
            code="options.conflict",
        )
    check_each_structure(options.each_structure, options.labels, options.registration.structures)


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


def _doubts(options: RegisterOptions, registered: Registered) -> Iterator[str]:
    """What should make people look before they use the result."""
    result, report = registered.result, options.output / REPORT
    if result.status is Status.DOUBTFUL:
        of_inputs = input_doubts(
            registered.volume, registered.xrays, same_patient=options.registration.same_patient
        )
        remedy = "try another --init or --landmarks"
        if set(result.confidence.doubts) <= set(map(as_options, of_inputs)):
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


def writing_beside(output: Path, arguments: Sequence[str]) -> list[str]:
    """A command's arguments with another place for --output, so that it runs while its result is there."""
    again = f"{output}-again"
    changed = [f"--output={again}" if word.startswith("--output=") else word for word in arguments]
    if "--output" in changed:
        changed[changed.index("--output") + 1] = again
    elif changed == list(arguments):
        changed += ["--output", again]
    return changed
