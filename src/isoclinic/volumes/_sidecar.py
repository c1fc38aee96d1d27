"""The JSON file beside an X-ray whose format has no place for its geometry."""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ._grid import decoding
from ._reading import FileReading, Picture

_SIDECAR_NUMBERS = (
    *("width", "height", "fx", "fy", "cx", "cy", "sdd_mm"),
    *("source_isocentre_mm", "primary_angle_deg", "secondary_angle_deg"),
)
_SIDECAR_PAIRS = ("pixel_spacing_mm", "principal_point_px")
_SIDECAR_CHOICES = {"polarity": ("bright_air", "dark_air"), "pixel_scale": ("linear", "log")}
_KNOWN = (*_SIDECAR_NUMBERS, *_SIDECAR_PAIRS, *_SIDECAR_CHOICES)
_IMAGE_SIZE = ("width", "height")
_GEOMETRY = tuple(key for key in _KNOWN if key not in _IMAGE_SIZE)
_OWN_SUFFIX = ".isoclinic.json"
# Of data beside its header, as writers of MetaImage, NRRD and Analyze name them.
_DETACHED = (".raw", ".zraw", ".raw.gz", ".img", ".img.gz", ".hdr")
_CAMEL_CASE = re.compile(r"[A-Z][a-z]+([A-Z0-9][A-Za-z0-9]*)*")
_RESEMBLES = 0.8  # of difflib; 'sdd_mn' and 'pixelspacing' do, other programs' keys do not
_AGREES = 1e-2  # of spacings that are said twice


def with_sidecar(path: Path, picture: Picture) -> FileReading:
    """What an image and the JSON file beside it say.

    The sidecar of `knee.png` is `knee.isoclinic.json`, or `knee.json` unless that is another program's, which
    is left alone with a note. Geometry is that of the image as it is shown, after an orientation tag.

    Raises:
        InputError: a sidecar that is no JSON, or says what cannot be.
    """
    sidecar, content, notes = _find(path)
    values = {} if content is None else _checked_sidecar(sidecar, content, picture)
    provenance = {name: f"{sidecar.name}: {name}" for name in values}
    own = path.with_name(f"{_stem(path)}{_OWN_SUFFIX}").name
    if content is not None:
        missing = f"{sidecar.name} does not give it"
    elif sidecar.is_file():
        missing = f"{sidecar.name} is another program's; write sdd_mm and pixel_spacing_mm into {own}"
    else:
        missing = f"there is no sidecar {sidecar.name} beside the image"
    if picture.orientation:
        provenance["orientation"] = picture.orientation
        uneven = not np.allclose(*values.get("pixel_spacing_mm", (1, 1)))
        if "principal_point_px" in values or (picture.exchanged and uneven):
            notes.append(
                f"{sidecar.name} is taken to describe the image as it is shown, after {picture.orientation}"
            )
    doubts = {}
    spacing = picture.pixel_spacing_mm
    if spacing is not None:
        said = values.setdefault("pixel_spacing_mm", spacing)
        provenance.setdefault("pixel_spacing_mm", f"{path.name}: its own spacing")
        if not np.allclose(said, spacing, rtol=_AGREES):
            doubts["pixel_spacing_mm"] = (
                f"{sidecar.name} gives a pixel spacing of {said} mm (row, column), but the image's own is"
                f" {spacing} mm; the first is used"
            )
    return FileReading(
        pixels=picture.pixels,
        values=values,
        provenance=provenance,
        problems={name: missing for name in ("sdd_mm", "pixel_spacing_mm") if name not in values},
        doubts=doubts,
        notes=(*picture.notes, *notes),
        excluded=picture.excluded,
    )


def files_beside(path: Path) -> list[Path]:
    """Files that belong to an image or a label map by their names: its JSON files, and data of a header.

    Args:
        path: of the image.
    """
    names = [f"{_stem(path)}{suffix}" for suffix in (".json", _OWN_SUFFIX, *_DETACHED)]
    return [file for name in names if (file := path.with_name(name)).is_file() and file != path]


def _stem(path: Path) -> str:
    return path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem


def _find(path: Path) -> tuple[Path, dict[str, Any] | None, list[str]]:
    """The sidecar's path, its content if it is ours, and what to warn of."""
    own = path.with_name(f"{_stem(path)}{_OWN_SUFFIX}")
    sidecar = path.with_name(f"{_stem(path)}.json")
    if own.is_file():
        content = _parsed(own)
        if not isinstance(content, dict):
            raise InputError(f"{own} must hold a JSON object of named values", code="sidecar.invalid-value")
        if sidecar.is_file() and isinstance(other := _parsed(sidecar), dict) and set(other) & set(_GEOMETRY):
            raise InputError(
                f"{own.name} and {sidecar.name} both describe {path}; keep one", code="sidecar.conflict"
            )
        return own, content, []
    if not sidecar.is_file():
        return sidecar, None, []
    content = _parsed(sidecar)
    if isinstance(content, dict) and _is_ours(content):
        return sidecar, content, []
    keys = ", ".join(map(repr, list(content)[:3])) if isinstance(content, dict) else "a list"
    note = (
        f"{sidecar.name} beside it holds nothing that this program knows ({keys}): it is taken for another"
        f" program's and left alone; a sidecar has keys such as sdd_mm and pixel_spacing_mm and may be named"
        f" {own.name}"
    )
    return sidecar, None, [note]


