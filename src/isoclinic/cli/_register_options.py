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
        output: folder for pose.json, transform.tfm (3D Slicer), report.html and pictures; made whole or not
            at all.
        init: the start: a pose file, a view ("ap", "pa", "left", "right": the way of the beam, or the
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
        views: relative positions of several X-rays: a JSON file of "view_from_first"
            matrices, or a pose file for each. By default it follows from the C-arm angles in their headers.
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
        preset: defaults of all further options: "isoclinic", or "paper" for the published registration:
            the pose that --model predicts, refined by its similarity network, and nothing else.
        config: TOML file with any of these options; the command line wins.
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
