"""Image files to voxel grids in the RAS world: one function for every format."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset

from ..errors import InputError, UsageError
from ._bounds import check_declared_size
from ._dicom_choice import Selection, choose_planes
from ._dicom_files import is_index, looks_like_dicom, read_header, relative_name, some, why_no_slice
from ._dicom_series import read_dicom_series
from ._grid import Grid, check_affine, decoding
from ._itk import open_itk, read_itk
from ._nifti import open_nifti, read_nifti
from ._not_finite import finite
from ._warnings import GeometryWarning, warn_geometry
from .correction import CTCorrection

__all__ = [
    "ct_header",
    "find_volumes",
    "image_file",
    "open_itk",
    "open_nifti",
    "read_grid",
    "warn_unless_hounsfield",
]

_NIFTI = (".nii", ".nii.gz")
_ITK = (".nrrd", ".nhdr", ".mha", ".mhd")
# How label maps are told from the CTs beside them.
_LABEL_WORDS = ("label", "labels", "labelmap", "mask", "seg", "dseg", "segmentation")
_LABELS = tuple(f"{mark}{word}" for mark in "_-." for word in _LABEL_WORDS)
_DICOM = (".dcm", ".ima", ".dicom")
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_IMAGES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")


def find_volumes(folder: Path) -> list[Path]:
    """Paths of all CTs below a folder, sorted: image files that can hold one, and folders of DICOM files.

    Files whose name is or ends in label, labels, mask or seg, before the suffix, are label maps and left out.

    Raises:
        InputError: it is no folder, or there is no CT in it.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder of CTs", code="ct.missing")
    found = set(_image_files(folder))
    for path in folder.rglob("*"):
        if path.name.lower().endswith(_DICOM) or (path.is_file() and _is_dicom(path)):
            found.add(path.parent)
    if not found:
        raise InputError(
            f"{folder} holds no CT: there is no NIfTI, NRRD, MetaImage or DICOM file in it", code="ct.missing"
        )
    return sorted(found)


def _image_files(folder: Path) -> list[Path]:
    """NIfTI, NRRD and MetaImage files below a folder that are no label maps by their names, sorted."""
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.name.lower()
        suffix = next((each for each in (*_NIFTI[::-1], *_ITK) if name.endswith(each)), None)
        hidden = name.startswith(".")  # such as what macOS leaves beside a file
        if suffix is None or hidden:
            continue
        stem = name.removesuffix(suffix)
        if stem not in _LABEL_WORDS and not stem.endswith(_LABELS):
            found.append(path)
    return found


def read_grid(path: Path, correction: CTCorrection | None = None) -> Grid:
    """Values (int16 or float32, [nx, ny, nz]) and world_from_voxel [4, 4] of an image file or a folder.

    A folder holds the DICOM files of one CT, or one image file.

    Args:
        path: the path of the file or folder.
        correction: which slices to read, over which gaps, and what voxels without a value are; what it says
            about values, unit and sides is the caller's to apply.

    Raises:
        InputError: a path that does not exist, has an unknown format, or cannot be read as a volume.
        UsageError: a selection of slices that cannot be made.
    """
    correction = correction or CTCorrection()
    with decoding(path):
        if not path.exists():
            raise InputError(f"{path} does not exist", code="ct.missing")
        if path.is_dir():
            path = _volume_of_folder(path)
        name = path.name.lower()
        if path.is_dir() or name.endswith(_DICOM) or _is_dicom(path):
            values, affine = read_dicom_series(path, correction)
        elif correction.slices_where is not None:
            raise UsageError(
                f"`slices_where` chooses among DICOM slices, but {path} is not DICOM", code="ct.not-a-series"
            )
        elif name.endswith(_NIFTI):
            check_declared_size(path)
            values, affine = read_nifti(path)
        elif name.endswith(_ITK):
            values, affine = read_itk(path)
        else:
            raise InputError(_unknown_format(path), code="ct.unknown-format")
    check_affine(affine, path)
    return finite(values, path, correction.nan_hu), affine


