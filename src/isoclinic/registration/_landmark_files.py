"""Landmark files: our own JSON, and the point lists that 3D Slicer saves (.mrk.json, .fcsv)."""

from __future__ import annotations

import csv
import json
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files import read_text, reading
from ..errors import InputError
from ..volumes import GeometryWarning

Points = dict[str, NDArray[np.float64]]

_FORMAT = "isoclinic.landmarks"
_VERSION = 1
# Slicer's vtkMRMLStorageNode: names, or in older files numbers, of coordinate systems.
_RAS_FROM = {"RAS": (1.0, 1.0, 1.0), "LPS": (-1.0, -1.0, 1.0)}
_SLICER_SYSTEMS = {"RAS": "RAS", "LPS": "LPS", "0": "RAS", "1": "LPS"}
_SLICER_SCHEMA = re.compile(r"markups-schema-v1\.\d+\.\d+\.json", re.IGNORECASE)
_UCUM_MM = {"mm": 1.0, "um": 1e-3, "cm": 10.0, "m": 1000.0}


def read_world_points(path: Path | str) -> Points:
    """Landmarks of a CT by name, each [3], world RAS in mm.

    Three formats are read:

    - our own JSON. `world` is "RAS" or "LPS", `units` must be "mm":
      {"format": "isoclinic.landmarks", "version": 1, "world": "RAS", "units": "mm",
      "world_points": {"left ASIS": [x, y, z], ...}}
    - point lists of 3D Slicer, .mrk.json: the frame and the units are those of each list, names are the
      points' labels. Points without a position are skipped with a warning.
    - .fcsv of 3D Slicer, whose header names the frame ("CoordinateSystem = LPS", in older files 0 for RAS
      and 1 for LPS) and the columns.

    Raises:
        InputError: the file cannot be read, is none of these, does not say its frame, or holds names twice,
            points without a name or coordinates that are not finite numbers.
    """
    path = Path(path)
    if path.name.lower().endswith(".fcsv"):
        return _read_fcsv(path)
    document = _load(path)
    if "markups" in document:
        return _from_markups(document, path)
    points = _own_points(document, path, "world_points", 3)
    if document.get("units") != "mm":
        raise InputError(
            f'{path}: units must be "mm", not {document.get("units")!r}; convert the points',
            code="landmarks.invalid-value",
        )
    to_ras = _RAS_FROM.get(str(document.get("world")))
    if to_ras is None:
        raise InputError(
            f'{path}: world must be "RAS" or "LPS", the frame of the points, not {document.get("world")!r}',
            code="landmarks.invalid-value",
        )
    return {name: point * to_ras for name, point in points.items()}


def read_pixel_points(path: Path | str) -> Points:
    """Landmarks of an X-ray by name, each [2], (u, v) = (column, row) of the image as stored [px].

    The file is our own JSON; it may be the one that holds the world points:

        {"format": "isoclinic.landmarks", "version": 1, "pixel_points": {"left ASIS": [u, v], ...}}

    The centre of the top left pixel is (0, 0).

    Raises:
        InputError: the file cannot be read, is no such JSON (a point list of 3D Slicer, say), or holds names
            twice or coordinates that are not finite numbers.
    """
    path = Path(path)
    document = {"markups": None} if path.name.lower().endswith(".fcsv") else _load(path)
    if "markups" in document:
        raise InputError(
            f"{path} is a point list of 3D Slicer, whose points are millimetres in space; the X-ray's points "
            f'must be pixels: {{"format": "{_FORMAT}", "version": {_VERSION}, "pixel_points": {{"NAME": '
            "[column, row], ...}}",
            code="landmarks.wrong-kind",
        )
    return _own_points(document, path, "pixel_points", 2)


def _text(path: Path) -> str:
    with reading(f"landmark file {path}", code="landmarks.unreadable"):
        try:
            return read_text(path)
        except UnicodeDecodeError as error:
            raise InputError(
                f"{path} is not text, so not a landmark file: {error}", code="landmarks.wrong-kind"
            ) from error


def _collected(pairs: Iterable[tuple[str, Any]], path: Path) -> dict[str, Any]:
    """A dict of pairs whose names must differ."""
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise InputError(
                f"{path} has {name!r} twice; give every landmark a name of its own",
                code="landmarks.ambiguous",
            )
        found[name] = value
    return found


def _load(path: Path) -> dict[str, Any]:
    try:
        # parse_int: an integer too long for a float becomes infinite, which is then refused where it stands.
        document = json.loads(
            _text(path), object_pairs_hook=lambda pairs: _collected(pairs, path), parse_int=float
        )
    except (json.JSONDecodeError, RecursionError) as error:
        raise InputError(
            f"{path} is not JSON, so not a landmark file: {error}", code="landmarks.unreadable"
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"{path} is not a landmark file: it holds no JSON object", code="landmarks.empty")
    return document


def _point(value: Any, size: int, label: str) -> NDArray[np.float64]:
    numbers = isinstance(value, list) and all(
        isinstance(number, int | float) and not isinstance(number, bool) for number in value
    )
    if not numbers or len(value) != size or not np.isfinite(value).all():
        raise InputError(
            f"{label} must be {size} finite numbers, not {value!r}", code="landmarks.invalid-value"
        )
    return np.array(value, dtype=np.float64)


