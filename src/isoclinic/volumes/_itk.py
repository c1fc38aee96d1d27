"""NRRD and MetaImage through SimpleITK."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import InputError
from ._grid import RAS_FROM_LPS, Grid, compact, slabs_of
from ._warnings import GeometryWarning


def read_itk(path: Path) -> Grid:
    """Values and world_from_voxel; ITK's world is LPS and is turned into RAS here.

    Raises:
        InputError: a broken file, or anything but one scalar volume.

    Warns:
        GeometryWarning: an NRRD file that does not say in which space its axes are.
    """
    try:
        image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise InputError(f"{path} cannot be read, it may be cut short or damaged: {reason}") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} values"
            " a voxel; a CT has three dimensions and one value: save one volume of it on its own"
        )
    if path.suffix.lower() in (".nrrd", ".nhdr") and not image.HasMetaDataKey("NRRD_space"):
        warnings.warn(
            f"{path} does not say in which space its axes are; left-posterior-superior is assumed",
            GeometryWarning,
            stacklevel=4,
        )
    stored = sitk.GetArrayViewFromImage(image).transpose(2, 1, 0)
    values = compact(stored.shape, slabs_of(stored, 1.0, 0.0), path)
    lps_from_voxel = np.eye(4)
    lps_from_voxel[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    lps_from_voxel[:3, 3] = image.GetOrigin()
    return values, RAS_FROM_LPS @ lps_from_voxel
