"""What headers claim against what their files can hold, before anything of that size is allocated.

Decoders allocate what a header says, and some crash where they cannot. A file that is damaged, cut short or
hostile is told from others by its length: no encoding holds more than a known multiple of it.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import FileDataset

from ..errors import InputError

# DEFLATE, in gzip and zlib, turns a byte into 1032 at most (RFC 1951: 258 bytes from two bits).
_DEFLATE_RATIO = 1032
# Beyond any scan: 2048 slices of 1024 x 1024 pixels.
_MOST_VOXELS = 1 << 31
_DIMENSIONS = range(1, 8)
# Smaller reads of DICOM need no second look [bytes].
_SMALL = 1 << 16
# Lines of a header [bytes] beyond which ITK's parsers overrun their buffers. That of NRRD (teem) writes
# messages that quote the line into 1024 bytes; comments and key:=value may be longer.
_LONGEST_LINE = {"=": 2048, ":": 900}
_LONGEST_PAIR = 1 << 20

# Bytes of a value: https://itk.org/Wiki/MetaIO/Documentation, http://teem.sourceforge.net/nrrd/format.html
_METAIMAGE_TYPES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG", "MET_ULONG"), 4),  # 4 or 8, by the machine that wrote it
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
_NRRD_TYPES = {
    **{"char": 1, "int8": 1, "short": 2, "int16": 2, "int": 4, "int32": 4, "float": 4},
    **{"longlong": 8, "longlongint": 8, "int64": 8, "double": 8},
}
# Characters that hold the value in these encodings, at least.
_NRRD_TEXT = {"txt": 2, "text": 2, "ascii": 2, "hex": 2}
# NIfTI: code of the type of data -> bits.
_NIFTI_BITS = {
    **{2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32},
    **{1024: 64, 1280: 64, 1536: 128, 1792: 128, 2048: 256, 2304: 32},
}


def check_declared_size(path: Path) -> None:
    """Refuse NIfTI, NRRD and MetaImage files whose header claims more voxels than the file can hold.

    Files of other kinds, and headers that say too little to tell, are left to their readers.

    Raises:
        InputError: the claim, or dimensions that no image has.
        OSError: the file cannot be read.
    """
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz")):
        _check_nifti(path)
    elif name.endswith((".mha", ".mhd")):
        _check_metaimage(path, _fields(path, "="))
    elif name.endswith((".nrrd", ".nhdr")):
        _check_nrrd(path, _fields(path, ":"))


def read_dicom(path: Path, **options: Any) -> FileDataset:
    """`pydicom.dcmread` of a file, without taking memory for elements that claim more than there is.

    Raises:
        Exception: as `pydicom.dcmread`.
    """
    with BoundedFile(path) as file:
        return pydicom.dcmread(file, **options)


class BoundedFile(io.BufferedReader):
    """A file for pydicom, which asks for as many bytes as an element claims: never more than there are."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self._size = os.fstat(self.fileno()).st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes, as of every file; memory is taken for those that there are only."""
        if size is not None and size > _SMALL:
            size = min(size, max(self._size - self.tell(), 0))
        return super().read(-1 if size is None else size)


def _check(path: Path, shape: list[int], voxel_bytes: float, held: float) -> None:
    if len(shape) not in _DIMENSIONS or min(shape) < 1:
        raise InputError(
            f"the header of {path} is damaged: its dimensions are {shape[:8]}", code="ct.unreadable"
        )
    voxels = math.prod(shape)
    if voxels > _MOST_VOXELS:
        raise InputError(
            f"{path} claims {' x '.join(map(str, shape))} voxels, more than any scan has", code="ct.too-large"
        )
    if voxels * voxel_bytes > held:
        raise InputError(
            f"{path} claims {' x '.join(map(str, shape))} voxels, which its data cannot hold; it may be cut"
            " short or damaged",
            code="ct.unreadable",
        )


