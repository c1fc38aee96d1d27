"""NRRD and MetaImage through SimpleITK."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ._grid import RAS_FROM_LPS, Grid, compact, decoding, slabs_of
from ._warnings import GeometryWarning

_NRRD = (".nrrd", ".nhdr")
_LONGEST_LINE = 4096


def read_itk(path: Path) -> Grid:
    """Values and world_from_voxel; ITK's world is LPS and is turned into RAS here.

    Raises:
        InputError: a broken file, or anything but one scalar volume.

    Warns:
        GeometryWarning: a file that does not give its voxel spacing, or an NRRD file that does not say in
            which space its axes are.
    """
    with decoding(path):
        header = _header(path)
        _check_spacing(header.get("elementspacing", header.get("elementsize", "")), path)
        image = sitk.ReadImage(str(path))
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} values"
            " a voxel; a CT has three dimensions and one value: save one volume of it on its own"
        )
    if path.suffix.lower() in _NRRD and not image.HasMetaDataKey("NRRD_space"):
        warnings.warn(
            f"{path} does not say in which space its axes are; left-posterior-superior is assumed",
            GeometryWarning,
            stacklevel=4,
        )
    if not header.keys() & {"space directions", "spacings", "elementspacing", "elementsize"}:
        warnings.warn(
            f"{path} says nothing about its voxel spacing; 1 mm is assumed, add it to the file's header",
            GeometryWarning,
            stacklevel=4,
        )
    stored = sitk.GetArrayViewFromImage(image).transpose(2, 1, 0)
    values = compact(stored.shape, slabs_of(stored, 1.0, 0.0), path)
    lps_from_voxel = np.eye(4)
    lps_from_voxel[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    lps_from_voxel[:3, 3] = image.GetOrigin()
    return values, RAS_FROM_LPS @ lps_from_voxel


def _header(path: Path) -> dict[str, str]:
    """Fields of the text before the voxels, by lower-case name: NRRD has `name: value`, MetaImage `=`."""
    fields = {}
    separator = ":" if path.suffix.lower() in _NRRD else "="
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_LINE).decode("latin-1").strip():
            name, _, value = line.partition(separator)
            fields[name.strip().lower()] = value.strip()
            if name.startswith("ElementDataFile"):  # the last field; the voxels may follow
                break
    return fields


def _check_spacing(text: str, path: Path) -> None:
    """Refuse spacings of MetaImage that ITK takes for a reflection."""
    if any(float(number) <= 0 for number in text.split()):
        raise InputError(
            f"the voxel spacing of {path} (ElementSpacing) is {text}, not positive; correct its header"
        )
