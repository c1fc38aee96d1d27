"""X-ray files to pixels and what the files say about them: one function for every format."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ._grid import decoding
from ._reading import PixelScale, Reading
from ._sidecar import with_sidecar
from ._xray_dicom import read_dicom_xray
from ._xray_images import read_image, read_nifti_image

__all__ = ["PixelScale", "Reading", "read_file"]

_IMAGE_SUFFIXES = (".png", ".tif", ".tiff")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_OTHER_IMAGES = (".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_VOLUME_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")


def read_file(path: Path, frame: int | None) -> Reading:
    """Read an X-ray from DICOM, or from PNG, TIFF or NIfTI with a JSON sidecar.

    Raises:
        InputError: the file is missing, unreadable, not an X-ray or not a single grey image.
        UsageError: `frame` does not exist in the file.
    """
    with decoding(path):
        if path.is_dir():
            raise InputError(
                f"{path} is a folder, not an X-ray; a CT series is given as the volume (--volume)"
            )
        if not path.is_file():
            raise InputError(f"X-ray file {path} does not exist")
        if not path.stat().st_size:
            raise InputError(f"X-ray file {path} is empty; copy or export it again")
    name = path.name.lower()
    if name.endswith(_OTHER_IMAGES):
        raise InputError(f"{path} has a lossy or unusual image format; save the X-ray as PNG, TIFF or DICOM")
    if name.endswith(_VOLUME_SUFFIXES):
        raise InputError(
            f"{path} looks like a volume, not an X-ray: a CT is given as the volume (--volume); save an X-ray"
            " as DICOM, PNG, TIFF or NIfTI"
        )
    if name.endswith(_IMAGE_SUFFIXES):
        return with_sidecar(path, read_image(path, frame))
    if name.endswith(_NIFTI_SUFFIXES):
        return with_sidecar(path, read_nifti_image(path, frame))
    return read_dicom_xray(path, frame)
