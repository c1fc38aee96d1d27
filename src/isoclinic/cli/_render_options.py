"""Options of `isoclinic render`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional

from ..rendering import RenderConfig
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Draw the radiograph of a CT at a pose: line integrals of its attenuation, bright where dense.

    Attributes:
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: image to write: .png (16 bits, scaled to the densest pixel), .nii or .nii.gz (the
            line integrals themselves). A JSON file of the same name beside it holds the geometry, so
            that `isoclinic register` can read the image.
        pose: a pose file, or a view of the CT's centre ("ap", "pa", "left", "right": the direction of the
            beam, or the side of the detector).
        labels: label map of the CT, which --structures chooses from: an image of labels, .seg.nrrd, DICOM
            SEG, or a folder with a mask for each structure.
        width: columns of the image [px]. Give this option and the next three together, to describe the
            detector. By default the detector is that of the pose file.
        height: rows of the image [px].
        pixel_spacing_mm: (row, column) spacing of the detector's pixels [mm].
        sdd_mm: distance from the source to the detector [mm].
        source_isocentre_mm: distance from the source to the CT's centre in a view [mm].
        overwrite: replace the image if there is one.
        config: TOML file with any of these options; the command line overrides the file.
        rendering: settings of the rendering.
    """

    volume: Positional[Path]
    output: Path
    pose: str
    labels: Path | None = None
    width: int | None = None
    height: int | None = None
    pixel_spacing_mm: tuple[float, float] | None = None
    sdd_mm: float | None = None
    source_isocentre_mm: float | None = None
    overwrite: bool = False
    config: Path | None = None
    rendering: Annotated[RenderConfig, FLAT] = field(default_factory=RenderConfig)


def parse(arguments: Sequence[str]) -> RenderOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(RenderOptions, "render", arguments)