def _check_nifti(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if compressed else path.open("rb") as stream:
        header = stream.read(540)
    for order in "<>":
        length = struct.unpack_from(f"{order}i", header)[0] if len(header) >= 4 else 0
        if length == 348 and len(header) >= 348:
            count, *shape = struct.unpack_from(f"{order}8h", header, 40)
            code = struct.unpack_from(f"{order}h", header, 70)[0]
        elif length == 540 and len(header) == 540:  # NIfTI-2
            count, *shape = struct.unpack_from(f"{order}8q", header, 16)
            code = struct.unpack_from(f"{order}h", header, 12)[0]
        else:
            continue
        if count not in _DIMENSIONS:
            raise InputError(
                f"the header of {path} is damaged: it has {count} dimensions (dim)", code="ct.unreadable"
            )
        held = size * (_DEFLATE_RATIO if compressed else 1)
        _check(path, shape[:count], _NIFTI_BITS.get(code, 0) / 8, held)


def _check_metaimage(path: Path, fields: dict[str, str]) -> None:
    if "dimsize" not in fields:
        return
    shape = _whole_numbers(path, fields["dimsize"])
    (dimensions,) = _whole_numbers(path, fields.get("ndims", "")) or [len(shape)]
    if dimensions not in _DIMENSIONS or len(shape) != dimensions:
        raise InputError(
            f"the header of {path} is damaged: NDims is {dimensions}, but DimSize has {len(shape)} numbers",
            code="ct.unreadable",
        )
    channels = _whole_numbers(path, fields.get("elementnumberofchannels", "1")) or [1]
    deflated = fields.get("compresseddata", "").lower() == "true"
    held = _held(path, fields.get("elementdatafile", "LOCAL")) * (_DEFLATE_RATIO if deflated else 1)
    _check(path, [*shape, channels[0]], _METAIMAGE_TYPES.get(fields.get("elementtype", ""), 0), held)


def _check_nrrd(path: Path, fields: dict[str, str]) -> None:
    if "sizes" not in fields:
        return
    shape = _whole_numbers(path, fields["sizes"])
    (dimensions,) = _whole_numbers(path, fields.get("dimension", "")) or [len(shape)]
    if dimensions not in _DIMENSIONS or len(shape) != dimensions:
        raise InputError(
            f"the header of {path} is damaged: dimension is {dimensions}, but sizes has {len(shape)} numbers",
            code="ct.unreadable",
        )
    encoding = fields.get("encoding", "raw").lower()
    kind = fields.get("type", "").lower().replace("unsigned ", "").replace("signed ", "").replace(" ", "")
    kind = kind.removesuffix("_t").removeprefix("u")
    voxel_bytes = _NRRD_TEXT.get(encoding, _NRRD_TYPES.get(kind, 0))
    held = _held(path, fields.get("data file", fields.get("datafile", "LOCAL")))
    if encoding in ("gz", "gzip"):
        held *= _DEFLATE_RATIO
    elif encoding in ("bz2", "bzip2"):  # holds any number of equal bytes
        held = math.inf
    _check(path, shape, voxel_bytes, held)


def _held(path: Path, entry: str) -> float:
    """Length of the file with the voxels; any where they are in several, or in one that is not there."""
    if entry.upper() == "LOCAL":
        return path.stat().st_size
    try:
        return (path.parent / entry).stat().st_size
    except (OSError, ValueError):
        return math.inf


def _fields(path: Path, separator: str) -> dict[str, str]:
    """Fields of the text before the voxels, by lower-case name."""
    fields: dict[str, str] = {}
    with path.open("rb") as file:
        while line := file.readline(_LONGEST_PAIR).decode("latin-1").strip():
            name, found, value = line.partition(separator)
            free = separator == ":" and (line.startswith("#") or value.startswith("="))
            if len(line) > _LONGEST_LINE[separator] and not free:
                raise InputError(
                    f"the header of {path} is damaged: it has a line of {len(line)} characters",
                    code="ct.unreadable",
                )
            if found and not value.startswith("="):  # NRRD's key:=value says nothing about voxels
                fields.setdefault(name.strip().lower(), value.strip())
            if separator == "=" and name.strip() == "ElementDataFile":
                break
    return fields


def _whole_numbers(path: Path, text: str) -> list[int]:
    try:
        return [int(word) for word in text.split()]
    except ValueError:
        raise InputError(
            f"the header of {path} is damaged: its dimensions are {text[:40]!r}", code="ct.unreadable"
        ) from None