def _volume_of_folder(folder: Path) -> Path:
    """The folder itself if there are slices in DICOM in it, else the one image file below it.

    Raises:
        InputError: several image files, or nothing to read.

    Warns:
        GeometryWarning: image files beside DICOM, which are not read.
    """
    images = _image_files(folder)
    if not images and not _archives(folder):
        return folder
    if _holds_slices(folder):
        if images:
            names = some([relative_name(path, folder) for path in images])
            warn_geometry(f"{folder} holds DICOM files and {names}; only the DICOM files are read")
        return folder
    if len(images) == 1:
        return images[0]
    if images:
        names = some([relative_name(path, folder) for path in images])
        raise InputError(
            f"{folder} holds {len(images)} image files; give one of them as the CT: {names}",
            code="ct.several-files",
        )
    raise InputError(_unknown_format(_archives(folder)[0]), code="ct.unknown-format")


def _holds_slices(folder: Path) -> bool:
    """Tell whether some DICOM file below the folder can be a slice of a CT."""
    for path in folder.rglob("*"):
        if path.is_file() and _is_dicom(path):
            file = read_header(path)
            if file is not None and not is_index(file) and not why_no_slice(file):
                return True
    return False


def _archives(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if _is_archive(path.name.lower())]


def _is_archive(name: str) -> bool:
    return name.endswith(_ARCHIVES) and not name.endswith(_NIFTI)


def _unknown_format(path: Path) -> str:
    """The error about a file that is in none of the formats."""
    name = path.name.lower()
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    if zipped or _is_archive(name):
        return f"{path} is an archive: unpack it, and give the file or folder that comes out of it as the CT"
    image = name.endswith(_IMAGES)
    hint = ": an X-ray is given as the X-ray, and the CT as the volume" if image else ""
    return (
        f"{path} has no known volume format{hint}; use NIfTI ({', '.join(_NIFTI)}), NRRD or "
        f"MetaImage ({', '.join(_ITK)}) or a folder of DICOM files"
    )


def ct_header(path: Path, correction: CTCorrection) -> FileDataset | None:
    """The header of the first slice of a CT that `read_grid` has read; None if it is not DICOM."""
    if path.is_file() and not (path.name.lower().endswith(_DICOM) or _is_dicom(path)):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeometryWarning)  # of which the reader has warned
        only = None if correction.slices_where is None else Selection.parse(correction.slices_where)
        return choose_planes(path, only).planes[0].file.header


def image_file(path: Path) -> Path:
    """The file that is read where a folder is given that holds one image file; else the path itself."""
    if path.is_dir():
        images = _image_files(path)
        if len(images) == 1 and not _holds_slices(path):
            return images[0]
    return path


def warn_unless_hounsfield(hu: NDArray[np.generic], path: str | Path) -> None:
    """Warn (GeometryWarning) about values that cannot be Hounsfield units: water is 0 and air about -1000."""
    low, high = float(hu.min()), float(hu.max())
    if low == high:
        problem = f"every voxel is {low:g}"
    elif low >= 0 and high > 255:
        problem = (
            f"no value is below 0 ({low:g} to {high:g}): the rescale intercept, often -1024, seems missing;"
            " isoclinic inspect adds it with `hu_offset` -1024 `save_ct` FILE.nii.gz"
        )
    elif low >= 0 or (low >= -1.5 and high <= 1.5):
        problem = (
            f"the values run from {low:g} to {high:g}, so they seem windowed, normalised or attenuation"
            " coefficients; export the CT in Hounsfield units"
        )
    else:
        return
    warn_geometry(
        f"{path} does not look like Hounsfield units: {problem}. Renderings of it will not look like X-rays"
    )


def _is_dicom(path: Path) -> bool:
    """Tell whether a file is DICOM by its content (by its preamble if it has another format's suffix)."""
    if not path.name.lower().endswith((*_NIFTI, *_ITK, *_IMAGES, *_ARCHIVES)):
        return looks_like_dicom(path)
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"
