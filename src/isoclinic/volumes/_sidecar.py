"""The JSON file beside an X-ray whose format has no place for its geometry."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._reading import Reading

_SIDECAR_NUMBERS = (
    *("width", "height", "fx", "fy", "cx", "cy", "sdd_mm"),
    *("source_isocentre_mm", "primary_angle_deg", "secondary_angle_deg"),
)
_SIDECAR_PAIRS = ("pixel_spacing_mm", "principal_point_px")
_SIDECAR_CHOICES = {"polarity": ("bright_air", "dark_air"), "pixel_scale": ("linear", "log")}


def with_sidecar(path: Path, pixels: NDArray[np.float32]) -> Reading:
    sidecar = _sidecar_path(path)
    if not sidecar.is_file():
        missing = f"there is no sidecar {sidecar.name} beside the image"
        return Reading(pixels=pixels, problems={"sdd_mm": missing, "pixel_spacing_mm": missing})
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise InputError(f"{sidecar} is not valid JSON: {error}") from error
    values = _checked_sidecar(sidecar, content, pixels.shape)
    missing = f"{sidecar.name} does not give it"
    problems = {name: missing for name in ("sdd_mm", "pixel_spacing_mm") if name not in values}
    source = {name: f"{sidecar.name}: {name}" for name in values}
    return Reading(pixels=pixels, values=values, provenance=source, problems=problems)


def _sidecar_path(path: Path) -> Path:
    stem = path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem
    return path.with_name(f"{stem}.json")


def _checked_sidecar(sidecar: Path, content: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """The sidecar's values by option name, focal lengths converted to spacings.

    Schema: an object with any of width, height, fx, fy, cx, cy [px]; sdd_mm, source_isocentre_mm;
    pixel_spacing_mm [row, column]; principal_point_px [cx, cy]; primary_angle_deg, secondary_angle_deg;
    polarity ("bright_air" | "dark_air"); pixel_scale ("linear" | "log"). Numbers are plain JSON numbers.
    """
    if not isinstance(content, dict):
        raise InputError(f"{sidecar} must hold a JSON object of named values")
    known = (*_SIDECAR_NUMBERS, *_SIDECAR_PAIRS, *_SIDECAR_CHOICES)
    for key, value in content.items():
        if key not in known:
            raise InputError(f"{sidecar} has an unknown key '{key}'; known keys are {', '.join(known)}")
        if key in _SIDECAR_CHOICES and value not in _SIDECAR_CHOICES[key]:
            raise InputError(f"{sidecar}: {key} must be one of {_SIDECAR_CHOICES[key]}, not {value!r}")
        if key in _SIDECAR_NUMBERS and not _is_number(value):
            raise InputError(f"{sidecar}: {key} must be a number, not {value!r}")
        if key in _SIDECAR_PAIRS and not (
            isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        ):
            raise InputError(f"{sidecar}: {key} must be a list of two numbers, not {value!r}")

    for key, size in (("height", shape[0]), ("width", shape[1])):
        if key in content and content[key] != size:
            raise InputError(f"{sidecar} says {key} {content[key]} but the image has {size} pixels")
    for pair in (("fx", "fy"), ("cx", "cy")):
        if (pair[0] in content) != (pair[1] in content):
            raise InputError(f"{sidecar} must give {pair[0]} and {pair[1]} together")
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
    if "cx" in values:
        values.setdefault("principal_point_px", (values["cx"], values["cy"]))
    if "fx" in values and "sdd_mm" in values:
        if values["fx"] <= 0 or values["fy"] <= 0:
            raise InputError(f"{sidecar}: fx and fy must be positive (mirrored image: --flip-left-right)")
        spacing = (values["sdd_mm"] / values["fy"], values["sdd_mm"] / values["fx"])
        if not np.allclose(values.setdefault("pixel_spacing_mm", spacing), spacing, rtol=1e-3):
            raise InputError(
                f"{sidecar}: pixel_spacing_mm contradicts sdd_mm / (fy, fx), {spacing}; drop one"
            )
    return {key: v for key, v in values.items() if key not in ("width", "height", "fx", "fy", "cx", "cy")}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max  # whole numbers may be larger; neither NaN nor infinity is less
