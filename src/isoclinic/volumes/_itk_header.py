"""What the headers of NRRD and MetaImage say and ITK drops: units, orientation, scale, data files."""

from __future__ import annotations

import math
import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._warnings import warn_geometry

NRRD_SUFFIXES = (".nrrd", ".nhdr")
_LONGEST_LINE = 4096

# NRRD: free text in quotation marks, by convention the symbol. MetaImage: DistanceUnits.
_MM_PER_UNIT = {
    **dict.fromkeys(("mm", "millimeter", "millimetre", "millimeters", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimetre", "centimeters", "centimetres"), 10.0),
    **dict.fromkeys(("dm", "decimeter", "decimetre", "decimeters", "decimetres"), 100.0),
    **dict.fromkeys(("m", "meter", "metre", "meters", "metres"), 1e3),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns"), 1e-3),
    **dict.fromkeys(("micrometer", "micrometre", "micrometers", "micrometres"), 1e-3),
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1e-6),
    **dict.fromkeys(("in", "inch", "inches"), 25.4),
}
# What says nothing about the unit.
_NO_UNIT = ("", "?", "???", "none", "pixel", "pixels")
# The spaces of NRRD whose axes are the patient's; ITK turns all of them into LPS.
_PATIENT_SPACES = (
    *("right-anterior-superior", "left-anterior-superior", "left-posterior-superior"),
    *("ras", "las", "lps"),
)
# MetaImage names the side at which an axis begins: RAI is the identity in LPS.
_LPS_TOWARDS = {
    **{"R": (1.0, 0.0, 0.0), "L": (-1.0, 0.0, 0.0)},
    **{"A": (0.0, 1.0, 0.0), "P": (0.0, -1.0, 0.0)},
    **{"I": (0.0, 0.0, 1.0), "S": (0.0, 0.0, -1.0)},
}
# Cosine between an axis and the one it is named after: oblique axes are named after the nearest that is free.
_CONTRADICTION = 0.1
_MATRICES = ("transformmatrix", "rotation", "orientation")
# Fields of places and distances: of NRRD, whose vectors are in parentheses, and of MetaImage.
_NUMBERS = (
    *("spacings", "space origin", "space directions", "axis mins", "axismins", "axis maxs", "axismaxs"),
    *(*_MATRICES, "offset", "position", "origin", "elementspacing", "elementsize"),
)
_DETACHED = ("elementdatafile", "data file", "datafile")

# Bytes of a voxel by the names of types, of NRRD in all their spellings, and of MetaImage.
_BYTES = {
    **dict.fromkeys(("signed char", "int8", "int8_t", "uchar", "unsigned char", "uint8", "uint8_t"), 1),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int", "int16", "int16_t"), 2),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"), 2),
    **dict.fromkeys(
        ("int", "signed int", "int32", "int32_t", "uint", "unsigned int", "uint32", "uint32_t"), 4
    ),
    **{"float": 4, "double": 8, "MET_CHAR": 1, "MET_UCHAR": 1, "MET_SHORT": 2, "MET_USHORT": 2},
    **{"MET_INT": 4, "MET_UINT": 4, "MET_FLOAT": 4, "MET_DOUBLE": 8},
}

Fields = dict[str, str]
_Matrix = NDArray[np.float64]


def is_nrrd(path: Path) -> bool:
    """Tell whether the file is NRRD by its name; else it is MetaImage."""
    return path.name.lower().endswith(NRRD_SUFFIXES)


def read_fields(path: Path) -> Fields:
    """Fields of the text before the voxels, by lower-case name: NRRD has `name: value`, MetaImage `=`.

    Lines that follow a field LIST are joined to its value.
    """
    fields: Fields = {}
    with path.open("rb") as file:
        if is_nrrd(path) and file.read(len(BOM_UTF8)) == BOM_UTF8:
            raise InputError(
                f"{path} begins with a byte order mark, which NRRD does not allow; save it without one",
                code="ct.malformed-header",
            )
    separator = ":" if is_nrrd(path) else "="
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE).decode("utf-8", "replace").strip():
            if line.startswith("#"):
                continue
            name, found, value = line.partition(separator)
            name, value = name.strip().lower(), value.strip()
            if found:
                fields[name] = value
            if name in _DETACHED:
                if value.upper().startswith("LIST"):
                    fields[name] = "\n".join([value, *_lines(file)])
                if separator == "=":  # the last field; the voxels may follow
                    break
    return fields


