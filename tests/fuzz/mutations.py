"""Damage to files: blind, and such as knows the format's header fields, numbers and keys."""

from __future__ import annotations

import gzip
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

Random = np.random.Generator
Mutation = Callable[[bytes, Random], bytes]

WHOLE = (
    0,
    1,
    -1,
    2,
    7,
    127,
    128,
    255,
    256,
    32767,
    32768,
    65535,
    65536,
    10**6,
    2**31 - 1,
    -(2**31),
    2**32 - 1,
)
REAL = (0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, 1e308, np.inf, -np.inf, np.nan, 65536.0, 0.5)
WORDS = (
    "",
    "0",
    "-1",
    "1e400",
    "nan",
    "inf",
    "1" + "0" * 400,
    "99999999999",
    "\x00",
    "ä",
    "../x",
    "null",
    "{}",
    "[]",
)
_HEAD = 1024


def _place(size: int, rng: Random) -> int:
    """Somewhere in the file, in half of all cases in its head."""
    return int(rng.integers(min(size, _HEAD) if rng.random() < 0.5 else size))


# Blind --------------------------------------------------------------------------------------------------


def bit_flips(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 9))):
        changed[_place(len(changed), rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def interesting_bytes(content: bytes, rng: Random) -> bytes:
    """A number of one to eight bytes in either order, or a real one."""
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        if rng.random() < 0.7:
            width = int(rng.choice([1, 2, 4, 8]))
            value = int(rng.choice(WHOLE)) % (1 << 8 * width)
            number = value.to_bytes(width, "little" if rng.random() < 0.8 else "big")
        else:
            number = struct.pack("<f" if rng.random() < 0.5 else "<d", np.float32(rng.choice(REAL)))
        place = _place(len(changed), rng)
        changed[place : place + len(number)] = number
    return bytes(changed)


def cut(content: bytes, rng: Random) -> bytes:
    return content[: _place(len(content), rng)]


def block_taken_out(content: bytes, rng: Random) -> bytes:
    first = _place(len(content), rng)
    return content[:first] + content[first + int(rng.integers(1, 200)) :]


def block_doubled(content: bytes, rng: Random) -> bytes:
    first = _place(len(content), rng)
    last = first + int(rng.integers(1, 400))
    return content[:last] + content[first:]


def blocks_swapped(content: bytes, rng: Random) -> bytes:
    a, b = sorted(_place(len(content), rng) for _ in range(2))
    size = int(rng.integers(1, 64))
    return (
        content[:a]
        + content[b : b + size]
        + content[a + size : b]
        + content[a : a + size]
        + content[b + size :]
    )


def more_at_the_end(content: bytes, rng: Random) -> bytes:
    return content + rng.bytes(int(rng.integers(1, 300)))


BLIND: tuple[Mutation, ...] = (
    *(bit_flips, interesting_bytes, cut, block_taken_out, block_doubled, blocks_swapped, more_at_the_end),
)

# Texts --------------------------------------------------------------------------------------------------

_NUMBER = re.compile(r"-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(r"[A-Za-z_]\w*")


def text(content: bytes, rng: Random) -> bytes:
    """A number, a word, a line or a bracket changed; what is no text is damaged blindly."""
    try:
        decoded = content.decode("utf-8")
    except UnicodeDecodeError:
        return blind(content, rng)
    for _ in range(int(rng.integers(1, 4))):
        decoded = _TEXT_EDITS[rng.integers(len(_TEXT_EDITS))](decoded, rng)
    return decoded.encode("utf-8", "surrogatepass")


def _replaced(pattern: re.Pattern[str], decoded: str, rng: Random, new: str) -> str:
    found = list(pattern.finditer(decoded))
    if not found:
        return decoded
    match = found[rng.integers(len(found))]
    return decoded[: match.start()] + new + decoded[match.end() :]


def _number(decoded: str, rng: Random) -> str:
    values = [*map(str, WHOLE), *map(repr, map(float, REAL)), *WORDS]
    return _replaced(_NUMBER, decoded, rng, str(rng.choice(values)))


def _word(decoded: str, rng: Random) -> str:
    words = _WORD.findall(decoded) or [""]
    return _replaced(_WORD, decoded, rng, str(rng.choice([*WORDS, str(rng.choice(words))])))


def _line(decoded: str, rng: Random) -> str:
    lines = decoded.split("\n")
    index = int(rng.integers(len(lines)))
    how = rng.integers(3)
    if how == 0:
        del lines[index]
    elif how == 1:
        lines.insert(int(rng.integers(len(lines))), lines[index])
    else:
        lines[index] = lines[index] * int(rng.integers(2, 50))
    return "\n".join(lines)


def _bracket(decoded: str, rng: Random) -> str:
    place = int(rng.integers(len(decoded) + 1))
    pieces = ["[", "]", "{", "}", '"', ",", ":", "<", ">", "=", "[" * 3000, "<a>" * 2000, "\0", "\r", "#"]
    return decoded[:place] + str(rng.choice(pieces)) + decoded[place + int(rng.integers(2)) :]


_TEXT_EDITS = (_number, _number, _word, _line, _bracket)


def text_head(content: bytes, rng: Random) -> bytes:
    """The text before the voxels of NRRD (to the first empty line) or MetaImage (to ElementDataFile)."""
    end = content.find(b"\n\n")
    if content.startswith(b"NRRD") and end > 0:
        return text(content[:end], rng) + content[end:]
    found = content.find(b"ElementDataFile")
    end = content.find(b"\n", found) if found >= 0 else min(len(content), _HEAD)
    return text(content[:end], rng) + content[end:]


# Formats ------------------------------------------------------------------------------------------------

# Offset and type of the fields of a NIfTI-1 header, https://nifti.nimh.nih.gov/pub/dist/src/niftilib/nifti1.h
_NIFTI = (
    *((0, "<i"), (39, "<b"), (70, "<h"), (72, "<h"), (108, "<f"), (112, "<f"), (116, "<f"), (123, "<B")),
    *((40 + 2 * i, "<h") for i in range(8)),
    *((76 + 4 * i, "<f") for i in range(8)),
    *((252, "<h"), (254, "<h"), (344, "<4s"), (348, "<4s")),
    *((256 + 4 * i, "<f") for i in range(18)),
)
_DATATYPES = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 768, 1024, 1280, 1536, 1792, 2048, 2304, 9999)


def nifti(content: bytes, rng: Random) -> bytes:
    """Header fields; inside of gzip where the file is compressed."""
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(nifti(gzip.decompress(content), rng), compresslevel=1)
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        offset, kind = _NIFTI[rng.integers(len(_NIFTI))]
        struct.pack_into(kind, changed, offset, _field(kind, offset, rng))
    return bytes(changed)


def _field(kind: str, offset: int, rng: Random) -> float | int | bytes:
    if kind == "<4s":
        return rng.bytes(4)
    if kind == "<f":
        return float(np.float32(rng.choice(REAL)))
    if offset == 70:
        return int(rng.choice(_DATATYPES))
    low, high = (-128, 127) if kind == "<b" else (0, 255) if kind == "<B" else (-(2**31), 2**31 - 1)
    low, high = (-(2**15), 2**15 - 1) if kind == "<h" else (low, high)
    return int(np.clip(int(rng.choice(WHOLE)), low, high))


_COUNTS = ("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit")
_GEOMETRY = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "ImagerPixelSpacing", "WindowWidth"),
    *(
        "RescaleSlope",
        "RescaleIntercept",
        "SliceThickness",
        "DistanceSourceToDetector",
        "PositionerPrimaryAngle",
    ),
    *(
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
        "FieldOfViewOrigin",
        "ShutterLeftVerticalEdge",
        "LUTDescriptor",
    ),
    *(
        "MaximumFractionalValue",
        "ReferencedSegmentNumber",
        "SegmentNumber",
        "PixelRepresentation",
        "LargestImagePixelValue",
    ),
)
_CODES = (
    *("PhotometricInterpretation", "Modality", "ImageType", "SegmentationType", "PixelIntensityRelationship"),
    *("SOPClassUID", "SeriesInstanceUID", "SpecificCharacterSet", "PatientPosition", "PresentationLUTShape"),
)
_CODE_VALUES = (
    "",
    "CT",
    "XA",
    "SEG",
    "RTSTRUCT",
    "MONOCHROME1",
    "RGB",
    "PALETTE COLOR",
    "YBR_FULL",
    "LOG",
    "1.2",
    "\\",
    "ISO_IR 100",
)
_SYNTAXES = (
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian),
    *(RLELossless, JPEG2000, JPEGBaseline8Bit, "1.2.3", ""),
)