def _parsed(sidecar: Path) -> Any:
    """The content of a JSON file in UTF-8, UTF-16 or UTF-32, with a byte order mark or without."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for key, count in Counter(key for key, _ in pairs).items():
            if count > 1:
                raise InputError(f"{sidecar} gives '{key}' {count} times; leave one", code="sidecar.conflict")
        return dict(pairs)

    with decoding(sidecar, code="sidecar.unreadable"):
        content = sidecar.read_bytes()
    if not content.strip():
        raise InputError(f"{sidecar} is not valid JSON: it is empty", code="sidecar.unreadable")
    try:
        return json.loads(content, object_pairs_hook=unique)
    except InputError:
        raise
    except (RecursionError, ValueError) as error:
        raise InputError(f"{sidecar} is not valid JSON: {error}", code="sidecar.unreadable") from error


def _is_ours(content: dict[str, Any]) -> bool:
    """Whether a JSON object is a sidecar of ours: a key that no other program would use, or nearly so.

    Width and height are in many programs' files. Names of DICOM attributes (CamelCase) are other programs'.
    """
    keys = [key for key in content if not _is_comment(key)]
    if not keys or any(key in _GEOMETRY for key in keys):
        return True
    return set(keys) <= set(_IMAGE_SIZE) or any(_meant(key) for key in keys if key not in _IMAGE_SIZE)


def _meant(key: str) -> str:
    """The known key that a misspelt one resembles; empty if it resembles none."""
    if _CAMEL_CASE.fullmatch(key):
        return ""
    plain = re.sub(r"[^a-z0-9]", "", key.lower())
    by_plain = {known.replace("_", ""): known for known in _KNOWN}
    whole = [known for known in by_plain if len(plain) >= 3 and known.startswith(plain)]
    near = difflib.get_close_matches(plain, by_plain, n=1, cutoff=_RESEMBLES)
    return next((by_plain[known] for known in (*whole, *near)), "")


def _is_comment(key: str) -> bool:
    return key.startswith(("_", "$", "//", "#")) or key.lower() in ("comment", "comments")


def _checked_sidecar(sidecar: Path, content: dict[str, Any], picture: Picture) -> dict[str, Any]:
    """The sidecar's values by option name, focal lengths converted to spacings.

    Schema: an object with any of width, height, fx, fy, cx, cy [px]; sdd_mm, source_isocentre_mm;
    pixel_spacing_mm [row, column]; principal_point_px [cx, cy]; primary_angle_deg, secondary_angle_deg;
    polarity ("bright_air" | "dark_air"); pixel_scale ("linear" | "log"). Numbers are plain JSON numbers.
    """
    content = {key: value for key, value in content.items() if not _is_comment(key)}
    for key, value in content.items():
        if key not in _KNOWN:
            meant = _meant(key)
            raise InputError(
                f"{sidecar} has an unknown key '{key}'"
                + (f" (is '{meant}' meant?)" if meant else "")
                + "; known"
                f" keys are {', '.join(_KNOWN)}, and comments begin with _",
                code="sidecar.unknown-name",
            )
        if key in _SIDECAR_CHOICES and value not in _SIDECAR_CHOICES[key]:
            raise InputError(
                f"{sidecar}: {key} must be one of {_SIDECAR_CHOICES[key]}, not {value!r}",
                code="sidecar.invalid-value",
            )
        if key in _SIDECAR_NUMBERS and not _is_number(value):
            raise InputError(
                f"{sidecar}: {key} must be a number, not {value!r}", code="sidecar.invalid-value"
            )
        if key in _SIDECAR_PAIRS and not (
            isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        ):
            raise InputError(
                f"{sidecar}: {key} must be a list of two numbers, not {value!r}", code="sidecar.invalid-value"
            )

    stored = picture.stored_shape or picture.pixels.shape
    sizes = dict(zip(("height", "width"), picture.pixels.shape, strict=True))
    for key, size in sizes.items():
        if key in content and content[key] != size:
            as_stored = dict(zip(("height", "width"), stored, strict=True))
            if all(content.get(name, as_stored[name]) == as_stored[name] for name in sizes):
                raise InputError(
                    f"{sidecar} says {key} {content[key]}, as the image is stored, but it is shown after"
                    f" {picture.orientation}: give the geometry of the image as shown, or remove the"
                    " orientation from the image",
                    code="sidecar.conflict",
                )
            raise InputError(
                f"{sidecar} says {key} {content[key]} but the image has {size} pixels",
                code="sidecar.wrong-shape",
            )
    for pair in (("fx", "fy"), ("cx", "cy")):
        if (pair[0] in content) != (pair[1] in content):
            raise InputError(
                f"{sidecar} must give {pair[0]} and {pair[1]} together", code="sidecar.incomplete"
            )
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
    if "cx" in values:
        values.setdefault("principal_point_px", (values["cx"], values["cy"]))
    if "fx" in values and "sdd_mm" in values:
        if values["fx"] <= 0 or values["fy"] <= 0:
            raise InputError(
                f"{sidecar}: fx and fy must be positive (mirrored image: `flip_left_right`)",
                code="sidecar.invalid-value",
            )
        spacing = (values["sdd_mm"] / values["fy"], values["sdd_mm"] / values["fx"])
        if not np.allclose(values.setdefault("pixel_spacing_mm", spacing), spacing, rtol=1e-3):
            raise InputError(
                f"{sidecar}: pixel_spacing_mm contradicts sdd_mm / (fy, fx), {spacing}; drop one",
                code="sidecar.conflict",
            )
    return {key: v for key, v in values.items() if key not in ("width", "height", "fx", "fy", "cx", "cy")}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max  # whole numbers may be larger; neither NaN nor infinity is less
