"""Options of `isoclinic batch`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from .._spread_config import SpreadConfig
from ..volumes import XRayOptions
from ._model_names import DEFAULT
from ._options import FLAT, REGISTRATION_PRESETS, RegistrationOptions, StructuresOptions, parse_options


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """Register many X-rays of different patients, and summarise the results in one page.

    X-rays that are already in the output folder are not registered again, so the same command continues an
    interrupted batch. An X-ray that cannot be registered does not stop the others.

    Attributes:
        source: a CSV table with a row for each X-ray, or a folder of X-rays. The table has a column "xray",
            and if wanted "ct", "init" (as --init), "name" (of the folder of results), "labels", and for
            several views of one patient "xray2", "xray3", ... and "views"; further columns are kept. Its
            paths are relative to its folder.
        output: folder for report.html, summary.csv and summary.json, and for the files that isoclinic
            register writes for each X-ray, in results/NAME.
        volume: the CT of rows that name none: NIfTI, NRRD, MetaImage or a DICOM folder.
        init: the start of rows that name none, as of isoclinic register.
        labels: label map of rows that name none, which --structures and --each-structure choose from.
        each_structure: find where each of these structures is, as of isoclinic register.
        model: networks, as of isoclinic register; those of one CT go with a batch of that CT.
        overwrite: replace results of other files or other settings. Results of the same files and settings
            remain.
        accept_doubtful: end with exit status 0 even if results are doubtful. Without this option the exit
            status is then 3. It is 1 if an X-ray could not be registered. All files are written in either
            case.
        json: print the summary as JSON instead of a table; its first entry is the verdict.
        preset: defaults of all further options: "isoclinic", or "paper" for the published registration.
        config: TOML file with any of these options; the command line overrides the file.
        spread: processes or machines that the X-rays are spread over.
        xray_options: settings of how to read every X-ray.
        registration: settings of every registration.
        moving: settings for the structures of --each-structure.
    """

    source: Annotated[Positional[Path], arg(metavar="TABLE.csv|FOLDER")]
    output: Path
    volume: Path | None = None
    init: str | None = None
    labels: Path | None = None
    each_structure: tuple[str, ...] = ()
    model: str = DEFAULT
    overwrite: bool = False
    accept_doubtful: bool = False
    json: bool = False
    preset: Literal["isoclinic", "paper"] = "isoclinic"
    config: Path | None = None
    spread: Annotated[SpreadConfig, FLAT] = field(default_factory=SpreadConfig)
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    registration: Annotated[RegistrationOptions, FLAT] = field(default_factory=RegistrationOptions)
    moving: StructuresOptions = field(default_factory=StructuresOptions)


def parse(arguments: Sequence[str]) -> BatchOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(BatchOptions, "batch", arguments, REGISTRATION_PRESETS)
