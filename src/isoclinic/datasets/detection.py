"""Detection of the data set that a file or folder contains."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ._hdf5 import opened
from .preparation.prepare import DATASET_FILE

_HDF5 = {".h5", ".hdf5"}
_REMEDY = "get it again; where from, says the same with `dataset` deepfluoro or `dataset` ljubljana"


def dataset_kind(path: Path) -> str:
    """Kind of the data set at a path: "cases", "deepfluoro", "ljubljana" or "ctspine1k".

    Raises:
        InputError: a file that is missing, damaged or neither of the data sets in one file.
        UsageError: h5py is not installed.
    """
    if path.suffix.lower() not in _HDF5 and not path.is_file():
        return "ctspine1k" if (path / DATASET_FILE).is_file() else "cases"
    with opened(path, _REMEDY) as root:
        if root is None:
            raise InputError(
                f"{path} is no data set: neither a folder nor an HDF5 file", code="dataset.unknown-name"
            )
        if any(key.startswith("subject") for key in root):
            return "ljubljana"
        return "deepfluoro"
