"""X-rays in formats of volumes, NIfTI, MetaImage and NRRD, whose axes lie in the world."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from .._locale import decimal_point
from ..errors import InputError
from ._bounds import check_declared_size
from ._grid import RAS_FROM_LPS, decoding
from ._itk import open_itk
from ._itk_header import check_detached, check_numbers, mm_per_unit, read_fields
from ._nifti import MM_PER_UNIT
from ._reading import Picture, grey_image, one_channel

_EXCHANGED = "rows and columns exchanged"
_SETTLES = "`flip_top_bottom`, `flip_left_right` or both settle it where the image is not upright"


def read_nifti_image(path: Path, frame: int | None) -> Picture:
    """The X-ray in a NIfTI file, turned upright as its affine says.

    Raises:
        InputError: damaged, several planes without `frame`, no grey image.
        UsageError: `frame` does not exist.
    """
    with decoding(path, " as NIfTI"):
        check_declared_size(path)
        image: Any = nib.load(path)
        stored = np.asarray(image.dataobj)
        affine = np.asarray(image.affine, dtype=np.float64)
        header = image.header
        said = int(header["qform_code"]) > 0 or int(header["sform_code"]) > 0
        unit = MM_PER_UNIT[header.get_xyzt_units()[0]]
    axes = affine[:3, :3] * unit
    if not said or _spacing_alone(affine):
        axes = -np.diag(np.linalg.norm(axes, axis=0))
        notes = [
            f"the affine does not say which way up the image is stored: rows may run upwards; {_SETTLES}"
        ]
    else:
        notes = []
    return _picture(path, stored, axes, frame, notes)


def read_itk_image(path: Path, frame: int | None) -> Picture:
    """The X-ray in a MetaImage or NRRD file of two dimensions, or of three with one slice.

    Raises:
        InputError: damaged, several planes without `frame`, no grey image.
        UsageError: `frame` does not exist.
    """
    with decoding(path):
        check_declared_size(path)
        fields = read_fields(path)
        check_numbers(fields, path)
        check_detached(fields, path, f"{path} has its pixels")
        unit_mm = mm_per_unit(fields, path)
        reader = open_itk(path)
        size = reader.GetSize()
        planes = int(np.prod([n for n in size[2:]]))
        if min(size) > 1 and planes > 1 and frame is None:
            raise InputError(
                f"{path} looks like a volume, not an X-ray: a CT is given as the volume (`volume`); of"
                f" {planes} X-rays of {size[0]} x {size[1]} pixels `frame` chooses one",
                code="xray.not-a-projection",
            )
        with decimal_point():
            image = reader.Execute()
    dimension = image.GetDimension()
    if dimension not in (2, 3):
        raise InputError(
            f"{path} has {dimension} dimensions; an X-ray has two: save it as one image",
            code="xray.wrong-shape",
        )
    stored = sitk.GetArrayFromImage(image)  # axes backwards, channels last
    if image.GetNumberOfComponentsPerPixel() > 1:
        stored = one_channel(path, stored.reshape(-1, *stored.shape[-2:])).reshape(stored.shape[:-1])
    axes = np.eye(3)
    axes[:dimension, :dimension] = np.reshape(image.GetDirection(), (dimension, dimension))
    spacing = np.ones(3)
    spacing[:dimension] = np.array(image.GetSpacing()) * unit_mm
    return _picture(path, stored.T, RAS_FROM_LPS[:3, :3] @ axes * spacing, frame, [])


def _spacing_alone(affine: NDArray[np.float64]) -> bool:
    """Whether an affine is a positive diagonal: what writers put who know the spacing and nothing else."""
    linear = affine[:3, :3]
    return bool(np.all(linear == np.diag(np.diag(linear))) and linear.min() >= 0 and not affine[:3, 3].any())


def _picture(
    path: Path, stored: NDArray[Any], axes: NDArray[np.float64], frame: int | None, notes: list[str]
) -> Picture:
    """The plane of `stored` [i, j, k] that is the X-ray.

    Args:
        path: the path of the file.
        stored: [i, j] or [i, j, k].
        axes: RAS mm of a step along each of the three axes, in columns.
        frame: which plane along k.
        notes: what to warn of.
    """
    shape = stored.shape
    while stored.ndim > 3 and stored.shape[-1] == 1:
        stored = stored[..., 0]
    if stored.ndim not in (2, 3):
        raise InputError(
            f"{path} is no grey image: array of shape {shape}, type {stored.dtype}", code="xray.wrong-shape"
        )
    across = [0, 1]
    if stored.ndim == 3:
        thin = [axis for axis in (2, 1, 0) if stored.shape[axis] == 1]
        along = thin[0] if thin else 2
        stored = np.moveaxis(stored, along, 2)
        across = [axis for axis in range(3) if axis != along]
    # Rows, columns: NIfTI and ITK count columns first.
    pixels = grey_image(path, stored.T, frame=frame)
    steps = axes[:, across]
    if not np.isfinite(steps).all() or np.linalg.matrix_rank(steps) < 2:
        raise InputError(
            f"{path} has axes that coincide or have no length; correct its header",
            code="xray.malformed-header",
        )
    turned, done, mirrored = _upright(pixels, steps)
    column_mm, row_mm = np.linalg.norm(steps, axis=0)
    exchanged = _EXCHANGED in done
    if exchanged:
        column_mm, row_mm = row_mm, column_mm
    if mirrored:
        notes = [*notes, f"columns run from the patient's left to right by the file's axes; {_SETTLES}"]
    # Both 1 is what these formats say where nobody told them.
    unknown = column_mm == row_mm == 1
    return Picture(
        pixels=turned,
        pixel_spacing_mm=None if unknown else (float(row_mm), float(column_mm)),
        orientation=f"the file's axes: {' and '.join(done)}" if done else "",
        stored_shape=(pixels.shape[0], pixels.shape[1]) if done else None,
        exchanged=exchanged,
        notes=tuple(notes),
    )


def _upright(
    pixels: NDArray[np.float32], steps: NDArray[np.float64]
) -> tuple[NDArray[np.float32], list[str], bool]:
    """An image turned so that it is seen as DICOM shows images.

    Columns then run to the patient's left (or back), rows to the back (or feet). Converters of DICOM keep to
    that also where a projection's place in the world is made up.

    Args:
        pixels: [rows, columns] as stored.
        steps: [3, 2], RAS of a step along a row (to the next column) and along a column.

    Returns:
        The image, what was done to it, and whether columns were put in the other order.
    """
    affine = np.eye(4)
    affine[:3, :2] = steps
    affine[:3, 2] = np.cross(steps[:, 0], steps[:, 1])
    (column_axis, column_sign), (row_axis, row_sign) = nib.orientations.io_orientation(affine)[:2]
    done = []
    if column_axis > row_axis:
        pixels, column_sign, row_sign = pixels.T, row_sign, column_sign
        done.append(_EXCHANGED)
    if row_sign > 0:
        pixels = pixels[::-1]
        done.append("rows put in the other order")
    if column_sign > 0:
        pixels = pixels[:, ::-1]
        done.append("columns put in the other order")
    return np.ascontiguousarray(pixels), done, bool(column_sign > 0)