def _lines(file: BinaryIO) -> list[str]:
    lines = []
    while line := file.readline(_LONGEST_LINE).decode("utf-8", "replace").strip():
        lines.append(line)
    return lines


def check_detached(fields: Fields, path: Path, lying: str = "") -> None:
    """Refuse a header whose data are in files that are not there, by their names.

    Args:
        fields: the fields of the header.
        path: the path of the file with the header.
        lying: how the message begins, up to "in FILE"; that the voxels of the file are, by default.
    """
    lying = lying or f"the voxels of {path} are"
    entry = next((fields[name] for name in _DETACHED if name in fields), "")
    first, *listed = entry.split("\n")
    if first.upper() in ("", "LOCAL"):
        return
    names = listed if first.upper().startswith("LIST") else [first]
    if "%" in first:  # a pattern of file names with numbers
        return
    for name in names:
        if not (path.parent / name).is_file():
            raise InputError(
                f"{lying} in {name}, which is not there: keep both files together, or "
                f"correct its name in {path.name}",
                code="ct.missing",
            )
    expected = _uncompressed_bytes(fields, path)
    if expected is not None and len(names) == 1:
        size = (path.parent / names[0]).stat().st_size
        if size != expected:
            raise InputError(
                f"{lying} in {names[0]}, which has {size} bytes, but its header asks for "
                f"{expected}: the file is cut short or another, or the header is wrong about size or type",
                code="ct.unreadable",
            )


def _uncompressed_bytes(fields: Fields, path: Path) -> int | None:
    """Bytes of voxels that are neither compressed nor preceded by others; None if that is unknown."""
    if is_nrrd(path):
        plain = fields.get("encoding", "").lower() == "raw" and not any("skip" in name for name in fields)
        sizes, kind = fields.get("sizes", ""), fields.get("type", "").lower()
    else:
        skipped = fields.get("headersize", "0") != "0" or fields.get("elementnumberofchannels", "1") != "1"
        plain = fields.get("compresseddata", "False").lower() in ("false", "0") and not skipped
        plain = plain and fields.get("binarydata", "True").lower() in ("true", "1")
        sizes, kind = fields.get("dimsize", ""), fields.get("elementtype", "")
    width = _BYTES.get(kind)
    if not plain or width is None or not sizes or not all(size.isdecimal() for size in sizes.split()):
        return None
    return width * math.prod(map(int, sizes.split()))


def check_numbers(fields: Fields, path: Path) -> None:
    """Refuse places that are not written as numbers, of which C code reads as much as it understands.

    Programs that write under a locale with a decimal comma leave 0,9 for 0.9.
    """
    for name in _NUMBERS:
        text = fields.get(name, "")
        vectors = [vector.split(",") for vector in re.findall(r"\(([^)]*)\)", text)]
        words = [word for vector in vectors for word in vector] if vectors else text.split()
        bad = next((word for word in words if not _is_number(word)), None)
        uneven = fields.get("dimension") == "3" and any(len(vector) not in (1, 3) for vector in vectors)
        if bad is not None or uneven:
            kind = "vectors of three numbers" if vectors else "numbers"
            raise InputError(
                f"{path} gives {name} as {text}, which are no {kind} (with a decimal point, no comma); "
                "correct its header",
                code="ct.malformed-header",
            )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return word.strip() == "none"  # an axis of NRRD that is not in space
    return True


def check_directions(fields: Fields, path: Path) -> None:
    """Refuse an NRRD file that has a space but no directions in it: its voxels could lie in any way."""
    if "space" in fields and "spacings" in fields and "space directions" not in fields:
        raise InputError(
            f"{path} has a space and spacings but no space directions, so the directions of its axes are "
            "unknown; write space directions and space origin into its header",
            code="ct.malformed-header",
        )


