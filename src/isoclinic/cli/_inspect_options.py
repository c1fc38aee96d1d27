"""Options of `isoclinic inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ..volumes import (
    CTCorrection,
    PreprocessConfig,
    XRayOptions,
)
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class InspectOptions:
    """Show everything that is read from a CT and an X-ray, where it comes from, and what is odd about it.

    Attributes:
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        xray: the X-ray: DICOM, or PNG, TIFF, NIfTI, MetaImage or NRRD with a JSON file of the same name for
            its geometry.
        labels: label map of the CT: an image of labels, .seg.nrrd, DICOM SEG, or a folder with a mask for
            each structure.
        correction: corrections of the CT's file.
        save_ct: NIfTI file (.nii or .nii.gz) to write: the CT as it is understood, corrections included, for
            all other commands.
        init: start of a registration, as for `isoclinic register`: a pose file, a
            view ("ap", "pa", "left", "right"), or "dicom" for the C-arm angles.
        save: PNG to write: X-ray and rendered CT side by side, as line integrals and as the similarity
            compares them, local contrast evened out.
        overwrite: replace the files of `save` and `save_ct` if they exist.
        json: print everything as JSON instead of tables.
        strict: fail (exit code 1) on warnings too, not only on errors.
        config: TOML file with any of these options; the command line overrides the file.
        xray_options: settings of how to read the X-ray.
        preprocess: settings of how the X-ray becomes an image of line integrals.
    """

    volume: Positional[Path]
    xray: Positional[Path | None] = None
    labels: Path | None = None
    correction: Annotated[CTCorrection, FLAT] = field(default_factory=CTCorrection)
    save_ct: Path | None = None
    init: str | None = None
    save: Path | None = None
    overwrite: bool = False
    json: bool = False
    strict: bool = False
    config: Path | None = None
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)


def parse(arguments: Sequence[str]) -> InspectOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(InspectOptions, "inspect", arguments)
