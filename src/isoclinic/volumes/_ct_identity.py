"""Whom a CT shows, by the header of one of its DICOM slices."""

from __future__ import annotations

from pathlib import Path

from ._dicom_files import is_index, read_header, why_no_slice
from ._dicom_header import DicomHeader
from .identity import Identity


def ct_identity(path: Path) -> Identity:
    """Whom the CT shows that was read from `path`; unknown where that is no DICOM.

    Args:
        path: a folder, a DICOMDIR, or a file.
    """
    file = None if path.is_dir() else read_header(path)
    if file is not None and not is_index(file):
        return Identity.of(DicomHeader(file.header))
    if file is None and path.is_file():
        return Identity()
    for each in sorted((path if path.is_dir() else path.parent).rglob("*")):
        file = read_header(each) if each.is_file() else None
        if file is not None and not is_index(file) and not why_no_slice(file):
            return Identity.of(DicomHeader(file.header))
    return Identity()