def _own_points(document: Mapping[str, Any], path: Path, key: str, size: int) -> Points:
    if document.get("format") != _FORMAT:
        raise InputError(
            f"{path} is not a landmark file: its format is {document.get('format')!r}, not {_FORMAT!r}",
            code="landmarks.wrong-kind",
        )
    # True equals 1 in Python, but not in a file.
    if document.get("version") != _VERSION or isinstance(document.get("version"), bool):
        raise InputError(
            f"{path}: version is {document.get('version')!r}; this isoclinic reads version {_VERSION}",
            code="landmarks.wrong-kind",
        )
    points = document.get(key)
    if not isinstance(points, dict) or not points:
        raise InputError(
            f"{path}: {key} is missing; it must map names to lists of {size} numbers",
            code="landmarks.incomplete",
        )
    return {name: _point(value, size, f"{path}: {key} {name!r}") for name, value in points.items()}


# 3D Slicer ----------------------------------------------------------------------------------------------


def _from_markups(document: Mapping[str, Any], path: Path) -> Points:
    if not _SLICER_SCHEMA.search(str(document.get("@schema"))):
        raise InputError(
            f"{path}: @schema is {document.get('@schema')!r}, not version 1 of Slicer's markups; save the "
            "points again with 3D Slicer",
            code="landmarks.wrong-kind",
        )
    markups = document["markups"]
    lists = [
        item
        for item in (markups if isinstance(markups, list) else [])
        if isinstance(item, dict) and item.get("type") == "Fiducial"
    ]
    pairs: list[tuple[str, NDArray[np.float64]]] = []
    skipped: list[str] = []
    for markup in lists:
        to_ras_mm = np.array(_RAS_FROM[_slicer_system(markup.get("coordinateSystem"), path)])
        to_ras_mm = to_ras_mm * _millimetres(markup.get("coordinateUnits", "mm"), path)
        for point in _objects(markup.get("controlPoints", []), f"{path}: controlPoints"):
            name = _name(point.get("label"), path)
            if point.get("positionStatus", "defined") == "defined":
                position = _point(point.get("position"), 3, f"{path}: position of {name!r}")
                pairs.append((name, position * to_ras_mm))
            else:
                skipped.append(name)
    if skipped:
        warnings.warn(
            f"{path}: skipped {', '.join(skipped)}: not placed in Slicer (positionStatus is not 'defined')",
            GeometryWarning,
            stacklevel=3,
        )
    if not pairs:
        raise InputError(
            f"{path} holds no placed points (control points of markups of type Fiducial)",
            code="landmarks.empty",
        )
    return _collected(pairs, path)


def _objects(value: Any, label: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InputError(f"{label} must be a list of objects", code="landmarks.invalid-value")
    return value


def _name(label: Any, path: Path) -> str:
    if not isinstance(label, str) or not label.strip():
        raise InputError(
            f"{path} has a point without a label; landmarks are matched by their names",
            code="landmarks.unnamed",
        )
    return label.strip()


def _slicer_system(value: Any, path: Path) -> str:
    key = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
    if key not in _SLICER_SYSTEMS:
        raise InputError(
            f"{path}: the coordinate system must be RAS or LPS (or 0 or 1), not {value!r}; without it, left "
            "and right cannot be told apart",
            code="landmarks.invalid-value",
        )
    return _SLICER_SYSTEMS[key]


def _millimetres(units: Any, path: Path) -> float:
    """Length of a unit, given as its UCUM code or as a DICOM triplet (code, "UCUM", meaning)."""
    factor = _UCUM_MM.get(str(units[0] if isinstance(units, list) and units else units))
    if factor is None:
        raise InputError(
            f"{path}: coordinateUnits must be one of {', '.join(_UCUM_MM)}, not {units!r}",
            code="landmarks.invalid-value",
        )
    return factor


def _read_fcsv(path: Path) -> Points:
    lines = _text(path).splitlines()
    entries = (line[1:].partition("=") for line in lines if line.startswith("#") and "=" in line)
    header = {key.strip(): value.strip() for key, _, value in entries}
    to_ras: NDArray[np.float64] = np.array(_RAS_FROM[_slicer_system(header.get("CoordinateSystem"), path)])
    columns = [column.strip() for column in header.get("columns", "").split(",")]
    missing = {"x", "y", "z", "label"} - set(columns)
    if missing:
        raise InputError(
            f"{path}: its header '# columns = ...' lacks {', '.join(sorted(missing))}; save the points again "
            "with 3D Slicer",
            code="landmarks.incomplete",
        )
    pairs: list[tuple[str, NDArray[np.float64]]] = []
    for row in csv.reader(line for line in lines if line.strip() and not line.startswith("#")):
        fields = dict(zip(columns, row, strict=False))
        name = _name(fields.get("label"), path)
        pairs.append(
            (name, _point([_number(fields.get(axis, "")) for axis in "xyz"], 3, f"{path}: {name!r}") * to_ras)
        )
    if not pairs:
        raise InputError(f"{path} holds no points", code="landmarks.empty")
    return _collected(pairs, path)


def _number(text: str) -> float | str:
    """The number that a text is, or the text itself for the complaint about it."""
    try:
        return float(text)
    except ValueError:
        return text
