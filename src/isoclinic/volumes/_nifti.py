"""NIfTI through nibabel."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from io import IOBase
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from numpy.typing import NDArray

from ..errors import InputError
from ._grid import Grid, check_affine, compact, decoding, slabs_of
from ._warnings import warn_geometry

MM_PER_UNIT = {"unknown": 1.0, "mm": 1.0, "meter": 1e3, "micron": 1e-3}
# The first field of the header is its size.
_SIZE_OF_NIFTI2 = (540).to_bytes(4, "little"), (540).to_bytes(4, "big")


def read_nifti(path: Path) -> Grid:
    """Values and world_from_voxel; sform before qform, as nibabel and most tools rank them.

    Raises:
        InputError: a broken file, or anything but one scalar volume.

    Warns:
        GeometryWarning: no sform and no qform, or two that contradict each other.
    """
    with decoding(path, " as NIfTI"), open_nifti(path) as image:
        proxy = image.dataobj
        assert isinstance(proxy, ArrayProxy)  # as in every image that comes from a file
        stored = np.asanyarray(proxy.get_unscaled())
        unit = MM_PER_UNIT[image.header.get_xyzt_units()[0]]
        affine = np.diag([unit, unit, unit, 1.0]) @ _affine(image, path)
    if stored.dtype.kind not in "iuf":
        raise InputError(
            f"{path} holds {stored.dtype} values (colour or complex), not Hounsfield units",
            code="ct.not-hounsfield",
        )
    shape = _spatial_shape(stored.shape, path)
    values = compact(shape, slabs_of(stored.reshape(shape, order="F"), proxy.slope, proxy.inter), path)
    return values, affine


@contextmanager
def open_nifti(path: Path) -> Iterator[nib.Nifti1Image]:
    """The image of a NIfTI file; its first bytes say which version it is and whether it is compressed."""
    with _opened(path) as file:
        is_nifti2 = file.read(4) in _SIZE_OF_NIFTI2
        file.seek(0)
        kind = nib.Nifti2Image if is_nifti2 else nib.Nifti1Image
        yield kind.from_file_map({"image": nib.FileHolder(fileobj=file)})


@contextmanager
def _opened(path: Path) -> Iterator[IOBase]:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        if not compressed:
            yield file
            return
        with gzip.open(file) as content:
            yield content


def _spatial_shape(shape: tuple[int, ...], path: Path) -> tuple[int, int, int]:
    if len(shape) < 3 or any(count != 1 for count in shape[3:]):
        raise InputError(
            f"{path} has {len(shape)} dimensions {shape}; a CT has three: save one volume of it on its own",
            code="ct.wrong-shape",
        )
    nx, ny, nz = shape[:3]
    return nx, ny, nz


def _affine(image: nib.Nifti1Image, path: Path) -> NDArray[np.float64]:
    affine = np.asarray(image.affine, dtype=np.float64)
    check_affine(affine, path)
    qform, sform = image.get_qform(coded=True)[0], image.get_sform(coded=True)[0]
    if sform is None:
        _check_spacing(image, path)
    if qform is None and sform is None:
        warn_geometry(
            f"{path} says nothing about its orientation (qform and sform codes are 0): "
            "left and right may be swapped, and its position is arbitrary; isoclinic inspect settles this "
            "with `save_ct` FILE.nii.gz, and with `mirror_left_right` if left and right are swapped"
        )
    elif qform is not None and sform is not None:
        far_corner = np.array([*image.shape[:3], 1.0])
        apart = float((np.abs(sform - qform) @ far_corner).max())
        if not apart <= 0.1 * min(image.header.get_zooms()[:3]):
            warn_geometry(
                f"the sform and qform of {path} disagree by up to {apart:.3g} mm; the sform is used"
            )
    return affine


def _check_spacing(image: nib.Nifti1Image, path: Path) -> None:
    """Refuse spacings that nibabel silently replaces: 0 by 1, negative ones by their opposite."""
    with _opened(path) as file:
        header: Any = type(image.header).from_fileobj(file, check=False)
    spacing = header["pixdim"][1:4]
    if not (spacing > 0).all():
        raise InputError(
            f"the voxel spacing of {path} (pixdim) is {spacing.tolist()}, not positive; export it again or "
            "correct its header",
            code="ct.malformed-header",
        )
