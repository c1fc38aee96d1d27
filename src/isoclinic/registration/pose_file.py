"""The `isoclinic.pose` file: a registered pose with all that is needed to use it elsewhere.

It is JSON, described for users in docs/conventions.md.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._files import atomic, read_text, reading
from .._json import dumps
from ..errors import InputError
from ..geometry import Camera, as_poses
from ..provenance import InputFile
from ..solver import Status
from ..volumes import written_poses

_FORMAT = "isoclinic.pose"
_VERSION = 1
# Entries of "inputs" that are fields of a PoseFile.
_FIELDS = ("volume", "xray", "model")
_RAS_FROM_LPS = torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64))
# pixel_spacing_mm repeats what fx, fy and sdd_mm say, for tools that want it; other writers may round it, to
# 0.31 for 0.308 say.
_SPACING_RELATIVE_TOLERANCE = 1e-2


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseFile:
    """Contents of a pose file. What is None is unknown and null in the file.

    Attributes:
        camera_from_world: [4, 4] float64, world RAS+ in mm.
        camera: the camera of the X-ray as it was registered.
        volume: the CT.
        xray: the X-ray.
        model: the model whose networks took part; the file has this entry only where there is one.
        files: other files that the pose depends on, by the option that named them.
        status: the status of the result, which says how far the pose can be relied on.
        similarity: final value of the similarity; 1 is a perfect match.
        covariance: [6, 6] float64 of the tangent (rotation [rad], translation [mm]) about the isocentre.
        expected_error_mm: expected distance of a landmark from where the pose puts it.
        doubts: reasons for a status of doubtful, for people to read.
        isoclinic_version: the version that wrote the file.
        command: the command line that made it.
    """

    camera_from_world: Tensor
    camera: Camera
    volume: InputFile | None = None
    xray: InputFile | None = None
    model: InputFile | None = None
    files: Mapping[str, InputFile] = field(default_factory=dict)
    status: Status | None = None
    similarity: float | None = None
    covariance: Tensor | None = None
    expected_error_mm: float | None = None
    doubts: tuple[str, ...] = ()
    isoclinic_version: str | None = None
    command: str | None = None

    def write(self, path: Path | str) -> None:
        """Write the file, whole or not at all. Numbers that are not finite become null, "unknown".

        Raises:
            InputError: the pose is not one rigid transform, or the file cannot be written.
        """
        inputs = {"volume": _input_entry(self.volume), "xray": _input_entry(self.xray)}
        if self.model is not None:
            inputs["model"] = _input_entry(self.model)
        inputs |= {name: _input_entry(file) for name, file in self.files.items()}
        document = {
            "format": _FORMAT,
            "version": _VERSION,
            "camera_from_world": _single_pose(
                as_poses(self.camera_from_world, "camera_from_world"), "camera_from_world"
            ).tolist(),
            "world": "RAS",
            "units": "mm",
            "intrinsics": _intrinsics(self.camera),
            "inputs": inputs,
            "status": self.status,
            "similarity": _finite_or_none(self.similarity),
            "covariance": _finite_matrix_or_none(self.covariance),
            "expected_error_mm": _finite_or_none(self.expected_error_mm),
            "doubts": list(self.doubts),
            "isoclinic_version": self.isoclinic_version,
            "command": self.command,
        }
        with atomic(Path(path)) as temporary:
            temporary.write_text(dumps(document) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path | str) -> PoseFile:
        """Read a pose file; a pose given in LPS is converted to RAS.

        A rotation written with few decimals becomes the nearest one (`volumes.written_poses`).

        Raises:
            InputError: the file is missing, is no pose file of this version, or an entry cannot be used; the
                message names the entry and what to do.

        Warns:
            GeometryWarning: a rotation with fewer than three decimals.
        """
        return cls._parse(_load_json(Path(path)), str(path))

    @classmethod
    def _parse(cls, document: Any, name: str) -> PoseFile:
        if not isinstance(document, Mapping):
            raise InputError(
                f"{name} is not a pose file: it holds a JSON {_kind(document)}, not an object",
                code="pose-file.wrong-kind",
            )
        entries = _Entries(document, name)
        entries.expect("format", [_FORMAT], f"set it to {_FORMAT!r} if this is a pose file")
        entries.expect("version", [_VERSION], f"this isoclinic reads version {_VERSION}")
        world = entries.expect("world", ["RAS", "LPS"], "name the frame of the pose")
        entries.expect("units", ["mm"], "convert the translation to millimetres")
        label = entries.label("camera_from_world")
        pose = _single_pose(written_poses(entries.required("camera_from_world"), label), label)
        inputs = entries.child("inputs")
        return cls(
            camera_from_world=pose if world == "RAS" else pose @ _RAS_FROM_LPS,
            camera=_camera(entries),
            volume=_input_file(inputs, "volume"),
            xray=_input_file(inputs, "xray"),
            model=_input_file(inputs, "model"),
            files=_other_files(inputs),
            status=_status(entries),
            similarity=entries.number_or_none("similarity"),
            covariance=_covariance(entries),
            expected_error_mm=entries.number_or_none("expected_error_mm"),
            doubts=entries.texts("doubts"),
            isoclinic_version=entries.text_or_none("isoclinic_version"),
            command=entries.text_or_none("command"),
        )


def read_initial_pose(path: Path | str) -> Tensor:
    """camera_from_world [4, 4] float64 (world RAS+, mm) of a pose file or of a bare 4x4 list in JSON.

    Raises:
        InputError: as for `PoseFile.read`, or a list that is not a 4x4 rigid transform.

    Warns:
        GeometryWarning: as for `PoseFile.read`.
    """
    document = _load_json(Path(path))
    if isinstance(document, list):
        return _single_pose(written_poses(document, str(path)), str(path))
    return PoseFile._parse(document, str(path)).camera_from_world


class _Entries:
    """A JSON object whose every complaint names the file and the key."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values = values
        self._name = name

    def label(self, key: str) -> str:
        return f"{self._name}: {key}"

    def required(self, key: str) -> Any:
        value = self.optional(key)
        if value is None:
            raise InputError(f"{self.label(key)} is missing", code="pose-file.incomplete")
        return value

    def optional(self, key: str) -> Any:
        return self._values.get(key)

    def expect(self, key: str, allowed: Iterable[Any], remedy: str) -> Any:
        value = self.required(key)
        choices = list(allowed)
        # True equals 1 in Python, but not in a file.
        if value not in choices or isinstance(value, bool):
            expected = " or ".join(repr(choice) for choice in choices)
            raise InputError(
                f"{self.label(key)} must be {expected}, not {value!r}; {remedy}",
                code="pose-file.invalid-value",
            )
        return value

    def child(self, key: str) -> _Entries:
        value = self.optional(key)
        if value is not None and not isinstance(value, Mapping):
            raise InputError(
                f"{self.label(key)} must be a JSON object, not a {_kind(value)}",
                code="pose-file.invalid-value",
            )
        return _Entries(value or {}, self.label(key))

    def number(self, key: str) -> float:
        value = self.required(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(
                f"{self.label(key)} must be a finite number, not {value!r}", code="pose-file.invalid-value"
            )
        return value

    def number_or_none(self, key: str) -> float | None:
        return None if self.optional(key) is None else self.number(key)

    def text(self, key: str) -> str:
        value = self.required(key)
        if not isinstance(value, str):
            raise InputError(
                f"{self.label(key)} must be a text, not a {_kind(value)}", code="pose-file.invalid-value"
            )
        return value

    def text_or_none(self, key: str) -> str | None:
        return None if self.optional(key) is None else self.text(key)

    def texts(self, key: str) -> tuple[str, ...]:
        value = self.optional(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
            raise InputError(
                f"{self.label(key)} must be a list of texts, not {value!r}", code="pose-file.invalid-value"
            )
        return tuple(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)


def _load_json(path: Path) -> Any:
    with reading(f"pose file {path}", code="pose-file.unreadable"):
        try:
            # parse_int: an integer too long for a float becomes infinite, and is refused where it stands.
            return json.loads(read_text(path), parse_int=float)
        except (RecursionError, ValueError) as error:
            raise InputError(
                f"{path} is not JSON, so not a pose file: {error}", code="pose-file.unreadable"
            ) from error


def _kind(value: Any) -> str:
    names = {dict: "object", list: "list", str: "text", bool: "truth value", type(None): "null"}
    return names.get(type(value), "number")


def _single_pose(poses: Tensor, label: str) -> Tensor:
    if len(poses) != 1:
        raise InputError(f"{label} must be one 4x4 matrix, not {len(poses)}", code="pose-file.wrong-shape")
    return poses[0]


def _status(entries: _Entries) -> Status | None:
    value = entries.text_or_none("status")
    if value is None:
        return None
    try:
        return Status(value)
    except ValueError:
        raise InputError(
            f"{entries.label('status')} must be one of {', '.join(Status)}, not {value!r}",
            code="pose-file.invalid-value",
        ) from None


def _intrinsics(camera: Camera) -> dict[str, Any]:
    return {
        "fx": camera.fx,
        "fy": camera.fy,
        "cx": camera.cx,
        "cy": camera.cy,
        "width": camera.width,
        "height": camera.height,
        "sdd_mm": camera.sdd_mm,
        "pixel_spacing_mm": list(camera.pixel_spacing_mm),
    }


def _camera(entries: _Entries) -> Camera:
    entries.required("intrinsics")
    intrinsics = entries.child("intrinsics")
    numbers = {name: intrinsics.number(name) for name in ("fx", "fy", "cx", "cy", "sdd_mm")}
    size = {name: intrinsics.number(name) for name in ("width", "height")}
    for name, value in size.items():
        if value != int(value):
            raise InputError(
                f"{intrinsics.label(name)} must be a whole number of pixels, not {value}",
                code="pose-file.invalid-value",
            )
    try:
        camera = Camera(**numbers, width=int(size["width"]), height=int(size["height"]))
    except InputError as error:
        raise InputError(f"{entries.label('intrinsics')}: {error}", code="pose-file.invalid-value") from error
    spacing = intrinsics.optional("pixel_spacing_mm")
    if spacing is not None and not _same_spacing(spacing, camera):
        raise InputError(
            f"{intrinsics.label('pixel_spacing_mm')} is {spacing}, but sdd_mm / (fy, fx) is "
            f"{list(camera.pixel_spacing_mm)} (row, column); correct one of them",
            code="pose-file.inconsistent",
        )
    return camera


def _same_spacing(spacing: Any, camera: Camera) -> bool:
    return (
        isinstance(spacing, list)
        and len(spacing) == 2
        and all(isinstance(value, int | float) for value in spacing)
        and all(
            math.isclose(value, own, rel_tol=_SPACING_RELATIVE_TOLERANCE)
            for value, own in zip(spacing, camera.pixel_spacing_mm, strict=True)
        )
    )


def _input_entry(file: InputFile | None) -> dict[str, str] | None:
    return None if file is None else {"path": file.path, "sha256": file.sha256}


def _input_file(inputs: _Entries, key: str) -> InputFile | None:
    if inputs.optional(key) is None:
        return None
    entries = inputs.child(key)
    return InputFile(path=entries.text("path"), sha256=entries.text("sha256"))


def _other_files(inputs: _Entries) -> dict[str, InputFile]:
    named = {key: _input_file(inputs, key) for key in inputs if key not in _FIELDS}
    return {key: file for key, file in named.items() if file is not None}


def _finite_or_none(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _finite_matrix_or_none(matrix: Tensor | None) -> list[list[float]] | None:
    return matrix.tolist() if matrix is not None and bool(matrix.isfinite().all()) else None


def _covariance(entries: _Entries) -> Tensor | None:
    value = entries.optional("covariance")
    if value is None:
        return None
    label = entries.label("covariance")
    try:
        matrix = torch.from_numpy(np.array(value, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{label} must be six rows of six numbers: {error}", code="pose-file.invalid-value"
        ) from error
    truth_values = any(isinstance(entry, bool) for entry in np.array(value, dtype=object).flat)
    if matrix.shape != (6, 6) or truth_values or not matrix.isfinite().all():
        raise InputError(f"{label} must be six rows of six finite numbers", code="pose-file.invalid-value")
    return matrix
