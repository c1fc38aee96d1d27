"""Names of structures: in the header of a label map, and in files of its name beside it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from .._files import read_text, reading
from ..errors import InputError
from ._grid import decoding
from ._nifti import open_nifti
from ._warnings import warn_geometry

Names = dict[int, str]

# ITK-SNAP's label descriptions: index, red, green, blue, opacity, two visibilities, "name".
_ITK_SNAP = re.compile(r'\s*(\d+)\s+(?:[\d.]+\s+){6}"(.*)"\s*')
# Colour tables of 3D Slicer and lookup tables of FreeSurfer: index, name, red, green, blue, opacity.
_COLOUR_TABLE = re.compile(r"\s*(\d+)\s+(.+?)(?:\s+\d+){4}\s*")
# Tables with a header: BIDS (*_dseg.tsv) and, as CSV, 3D Slicer since 5.8.
_INDEX_COLUMNS = ("index", "labelvalue", "label", "value", "id")
_NAME_COLUMNS = ("name", "labelname", "structure")
# Files beside a label map, in the order in which they are believed.
_TABLES = (".txt", ".label", ".ctbl", ".lut", ".tsv", ".csv")
_SEGMENT_KEY = re.compile(r"Segment(\d+)_(Name|LabelValue|Layer)")


def names_beside(labels: Path) -> Names:
    """Names from a file of the label map's name beside it; empty without one.

    Read are JSON, {"1": "hip_left"} or nnU-Net's {"hip_left": 1}; ITK-SNAP's label descriptions (.txt,
    .label), colour tables of 3D Slicer and FreeSurfer (.ctbl, .lut, .txt), and tables with columns for
    index and name (.tsv of BIDS, .csv).

    Raises:
        InputError: a JSON file that is damaged.

    Warns:
        GeometryWarning: a JSON file that is about something else.
    """
    stem = labels.name.lower().removesuffix(".gz").rpartition(".")[0]
    stem = labels.name[: len(stem)]
    sidecar = labels.with_name(f"{stem}.json")
    if sidecar.is_file():
        return _from_json(sidecar)
    for suffix in _TABLES:
        table = labels.with_name(f"{stem}{suffix}")
        if table.is_file() and (names := _from_table(table)):
            return names
    return {}


def names_in_nifti(path: Path) -> Names:
    """Names of the label table, <LabelTable>, in a NIfTI header extension; empty without one.

    It is Caret's and Connectome Workbench's extension (NIfTI code 30); TotalSegmentator writes the same XML
    under code 0 (`add_label_map_to_nifti` in its `nifti_ext_header.py`).
    """
    with decoding(path, " as NIfTI"), open_nifti(path) as image:
        extensions = getattr(image.header, "extensions", [])
        contents = [  # nibabel 5.3 made it an attribute of bytes
            each.content if hasattr(each, "content") else each.get_content() for each in extensions
        ]
    for content in contents:
        if not isinstance(content, bytes):  # of other kinds of extension
            continue
        # Only the table: without a document type there are no entities that could grow.
        table = re.search(rb"<LabelTable\b.*?</LabelTable>", content, re.DOTALL)
        if table is None:
            continue
        try:
            labels = ElementTree.fromstring(table[0].decode("utf-8", "replace")).iter("Label")
            return _numbered((entry.get("Key"), entry.text) for entry in labels)
        except (ElementTree.ParseError, TypeError, ValueError) as error:
            raise InputError(
                f"{path} has a damaged label table in its NIfTI extension ({error}); write it again",
                code="labels.unreadable",
            ) from error
    return {}


def segments_of(metadata: Mapping[str, str], path: Path) -> list[tuple[str, int, int]]:
    """Name, layer and label value of every segment in the header of a .seg.nrrd file, in its order.

    Keys are SegmentN_Name, SegmentN_Layer and SegmentN_LabelValue of 3D Slicer (developer guide,
    "Segmentation file format"). Files without the last two have one segment, of value 1, a layer.
    """
    found: dict[int, dict[str, str]] = {}
    for key, value in metadata.items():
        if match := _SEGMENT_KEY.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = value.strip()
    segments = []
    for order, (number, fields) in enumerate(sorted(found.items())):
        layered = "LabelValue" in fields or "Layer" in fields
        try:
            layer = int(fields.get("Layer", "0" if layered else str(order)))
            label = int(fields.get("LabelValue", "1"))
        except ValueError as error:
            raise InputError(
                f"{path}: Segment{number} lacks a whole number as layer or label: {error}",
                code="labels.malformed-names",
            ) from None
        segments.append((fields.get("Name") or f"Segment_{number + 1}", layer, label))
    return segments


def _from_json(path: Path) -> Names:
    remedy = 'must map labels to names, as {"1": "hip_left"}'
    with reading(f"{path}, which names the labels,", code="labels.unreadable"):
        try:
            document = json.loads(read_text(path))
        except (RecursionError, ValueError) as error:
            raise InputError(f"{path} {remedy}: {error}", code="labels.malformed-names") from error
    if not isinstance(document, Mapping):
        raise InputError(f"{path} {remedy}: it holds no JSON object", code="labels.malformed-names")
    inner = document.get("labels")  # nnU-Net's dataset.json
    for entries in (document, inner if isinstance(inner, Mapping) else {}):
        try:
            if entries and all(isinstance(name, str) for name in entries.values()):
                return _numbered(entries.items())
            if entries and all(_is_whole(label) for label in entries.values()):
                return _numbered((label, name) for name, label in entries.items())
        except ValueError as error:
            raise InputError(f"{path} {remedy}: {error}", code="labels.malformed-names") from error
    if document:
        warn_geometry(
            f"{path}, beside the label map, names no structures and is not used; to be used, it {remedy}"
        )
    return {}


def _from_table(path: Path) -> Names:
    """Names of a table; empty where the file is something else."""
    with reading(f"{path}, which names the labels,", code="labels.unreadable"):
        try:
            lines = [
                line for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")
            ]
        except ValueError:  # not text
            return {}
    if path.suffix.lower() in (".tsv", ".csv"):
        return _from_columns(lines, "\t" if path.suffix.lower() == ".tsv" else ",")
    for pattern in (_ITK_SNAP, _COLOUR_TABLE):
        matches = [pattern.fullmatch(line) for line in lines]
        if matches and all(matches):
            return _numbered((match[1], match[2]) for match in matches if match)
    return {}


def _from_columns(lines: list[str], delimiter: str) -> Names:
    rows = list(csv.DictReader(lines, delimiter=delimiter))
    columns = {str(name).strip().lower(): name for name in (rows[0] if rows else {})}
    index = next((columns[name] for name in _INDEX_COLUMNS if name in columns), None)
    name = next((columns[name] for name in _NAME_COLUMNS if name in columns), None)
    if index is None or name is None:
        return {}
    try:
        return _numbered((row[index], row[name]) for row in rows)
    except ValueError:
        return {}


def _numbered(pairs: Iterable[tuple[Any, Any]]) -> Names:
    """Names by label, without that of the background, 0."""
    names = {int(label): str(name or "").strip() for label, name in pairs}
    return {label: name for label, name in names.items() if label > 0 and name}


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
