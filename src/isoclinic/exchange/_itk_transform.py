"""Rigid transforms in ITK's transform files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .._files import atomic, reading
from ..errors import InputError
from . import _itk_apply
from ._found import HDF5_SIGNATURE, read_text, unexpected
from .posed_camera import rigid

SUFFIXES = (".tfm", ".txt", ".h5", ".mat")
_BINARY = (".h5", ".hdf5", ".mat")
_KIND = "an ITK transform"
# Larger than any file of one transform [bytes].
_ROOM = 1 << 16
# Of reading a small file, the start of the process included [s].
_TIMEOUT_S = 60
# Classes of transforms that ITK makes grids for, of any size that a damaged file says.
_DEFORMS = re.compile(r"Spline|Displacement|Velocity|Field|Kernel")


def write_transform(path: Path, matrix: Tensor) -> None:
    """Write a rigid transform [4, 4] whose TransformPoint is x -> matrix x, as an AffineTransform.

    The suffix chooses the format: .tfm and .txt are text, .h5 is HDF5, .mat is MATLAB's.

    Raises:
        InputError: the file cannot be written.
    """
    transform = sitk.AffineTransform(3)
    matrix = matrix + 0.0  # which leaves no -0
    transform.SetMatrix(matrix[:3, :3].flatten().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    with atomic(path) as temporary:
        # SimpleITK does not notice that a disk is full, or crashes; this does.
        temporary.write_bytes(bytes(_ROOM))
        try:
            sitk.WriteTransform(transform, str(temporary))
        except RuntimeError as error:
            raise InputError(
                f"{path} cannot be written: {_reason(error)}", code="exchange.unwritable"
            ) from error


def read_transform(path: Path) -> Tensor:
    """The rigid transform [4, 4] that TransformPoint of a file applies, whatever its class.

    Raises:
        InputError: the file cannot be read, is no ITK transform, or one that is not rigid in 3-D.

    Warns:
        GeometryWarning: a rotation with fewer than three decimals.
    """
    with reading(str(path), code="exchange.unreadable"), path.open("rb") as file:
        begins = file.read(len(HDF5_SIGNATURE))
    if begins == HDF5_SIGNATURE or path.suffix.lower() in _BINARY:
        found = _applied_elsewhere(path)
    else:
        found = _applied_from_text(path)
    if found["dimension"] != 3:
        raise InputError(
            f"{path} is a transform in {found['dimension']} dimensions, not three",
            code="exchange.wrong-shape",
        )
    if not found["linear"]:
        raise InputError(
            f"{path} holds a {found['name']}, which deforms; a pose is rigid", code="exchange.not-rigid"
        )
    origin, *probes = np.array(found["points"])
    matrix = np.eye(4)
    matrix[:3, :3] = (np.array(probes) - origin).T / _itk_apply.PROBE_MM
    matrix[:3, 3] = origin
    return rigid(torch.from_numpy(matrix), str(path))


def _applied_from_text(path: Path) -> dict[str, Any]:
    """What `_itk_apply.applied` finds in a text file of any encoding and line ends; ITK takes one kind."""
    text = read_text(path, _KIND)
    if not text.startswith("#Insight Transform File"):
        raise unexpected(path, _KIND)
    names = re.findall(r"^\s*Transform\s*:\s*(\w+?)_", text, re.MULTILINE)
    deforming = [name for name in names if _DEFORMS.search(name)]
    if deforming:  # ITK would allocate grids of any size first
        raise InputError(
            f"{path} holds a {deforming[0]}, which deforms; a pose is rigid", code="exchange.not-rigid"
        )
    with TemporaryDirectory() as folder:
        plain = Path(folder) / "transform.tfm"
        plain.write_text(text, encoding="utf-8", newline="\n")
        try:
            return _itk_apply.applied(str(plain))
        except (RuntimeError, UnicodeDecodeError):
            raise unexpected(path, _KIND) from None


def _applied_elsewhere(path: Path) -> dict[str, Any]:
    """The same of a binary file, in a process of its own: damaged ones crash SimpleITK."""
    command = [sys.executable, "-P", str(_itk_apply.__file__), str(path)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_TIMEOUT_S, check=False)
        return dict(json.loads(done.stdout))
    except (subprocess.TimeoutExpired, ValueError):
        raise unexpected(path, _KIND) from None


def _reason(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]
