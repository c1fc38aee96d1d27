"""What makes two received files the same image."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

_PREAMBLE = 128
_MAGIC = b"DICM"
# (0002,0000) FileMetaInformationGroupLength, UL, of 4 bytes, and (0002,0010) TransferSyntaxUID, UI, both in
# Explicit VR Little Endian (PS3.10 section 7.1).
_GROUP_LENGTH = b"\x02\x00\x00\x00UL\x04\x00"
_SYNTAX_TAG = b"\x02\x00\x10\x00UI"


def image_digest(content: bytes, sidecars: Mapping[str, bytes] | None = None) -> str:
    """SHA-256 by which an image is known, as hexadecimal digits.

    Of a DICOM file, the preamble and the file meta information do not count, but for the transfer syntax:
    they tell who wrote the file, and differ where an image is both sent over the network and exported.

    Args:
        content: of the file.
        sidecars: contents of the files that describe it, by their suffixes; they count, too.
    """
    digest = hashlib.sha256()
    start = _start_of_data_set(content)
    digest.update(_transfer_syntax(content[:start]))
    digest.update(memoryview(content)[start:])
    for suffix, text in sorted((sidecars or {}).items()):
        digest.update(f"\n{suffix} {len(text)}\n".encode())
        digest.update(text)
    return digest.hexdigest()


def is_dicom(content: bytes) -> bool:
    """Whether a file begins as a DICOM file does (PS3.10 section 7.1)."""
    return content[_PREAMBLE : _PREAMBLE + 4] == _MAGIC


def _start_of_data_set(content: bytes) -> int:
    """Where the data set begins; 0 where that cannot be told, so that the whole file counts."""
    first = _PREAMBLE + 4
    value = first + len(_GROUP_LENGTH)
    if not is_dicom(content) or content[first:value] != _GROUP_LENGTH:
        return 0
    start = value + 4 + int.from_bytes(content[value : value + 4], "little")
    return start if start <= len(content) else 0


def _transfer_syntax(meta: bytes) -> bytes:
    """The UID of the transfer syntax in the file meta information, without padding."""
    _, found, rest = meta.partition(_SYNTAX_TAG)
    length = int.from_bytes(rest[:2], "little")
    return rest[2 : 2 + length].rstrip(b"\0 ") if found else b""
