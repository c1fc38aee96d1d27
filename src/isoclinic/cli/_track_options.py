"""Options of `isoclinic track`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from ..registration import FollowConfig, TrackConfig
from ..sequences import SequenceConfig
from ..volumes import XRayOptions
from ._model_names import DEFAULT
from ._options import FLAT, REGISTRATION_PRESETS, RegistrationOptions, StructuresOptions, parse_options


@dataclass(frozen=True, kw_only=True)
class TrackOptions:
    """Follow a CT through a run of X-rays, and write poses, a report and an animation.

    Each frame is written to the output folder before the next one begins. Ctrl-C keeps the frames that are
    done; --resume continues after them.

    Attributes:
        xray: the run: a multi-frame DICOM file, a folder of images, or several of them, one after another.
            Images are taken in the natural order of their names, or in that of their times; options that say
            how to read an X-ray hold for all frames.
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: folder for poses.jsonl (a line for each frame), poses.csv, report.html and animation.gif, and
            relative.csv where structures are registered.
        second_plane: the run of a second plane that was taken at the same moments: as many frames, in the
            same form. Both planes of a moment give one pose, depth included.
        views: the relative geometry of the planes: a JSON file of "view_from_first" matrices, or a pose
            file for each plane. By default it follows from the C-arm angles in the headers of each frame.
        init: where the first frame starts: a pose file, a view ("ap", "pa", "left", "right"), "dicom" for the
            C-arm angles in the header, "model" for the pose that --model predicts, or "any" where nothing is
            known. The default is that of isoclinic register.
        model: networks, as of isoclinic register; they take part where a frame is searched for.
        labels: label map of the CT, which --structures and --each-structure choose from: an image of
            labels, .seg.nrrd, DICOM SEG, or a folder with a mask for each structure.
        each_structure: register each of these structures of --labels by itself, in each frame, after the CT
            as a whole: names, labels, or "all"; structures joined by "+" move as one. Their relative motion
            is reported, as joint angles where the names say which bones meet.
        resume: continue the run in the output folder, after its last complete line; all other options and all
            files must be as before.
        overwrite: replace an older run.
        accept_doubtful: end with exit status 0 even if frames are doubtful. Without this option the exit
            status is 3 as soon as one frame is doubtful or has no pose. All files are written in either case.
        json: print a summary as JSON instead of a table.
        preset: defaults of all further options: "isoclinic", or "paper" for the published registration.
        config: TOML file with any of these options; the command line overrides the file.
        xray_options: how to read the X-rays.
        registration: how to register.
        moving: how the structures of --each-structure are registered.
        follow: how a frame is registered from the pose of the one before.
        track: when frames are marked.
        show: how the run is shown.
    """

    xray: Annotated[
        Positional[tuple[Path, ...]], arg(metavar="RUN [RUN ...]", help_behavior_hint="(required)")
    ]
    volume: Path
    output: Path
    second_plane: tuple[Path, ...] = ()
    views: tuple[Path, ...] = ()
    init: str | None = None
    model: str = DEFAULT
    labels: Path | None = None
    each_structure: tuple[str, ...] = ()
    resume: bool = False
    overwrite: bool = False
    accept_doubtful: bool = False
    json: bool = False
    preset: Literal["isoclinic", "paper"] = "isoclinic"
    config: Path | None = None
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)
    moving: StructuresOptions = field(default_factory=StructuresOptions)
    follow: FollowConfig = field(default_factory=FollowConfig)
    track: TrackConfig = field(default_factory=TrackConfig)
    show: SequenceConfig = field(default_factory=SequenceConfig)


def parse(arguments: Sequence[str]) -> TrackOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(TrackOptions, "track", arguments, REGISTRATION_PRESETS)
