"""What an X-ray's file and the options together say, and what about that is odd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._grid import decoding
from ._header_geometry import HeaderGeometry
from ._header_notes import header_notes
from ._reading import FileReading, PixelScale
from ._xray_checks import checks
from ._xray_geometry import header_geometry
from .config import GEOMETRY, MEANING, all_positive
from .findings import Finding, option_of, still_open, tell
from .polarity import Polarity, polarity_from_statistics

# Where a polarity comes from that no header and no option says.
POLARITY_GUESSED = "image statistics"
# Where a polarity comes from that a registration found to match the CT, and the guess did not.
POLARITY_BY_MATCH = "match with the CT, against the image statistics"

_REQUIRED = {
    "sdd_mm": ("the source-detector distance", "`sdd_mm` MM"),
    "pixel_spacing_mm": ("the detector's pixel spacing", "`pixel_spacing_mm` ROW COLUMN"),
}
_ORIENTATION = ("turn", "flip_left_right", "flip_top_bottom")


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What counts for an X-ray.

    Attributes:
        values: by the names of the options.
        provenance: where each is from.
        findings: what is odd, but for what options have settled.
        turned_deg: clockwise turn since the detector that is to be undone [deg].
        mirrored: left to right since the detector, to be undone before the turn.
    """

    values: Mapping[str, Any]
    provenance: Mapping[str, str]
    findings: tuple[Finding, ...]
    turned_deg: int
    mirrored: bool


def resolved(
    path: Path, reading: FileReading, given: Mapping[str, Any], excluded: NDArray[np.bool_] | None
) -> Resolved:
    """Values after options have overridden what the file says; warns of what is odd.

    Args:
        path: the file.
        reading: of the file.
        given: values of options by their names.
        excluded: pixels [H, W] that do not count.

    Raises:
        InputError: the file is malformed, or lacks what no option supplies.
    """
    geometry = _of_header(path, reading, given)
    values = {**geometry.values, **reading.values}
    provenance = {**geometry.provenance, **reading.provenance}
    for name in (*GEOMETRY, *MEANING):
        if name in given:
            values[name], provenance[name] = given[name], f"option {option_of(name)}"
    _check_required(path, values, provenance, {**geometry.problems, **reading.problems})
    if "exclude" in given:
        by_file = provenance.get("exclude")
        provenance["exclude"] = f"{by_file}, option `exclude`" if by_file else "option `exclude`"
    findings = [
        *geometry.findings,
        *(_doubt(*item) for item in reading.doubts.items()),
        *(Finding.of_message("warning", "X-ray", note) for note in reading.notes),
    ]
    provenance.setdefault("principal_point_px", "image centre (assumed)")
    if "polarity" not in values:
        findings.append(_guess_polarity(values, provenance, reading.pixels, excluded))
    if "pixel_scale" not in values:
        values["pixel_scale"] = scale_for(values["polarity"])
        provenance["pixel_scale"] = f"assumed for {values['polarity']}"
    orientation = geometry.orientation
    by_options = [name for name in _ORIENTATION if name in given]
    if by_options:
        provenance["turn"] = f"option {', '.join(option_of(name) for name in by_options)}"
    elif orientation.source:
        provenance["turn"] = f"undoes {orientation.source}"
    findings += checks(values, provenance)
    if reading.header is not None:
        with decoding(path, " as DICOM"):
            findings += header_notes(reading.header)
    left = still_open(findings, given)
    tell(left, path)
    return Resolved(
        values=values,
        provenance=provenance,
        findings=left,
        turned_deg=orientation.turned_deg,
        mirrored=orientation.mirrored,
    )


def _of_header(path: Path, reading: FileReading, given: Mapping[str, Any]) -> HeaderGeometry:
    if reading.header is None:
        return HeaderGeometry()
    height, width = reading.pixels.shape
    # Attributes are decoded when they are first asked for.
    with decoding(path, " as DICOM"):
        try:
            return header_geometry(reading.header, (height, width), given)
        except ValueError as error:
            raise InputError(
                f"{path} has a malformed DICOM header: {error}", code="xray.malformed-header"
            ) from error


def _check_required(
    path: Path, values: Mapping[str, Any], provenance: Mapping[str, str], problems: Mapping[str, str]
) -> None:
    for name, (meaning, option) in _REQUIRED.items():
        if name not in values:
            reason = problems.get(name, "the file does not give it")
            raise InputError(
                f"{path} lacks {meaning}: {reason}; supply it with {option}", code="xray.geometry-missing"
            )
        if not all_positive(values[name]):
            raise InputError(
                f"{path}: {meaning} ({provenance[name]}) is {values[name]}, not positive;"
                f" supply it with {option}",
                code="xray.geometry-invalid",
            )


def _doubt(name: str, message: str) -> Finding:
    return Finding(
        level="warning",
        subject="X-ray",
        message=message,
        remedy=option_of(name),
        settled_by=(name,),
    )


def _guess_polarity(
    values: dict[str, Any],
    provenance: dict[str, str],
    pixels: NDArray[np.float32],
    excluded: NDArray[np.bool_] | None,
) -> Finding:
    guess = polarity_from_statistics(pixels, excluded)
    values["polarity"], provenance["polarity"] = guess.polarity, POLARITY_GUESSED
    return _doubt(
        "polarity",
        f"the file does not say whether air is bright or dark; guessed {guess.polarity} from the image,"
        f" {'where all signs agree' if guess.agreed else 'whose signs disagree'}",
    )


def scale_for(polarity: Polarity) -> PixelScale:
    """The scale of pixels whose file says nothing about it.

    Detectors deliver intensities; images with dark air have been through a display curve.
    """
    return "linear" if polarity == "bright_air" else "log"