def mm_per_unit(fields: Fields, path: Path) -> float:
    """The unit of length in which the header gives positions and spacings [mm].

    Raises:
        InputError: a unit that is not known, or several.
    """
    told = {}
    for name in ("space units", "units", "distanceunits"):
        if name not in fields:
            continue
        text = fields[name]
        for unit in re.findall(r'"([^"]*)"', text) if '"' in text else text.split():
            if unit.strip().lower() not in _NO_UNIT:
                told[unit.strip()] = name
    for unit, name in told.items():
        if unit.lower() not in _MM_PER_UNIT and unit not in _MM_PER_UNIT:
            raise InputError(
                f"the unit of length of {path} ({name}) is {unit!r}, which is not known; write mm, cm, m or "
                "um into its header",
                code="ct.malformed-header",
            )
    factors = {_MM_PER_UNIT[unit.lower()] for unit in told}
    if len(factors) > 1:
        raise InputError(
            f"{path} gives positions in several units of length, {', '.join(told)} "
            f"({', '.join(dict.fromkeys(told.values()))}): write one unit into its header",
            code="ct.malformed-header",
        )
    return factors.pop() if factors else 1.0


def scale_and_offset(fields: Fields, path: Path) -> tuple[float, float]:
    """Return what leads from stored values to those that MetaImage means: ElementToIntensityFunction."""
    try:
        slope = float(fields.get("elementtointensityfunctionslope") or 1.0)
        offset = float(fields.get("elementtointensityfunctionoffset") or 0.0)
    except ValueError as error:
        raise InputError(
            f"ElementToIntensityFunction of {path} is malformed: {error}", code="ct.malformed-header"
        ) from error
    if not np.isfinite([slope, offset]).all() or slope == 0:
        raise InputError(
            f"ElementToIntensityFunctionSlope and Offset of {path} are {slope} and {offset}, but must be "
            "finite, and the slope not 0; correct its header",
            code="ct.malformed-header",
        )
    return slope, offset


def warn_of_space(fields: Fields, path: Path) -> None:
    """Warn of an NRRD file whose axes are not said to be the patient's."""
    space = fields.get("space", "").lower()
    if not space:
        warn_geometry(f"{path} does not say in which space its axes are; left-posterior-superior is assumed")
    elif space not in _PATIENT_SPACES:
        warn_geometry(
            f"{path} has its axes in the space {fields['space']}, which does not say where the patient's "
            "left, front and head are; left-posterior-superior is assumed"
        )


def axes_of(fields: Fields, direction: _Matrix, path: Path) -> _Matrix:
    """Directions of MetaImage's axes, as columns [3, 3] in LPS.

    ITK takes them from TransformMatrix and drops AnatomicalOrientation, which may be all that a file says.

    Args:
        fields: the fields of the header.
        direction: what ITK made of it.
        path: the path of the file.

    Warns:
        GeometryWarning: AnatomicalOrientation had to be used, it contradicts the matrix, or there is neither.
    """
    letters = fields.get("anatomicalorientation", "").upper()
    named = _named_axes(letters)
    if not any(name in fields for name in _MATRICES):
        if named is None:
            warn_geometry(
                f"{path} does not say how its axes run (neither TransformMatrix nor AnatomicalOrientation): "
                "they are taken to run to the patient's left, back and head"
            )
            return direction
        warn_geometry(
            f"{path} has no TransformMatrix: the orientation of its axes is taken from AnatomicalOrientation "
            f"{letters}, the sides at which they begin"
        )
        return named
    if named is not None and (named * direction).sum(axis=0).min() < _CONTRADICTION:
        warn_geometry(
            f"TransformMatrix and AnatomicalOrientation ({letters}) of {path} contradict each other about "
            "the orientation of its axes; TransformMatrix is used: check with isoclinic inspect that left "
            "and right are right; if not, settle it with `mirror_left_right` `save_ct` FILE.nii.gz"
        )
    return direction


def _named_axes(letters: str) -> _Matrix | None:
    """Columns in LPS of axes that begin at the named sides; None unless each patient axis occurs once."""
    if len(letters) != 3 or not all(letter in _LPS_TOWARDS for letter in letters):
        return None
    axes: _Matrix = np.array([_LPS_TOWARDS[letter] for letter in letters]).T
    return axes if (np.abs(axes).sum(axis=1) == 1).all() else None
