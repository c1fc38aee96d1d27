"""Whom a CT shows, by the header of one of its DICOM slices."""

from __future__ import annotations

from pathlib import Path

from . import readers
from ._dicom_files import is_index, read_header, why_no_slice
from ._dicom_header import DicomHeader
from .correction import CTCorrection
from .identity import Identity


def ct_identity(path: Path, correction: CTCorrection) -> Identity:
    """Return whom the CT shows that was read from `path`; unknown where that is no DICOM.

    One slice tells, so that the headers of all of them need not be read again, unless some were selected.

    Args:
        path: a folder, a DICOMDIR, or a file.
        correction: the correction that it was read with.
    """
    if correction.slices_where is not None:
        header = readers.ct_header(path, correction)
        return Identity() if header is None else Identity.of(DicomHeader(header))
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