def dicom(content: bytes, rng: Random) -> bytes:
    """Elements taken out, emptied, with other values, doubled sequences and another transfer syntax."""
    from io import BytesIO

    dataset = pydicom.dcmread(BytesIO(content), force=True)
    for _ in range(int(rng.integers(1, 4))):
        _change(dataset, rng)
    changed = BytesIO()
    dataset.save_as(changed, enforce_file_format=False)
    return changed.getvalue()


def _change(dataset: Dataset, rng: Random) -> None:
    parent, keywords = dataset, [element.keyword for element in dataset if element.keyword]
    for _ in range(4):  # into sequences
        sequences = [element for element in parent if element.VR == "SQ" and len(element.value)]
        if not sequences or rng.random() < 0.4:
            break
        items = sequences[rng.integers(len(sequences))].value
        parent = items[rng.integers(len(items))]
        keywords = [element.keyword for element in parent if element.keyword]
    if not keywords:
        return
    how = rng.random()
    keyword = str(rng.choice(keywords))
    if how < 0.15:
        delattr(parent, keyword)
    elif how < 0.25 and parent[keyword].VR == "SQ":
        items = list(parent[keyword].value)
        parent[keyword].value = items[: len(items) // 2] if rng.random() < 0.5 else items + items
    elif how < 0.35 and parent[keyword].VR != "SQ":
        parent[keyword].value = None
    elif how < 0.4:
        dataset.file_meta.TransferSyntaxUID = str(rng.choice(_SYNTAXES))
    elif how < 0.6:
        setattr(
            dataset, str(rng.choice(_COUNTS)), int(rng.choice([0, 1, 2, 3, 8, 12, 16, 31, 32, 64, 65535]))
        )
    elif how < 0.7:
        setattr(dataset, str(rng.choice(_CODES)), str(rng.choice(_CODE_VALUES)))
    elif keyword in _GEOMETRY or how < 0.85:
        wanted = [name for name in keywords if name in _GEOMETRY] or [keyword]
        _other_number(parent, str(rng.choice(wanted)), rng)
    elif "PixelData" in dataset:
        pixels = bytes(dataset.PixelData)
        dataset.PixelData = blind(pixels, rng) if pixels else b"\0"


def _other_number(parent: Dataset, keyword: str, rng: Random) -> None:
    element = parent[keyword]
    value = element.value
    number = float(rng.choice(REAL)) if rng.random() < 0.5 else int(rng.choice(WHOLE))
    if element.VR in ("DS", "IS"):
        word = str(rng.choice(["", "nan", "inf", "1e400", "x", "1\\2", str(number)[:16]]))
        element._value = (
            word if not isinstance(value, list | pydicom.multival.MultiValue) else [word, *list(value)[1:]]
        )
    elif element.VR in ("US", "SS", "UL", "SL"):
        element.value = int(np.clip(number if np.isfinite(number) else 0, 0, 65535))
    elif element.VR in ("FL", "FD"):
        element.value = number
    elif isinstance(value, str):
        element.value = str(rng.choice(WORDS))


def png(content: bytes, rng: Random) -> bytes:
    """Width, height, depth and kind of the first chunk, with its checksum put right."""
    changed = bytearray(content)
    field, size = [(16, 4), (20, 4), (24, 1), (25, 1), (26, 1), (28, 1)][rng.integers(6)]
    changed[field : field + size] = (int(rng.choice(WHOLE)) % (1 << 8 * size)).to_bytes(size, "big")
    changed[29:33] = zlib.crc32(bytes(changed[12:29])).to_bytes(4, "big")
    return bytes(changed)


def tiff(content: bytes, rng: Random) -> bytes:
    """An entry of the first directory: tag, type, count or value."""
    changed = bytearray(content)
    order = "<" if content[:2] == b"II" else ">"
    directory = struct.unpack_from(f"{order}I", content, 4)[0]
    if directory + 2 > len(content):
        return blind(content, rng)
    count = struct.unpack_from(f"{order}H", content, directory)[0]
    entry = directory + 2 + 12 * int(rng.integers(max(count, 1)))
    offset, kind = [(0, "H"), (2, "H"), (4, "I"), (8, "I"), (8, "H")][rng.integers(5)]
    if entry + 12 > len(content):
        return blind(content, rng)
    limit = 65535 if kind == "H" else 2**32 - 1
    struct.pack_into(f"{order}{kind}", changed, entry + offset, int(rng.choice(WHOLE)) % (limit + 1))
    return bytes(changed)


def safetensors(content: bytes, rng: Random) -> bytes:
    """The JSON before the tensors, with its length right or not."""
    (length,) = struct.unpack_from("<Q", content)
    header = text(content[8 : 8 + length], rng)
    said = int(rng.choice(WHOLE)) % 2**64 if rng.random() < 0.2 else len(header)
    return struct.pack("<Q", said) + header + content[8 + length :]


def blind(content: bytes, rng: Random) -> bytes:
    """One of the mutations that know nothing, or several."""
    for _ in range(1 + int(rng.random() < 0.3)):
        content = BLIND[rng.integers(len(BLIND))](content, rng) if content else rng.bytes(8)
    return content


_BY_SUFFIX: dict[str, Mutation] = {
    **dict.fromkeys(
        (".json", ".toml", ".xml", ".yml", ".fcsv", ".tfm", ".txt", ".ctbl", ".tsv", ".csv"), text
    ),
    **dict.fromkeys((".nrrd", ".nhdr", ".mha", ".mhd"), text_head),
    **dict.fromkeys((".nii", ".gz"), nifti),
    **{".dcm": dicom, ".png": png, ".tif": tiff, ".safetensors": safetensors},
}


def mutated(path: Path, content: bytes, rng: Random) -> bytes:
    """The content of a file damaged: by what knows its format in three of four cases, else blindly."""
    known = _BY_SUFFIX.get(path.suffix.lower())
    if known is not None and content and rng.random() < 0.75:
        try:
            return known(content, rng)
        except Exception:  # what cannot be written so is damaged blindly
            pass
    return blind(content, rng)
