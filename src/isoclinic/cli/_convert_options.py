"""Options of `isoclinic convert`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from ..exchange import FormatName
from ..volumes import XRayOptions
from ._options import FLAT, parse_options


@dataclass(frozen=True, kw_only=True)
class ConvertOptions:
    """Write a pose for another program, or read one back; --to and --from name that program.

    Attributes:
        pose: the file to convert: a pose file, or with --from that of another program.
        output: file to write: with --to that of another program, else a pose file.
        to: program to write for. slicer, itk and xreg have ITK transforms (.tfm, .txt, .h5, .mat),
            opencv, diffdrr and nanodrr JSON, rtk XML.
        from_: program that wrote the file; for opencv the file may also be YAML or XML.
        camera: pose file whose camera supplies the intrinsics that the file of another program lacks.
        xray: X-ray whose camera supplies the intrinsics instead.
        overwrite: replace the output if there is one.
        config: TOML file with any of these options; the command line overrides the file.
        xray_options: settings of how to read --xray.
    """

    pose: Positional[Path]
    output: Path
    to: FormatName | None = None
    from_: Annotated[FormatName | None, tyro.conf.arg(name="from")] = None
    camera: Path | None = None
    xray: Path | None = None
    overwrite: bool = False
    config: Path | None = None
    xray_options: Annotated[XRayOptions, FLAT] = field(default_factory=XRayOptions)


def parse(arguments: Sequence[str]) -> ConvertOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(ConvertOptions, "convert", arguments)
