"""NRRD and MetaImage through SimpleITK."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from .._locale import decimal_point
from ..errors import InputError
from ._bounds import check_declared_size
from ._grid import RAS_FROM_LPS, Grid, compact, decoding, slabs_of
from ._itk_header import (
    axes_of,
    check_detached,
    check_directions,
    check_numbers,
    is_nrrd,
    mm_per_unit,
    read_fields,
    scale_and_offset,
    warn_of_space,
)
from ._warnings import warn_geometry


def read_itk(path: Path) -> Grid:
    """Values and world_from_voxel; ITK's world is LPS and is turned into RAS here.

    Units of length, orientations and scales that ITK drops are read from the header.

    Raises:
        InputError: a broken file or one whose data file is lost, a unit of length that is not known, or
            anything but one scalar volume.

    Warns:
        GeometryWarning: a file that does not give its voxel spacing, or not how its axes lie in the patient,
            or that contradicts itself about it.
    """
    with decoding(path):
        fields = read_fields(path)
        check_numbers(fields, path)
        _check_spacing(fields.get("elementspacing", fields.get("elementsize", "")), path)
        check_detached(fields, path)
        check_declared_size(path)
        check_directions(fields, path)
        unit_mm = mm_per_unit(fields, path)
        slope, offset = scale_and_offset(fields, path)
        with decimal_point():
            image = sitk.ReadImage(str(path), imageIO=_image_io(path))
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(
            f"{path} has {image.GetDimension()} dimensions and {image.GetNumberOfComponentsPerPixel()} values"
            " a voxel; a CT has three dimensions and one value: save one volume of it on its own",
            code="ct.wrong-shape",
        )
    direction = np.reshape(image.GetDirection(), (3, 3))
    if is_nrrd(path):
        warn_of_space(fields, path)
    else:
        direction = axes_of(fields, direction, path)
    if not fields.keys() & {"space directions", "spacings", "elementspacing", "elementsize"}:
        warn_geometry(
            f"{path} does not state its voxel spacing, so 1 mm is assumed; add the spacing to the header "
            "of the file"
        )
    stored = sitk.GetArrayViewFromImage(image).transpose(2, 1, 0)
    values = compact(stored.shape, slabs_of(stored, slope, offset), path)
    lps_from_voxel = np.eye(4)
    lps_from_voxel[:3, :3] = direction * np.array(image.GetSpacing())
    lps_from_voxel[:3, 3] = image.GetOrigin()
    lps_from_voxel[:3] *= unit_mm
    return values, RAS_FROM_LPS @ lps_from_voxel


def open_itk(path: Path) -> sitk.ImageFileReader:
    """ITK's reader of a file that `read_itk` has read, with the information of its header."""
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_image_io(path))
    reader.SetFileName(str(path))
    with decimal_point():
        reader.ReadImageInformation()
    return reader


def _image_io(path: Path) -> str:
    """The name of ITK's reader, which by itself would not know suffixes in capitals."""
    return "NrrdImageIO" if is_nrrd(path) else "MetaImageIO"


def _check_spacing(text: str, path: Path) -> None:
    """Refuse spacings of MetaImage that ITK takes for a reflection."""
    if any(float(number) <= 0 for number in text.split()):
        raise InputError(
            f"the voxel spacing of {path} (ElementSpacing) is {text}, not positive; correct its header",
            code="ct.malformed-header",
        )
