"""Runs of X-rays in one DICOM file, read frame by frame: no more than one frame's pixels are in memory."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from ..errors import InputError, UsageError
from ._bounds import BoundedFile, read_dicom
from ._dicom_files import DicomFile, looks_like_dicom
from ._dicom_pixels import PIXELS, has_pixels
from ._dicom_tables import describe
from ._dicom_words import transfer_syntax
from ._grid import decoding, of_kind
from ._reading import FileReading
from ._xray_dicom import reading_of

# Offsets of each frame from the first one's values (PS3.3 C.8.7.5), and the values.
_INCREMENTS = {
    "PositionerPrimaryAngleIncrement": "PositionerPrimaryAngle",
    "PositionerSecondaryAngleIncrement": "PositionerSecondaryAngle",
}
_UNDEFINED_LENGTH = 0xFFFFFFFF


class DicomRun:
    """A multi-frame DICOM file.

    Attributes:
        path: of the file.
        header: everything before the pixels.
        count: number of frames that the header claims; the last ones may be cut off.

    Args:
        path: of the file.

    Raises:
        InputError: no DICOM with an image, or a number of frames that cannot be.
    """

    @of_kind("xray")
    def __init__(self, path: Path) -> None:
        self.path = path
        self._whole: FileDataset | None = None
        with decoding(path, " as DICOM"):
            if not looks_like_dicom(path):
                raise InputError(f"{path} is not DICOM", code="xray.unknown-format")
            with BoundedFile(path) as file:
                self.header = _header(file)
                self._found = None if self._deflated else _pixel_element(file, self.header)
            if self._deflated:
                # What is compressed as a whole has no frame that could be read alone.
                self._whole = read_dicom(path)
            if not (self._found or (self._whole is not None and has_pixels(self._whole))):
                raise InputError(
                    f"{path} is a DICOM file without an image (no pixel data)", code="dicom.no-pixels"
                )
            self.count = DicomFile(path=path, header=self.header).frames

    @classmethod
    @of_kind("xray")
    def of(cls, path: Path) -> DicomRun | None:
        """The run in a file, which may have one frame only; None where the file is no DICOM.

        Raises:
            InputError: the file cannot be read, or has no image.
        """
        with decoding(path):
            if not looks_like_dicom(path):
                return None
        return cls(path)

    def reading(self, index: int) -> FileReading:
        """One frame: its pixels, and what the header says about that frame.

        Args:
            index: counted from 0.

        Raises:
            InputError: no projection, a frame that the file ends before, or pixels that cannot be decoded.
            UsageError: there is no such frame.
        """
        if not 0 <= index < self.count:
            raise UsageError(
                f"`frame` {index} does not exist: {self.path} has frames 0 to {self.count - 1}",
                code="xray.frame-missing",
            )
        with decoding(self.path, " as DICOM"):
            if self._whole is not None:
                return reading_of(self.path, self._whole, index)
            return reading_of(self.path, self._frame(index), 0)

    @property
    def _deflated(self) -> bool:
        return transfer_syntax(self.header) == DeflatedExplicitVRLittleEndian

    def _frame(self, index: int) -> Dataset:
        """The frame as a data set of its own, whose header is that of this frame."""
        single = _HeaderOf(self.header)
        single.put("NumberOfFrames", 1)
        groups = self.header.get("PerFrameFunctionalGroupsSequence")
        if groups:
            single.put("PerFrameFunctionalGroupsSequence", groups[index : index + 1])
        for keyword, value in _INCREMENTS.items():
            offsets = self.header.get(keyword)
            if isinstance(offsets, list | tuple | pydicom.multival.MultiValue):
                if len(offsets) > index and self.header.get(value) is not None:
                    single.put(value, float(self.header.get(value)) + float(offsets[index]))
                delattr(single, keyword)
        assert self._found is not None
        keyword, vr, place, encapsulated = self._found
        with BoundedFile(self.path) as file:
            file.seek(place)
            stored = self._encapsulated(file, index) if encapsulated else self._native(file, single, index)
        single.add_new(keyword, vr, stored)
        return single

    def _native(self, file: BinaryIO, single: Dataset, index: int) -> bytes:
        if int(self.header.get("BitsAllocated") or 0) % 8:
            raise InputError(
                f"{self.path} has {describe('BitsAllocated')} {self.header.get('BitsAllocated')}: a run of "
                "X-rays has whole bytes",
                code="dicom.malformed-pixels",
            )
        length = get_expected_length(single, unit="bytes")
        file.seek(index * length, 1)
        stored = file.read(length)
        if len(stored) < length:
            raise InputError(
                f"{self.path} ends before frame {index}; copy or export it again", code="dicom.unreadable"
            )
        return stored

    def _encapsulated(self, file: BinaryIO, index: int) -> bytes:
        offsets = self.header.get("ExtendedOffsetTable"), self.header.get("ExtendedOffsetTableLengths")
        frame = get_frame(
            file,
            index,
            extended_offsets=offsets if all(offsets) else None,
            number_of_frames=self.count,
        )
        if not frame:
            raise InputError(f"{self.path} has no pixels of frame {index}", code="dicom.unreadable")
        return encapsulate([frame], has_bot=False)


class _HeaderOf(Dataset):
    """A header's attributes, to be changed without changing that header."""

    def __init__(self, header: FileDataset) -> None:
        super().__init__()
        self.update(header)
        self.file_meta = header.file_meta
        implicit, little = header.original_encoding
        self.set_original_encoding(implicit, little, None)

    def put(self, keyword: str, value: object) -> None:
        """Set an attribute by an element of its own: elements are shared with the header."""
        self.add_new(keyword, pydicom.datadict.dictionary_VR(keyword), value)


def _header(file: BinaryIO) -> FileDataset:
    """Everything before the pixels; the file is left where they begin."""
    try:
        return pydicom.dcmread(file, stop_before_pixels=True)
    except InvalidDicomError:  # without the preamble, as old archives wrote files
        file.seek(0)
        return pydicom.dcmread(file, stop_before_pixels=True, force=True)


def _pixel_element(file: BinaryIO, header: FileDataset) -> tuple[str, str, int, bool] | None:
    """Keyword, VR, place and whether frames are encapsulated, of the element where a file stands.

    PS3.5 7.1: tag, VR, two reserved bytes and a length of four bytes; or tag and length alone.
    """
    syntax = UID(transfer_syntax(header))
    order = "<" if syntax.is_little_endian else ">"
    start = file.read(12)
    if len(start) < 12:
        return None
    group, element = struct.unpack_from(f"{order}HH", start)
    keyword = pydicom.datadict.keyword_for_tag((group, element))
    if keyword not in PIXELS:
        return None
    if syntax.is_implicit_VR:
        (length,), vr, place = struct.unpack_from(f"{order}I", start, 4), "OW", file.tell() - 4
    else:
        (length,) = struct.unpack_from(f"{order}I", start, 8)
        vr, place = start[4:6].decode("ascii", "replace"), file.tell()
    return keyword, vr, place, length == _UNDEFINED_LENGTH or syntax.is_compressed
