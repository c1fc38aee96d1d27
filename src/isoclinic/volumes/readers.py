"""Image files to voxel grids in the RAS world: one function for every format."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._bounds import check_declared_size
from ._dicom_series import read_dicom_series
from ._grid import Grid, check_affine, decoding
from ._itk import read_itk
from ._nifti import read_nifti
from ._warnings import GeometryWarning

__all__ = [
    "find_volumes",
    "read_grid",
    "warn_unless_hounsfield",
]

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
# How label maps are told from the CTs beside them.
_LABELS = tuple(
    f"{mark}{word}" for mark in "_-." for word in ("label", "labels", "labelmap", "mask", "seg", "dseg")
)
_IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def find_volumes(folder: Path) -> list[Path]:
    """Paths of all CTs below a folder, sorted: image files that can hold one, and folders of DICOM files.

    Files whose name ends in _label, _labels, _labelmap, _mask, _seg or _dseg, before the suffix, are label
    maps and left out; instead of the underscore there may be a dash or a dot.

    Raises:
        InputError: it is no folder, or there is no CT in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of CTs")
    found: set[Path] = set()
    for path in folder.rglob("*"):
        name = path.name.lower()
        suffix = next((each for each in (*_NIFTI[::-1], *_ITK) if name.endswith(each)), None)
        if suffix is not None and not name.removesuffix(suffix).endswith(_LABELS):
            found.add(path)
        elif name.endswith(".dcm"):
            found.add(path.parent)
    if not found:
        raise InputError(
            f"{folder} holds no CT: there is no NIfTI, NRRD, MetaImage or DICOM (.dcm) file in it"
        )
    return sorted(found)


def read_grid(path: Path) -> Grid:
    """Values (int16 or float32, [nx, ny, nz]) and world_from_voxel [4, 4] of an image file or DICOM folder.

    Raises:
        InputError: a path that does not exist, has an unknown format, or cannot be read as a volume.
    """
    name = path.name.lower()
    with decoding(path):
        if not path.exists():
            raise InputError(f"{path} does not exist")
        if path.is_dir() or name.endswith((".dcm", ".ima")) or _is_dicom(path):
            read = read_dicom_series
        elif name.endswith(_NIFTI):
            read = read_nifti
        elif name.endswith(_ITK):
            read = read_itk
        else:
            image = name.endswith(_IMAGES)
            hint = ": an X-ray is given as the X-ray, and the CT as the volume" if image else ""
            raise InputError(
                f"{path} has no known volume format{hint}; use NIfTI ({', '.join(_NIFTI)}), NRRD or "
                f"MetaImage ({', '.join(_ITK)}) or a folder of DICOM files"
            )
    with decoding(path):
        check_declared_size(path)
    values, affine = read(path)
    check_affine(affine, path)
    return values, affine


def warn_unless_hounsfield(hu: NDArray[np.generic], path: str | Path) -> None:
    """Warn (GeometryWarning) about values that cannot be Hounsfield units: water is 0 and air about -1000."""
    low, high = float(hu.min()), float(hu.max())
    if low == high:
        problem = f"every voxel is {low:g}"
    elif low >= 0 and high > 255:
        problem = (
            f"no value is below 0 ({low:g} to {high:g}): the rescale intercept, often -1024, seems missing;"
            " isoclinic inspect adds it with --hu-offset -1024 --save-ct FILE.nii.gz"
        )
    elif low >= 0 or (low >= -1.5 and high <= 1.5):
        problem = (
            f"the values run from {low:g} to {high:g}, so they seem windowed, normalised or attenuation"
            " coefficients; export the CT in Hounsfield units"
        )
    else:
        return
    warnings.warn(
        f"{path} does not look like Hounsfield units: {problem}. As it is, renderings will not look like"
        " X-rays",
        GeometryWarning,
        stacklevel=3,
    )


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
