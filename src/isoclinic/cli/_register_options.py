"""Options of `isoclinic register`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ..volumes import XRayOptions
from ._model_names import DEFAULT
from ._options import FLAT, REGISTRATION_PRESETS, RegistrationOptions, StructuresOptions, parse_options


@dataclass(frozen=True, kw_only=True)
class RegisterOptions:
    """Find the pose that aligns a CT with an X-ray, and write it with pictures of the match.

    Attributes:
        xray: the X-ray: DICOM, or PNG, TIFF, NIfTI, MetaImage or NRRD with a JSON file of the same name for
            its geometry.
            Several X-rays of one patient at rest, from different directions, give one pose, depth included;
            options that say how to read an X-ray hold for all of them.
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: folder for pose.json, transform.tfm (3D Slicer), report.html and pictures; written completely
            or not at all.
        init: the start: a pose file, a view ("ap", "pa", "left", "right": the direction of the beam, or the
            side of the detector), "dicom" for the C-arm angles in the X-ray's header, "model" for the pose
            that --model predicts, or "any" if nothing is known. The default is the pose that --model
            predicts, if a model is given; else "dicom" if the header has the angles, and otherwise "ap".
        model: networks that isoclinic train made for this CT, or pretrain for any: a model file, or the
            folder it is in. Their pose is tried first; --learned.* chooses among them. The default is the
            networks that come with isoclinic for any CT, which take part only if nothing else leads to a
            match. "none" switches them off.
        landmarks: start from landmarks instead: one file with points of the CT and of the X-ray, or two
            files, CT first (isoclinic JSON, or .mrk.json and .fcsv of 3D Slicer). They are matched by name.
        targets: points of the CT where the error counts, such as the entries of screws (isoclinic
            JSON, .mrk.json or .fcsv): the result states which pixel shows each of them, and the error
            to expect there.
        views: relative positions of several X-rays: a JSON file of "view_from_first"
            matrices, or a pose file for each. By default they follow from the C-arm angles in their headers.
        labels: label map of the CT, which --structures and --each-structure choose from: an image of
            labels, .seg.nrrd, DICOM SEG, or a folder with a mask for each structure.
        each_structure: register each of these structures of --labels by itself, after the CT as a whole:
            names, labels, or "all"; structures joined by "+" move as one.
        overwrite: replace an older result.
        accept_doubtful: end with exit status 0 even if the result is doubtful. Without this option the exit
            status is 3 as soon as one pose that was asked for is doubtful, that of the CT or of a structure.
            All files are written in either case.
        json: print the result as JSON instead of a table; its first entry is the verdict.
        preset: defaults of all further options: "isoclinic", or "paper" for the published registration:
            the pose that --model predicts, refined by its similarity network, and nothing else.
        config: TOML file with any of these options; the command line overrides the file.
        xray_options: settings of how to read the X-ray.
        registration: settings of the registration.
        moving: settings for the structures of --each-structure.
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


def parse(arguments: Sequence[str]) -> RegisterOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(RegisterOptions, "register", arguments, REGISTRATION_PRESETS)
