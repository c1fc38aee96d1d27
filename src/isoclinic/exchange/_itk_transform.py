"""Rigid transforms in ITK's transform files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from torch import Tensor

from .._files import atomic
from ..errors import InputError
from ._found import unexpected
from .posed_camera import rigid

SUFFIXES = (".tfm", ".txt", ".h5", ".mat")
_KIND = "an ITK transform"
# Larger than any file of one transform [bytes].
_ROOM = 1 << 16
# Points this far from the origin [mm] tell the matrix from its images to rounding.
_PROBE_MM = 1000.0


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
            raise InputError(f"{path} cannot be written: {_reason(error)}") from error


def read_transform(path: Path) -> Tensor:
    """The rigid transform [4, 4] that TransformPoint of a file applies, whatever its class.

    Raises:
        InputError: the file cannot be read, is no ITK transform, or one that is not rigid in 3-D.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        transform = sitk.ReadTransform(str(path))
    except (RuntimeError, UnicodeDecodeError):
        raise unexpected(path, _KIND) from None
    if transform.GetDimension() != 3:
        raise InputError(f"{path} is a transform in {transform.GetDimension()} dimensions, not three")
    if not transform.IsLinear():
        raise InputError(f"{path} holds a {transform.GetName()}, which deforms; a pose is rigid")
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    probes = np.array([transform.TransformPoint(tuple(probe)) for probe in _PROBE_MM * np.eye(3)])
    matrix = np.eye(4)
    matrix[:3, :3] = (probes - origin).T / _PROBE_MM
    matrix[:3, 3] = origin
    return rigid(torch.from_numpy(matrix), str(path))


def _reason(error: RuntimeError) -> str:
    return str(error).strip().splitlines()[-1]
