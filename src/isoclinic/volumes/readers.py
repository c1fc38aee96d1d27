"""Image files to voxel grids in the RAS world: one function for every format."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ._dicom_series import read_dicom_series
from ._grid import Grid, LabelArray, check_affine, decoding
from ._itk import read_itk
from ._nifti import read_nifti
from ._warnings import GeometryWarning

__all__ = [
    "find_volumes",
    "read_grid",
    "read_label_names",
    "read_labels",
    "warn_unless_hounsfield",
]

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
# How label maps are told from the CTs beside them.
_LABELS = ("_label", "_labels", "_mask", "_seg")
_IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def find_volumes(folder: Path) -> list[Path]:
    """Paths of all CTs below a folder, sorted: image files that can hold one, and folders of DICOM files.

    Files whose name ends in _label, _labels, _mask or _seg, before the suffix, are label maps and left out.

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
    values, affine = read(path)
    check_affine(affine, path)
    return values, affine


def read_labels(path: Path) -> tuple[LabelArray, NDArray[np.float64]]:
    """Labels (uint8 or uint16, [nx, ny, nz]) and world_from_voxel [4, 4] of a label map.

    Raises:
        InputError: as for `read_grid`, or values that are not whole numbers from 0 to 65535.
    """
    values, affine = read_grid(path)
    low, high = values.min(), values.max()
    if low >= 0 and high <= 65535:
        labels: LabelArray = values.astype(np.uint8) if high < 256 else values.astype(np.uint16)
        if np.array_equal(labels, values):
            return labels, affine
    raise InputError(
        f"{path} is no label map: labels are whole numbers from 0 to 65535, "
        f"but its values run from {low} to {high}"
    )


def read_label_names(labels: Path) -> dict[int, str]:
    """Names of the structures from the JSON file of the label map's name beside it; empty without one.

    Raises:
        InputError: a file that is not a JSON object of names by label.
    """
    stem = labels.name.removesuffix(".gz").rsplit(".", 1)[0]
    path = labels.with_name(f"{stem}.json")
    if not path.is_file():
        return {}
    try:
        return {int(label): str(name) for label, name in json.loads(path.read_text("utf-8")).items()}
    except (AttributeError, RecursionError, ValueError) as error:
        raise InputError(f'{path} must map labels to names, as {{"1": "hip_left"}}: {error}') from error


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
