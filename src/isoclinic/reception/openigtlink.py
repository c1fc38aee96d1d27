"""Two messages of OpenIGTLink, TRANSFORM and STATUS, as bytes.

Sources are the protocol's documents (https://github.com/openigtlink/OpenIGTLink, `Documents/Protocol`:
header.md, timestamp.md, transform.md, status.md) and, where these say nothing, the library's own code. All
numbers are big endian. The header has version 1, which readers of all versions of the protocol understand.

The package pyigtl could send TRANSFORM, but no STATUS, to one client at a time, and replaces the signal
handlers of the process.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import datetime

# header.md, "Header Structure": version, type, device name, seconds and fraction of the time stamp, sizes of
# the body, CRC.
_HEADER = struct.Struct(">H12s20sIIQQ")
_HEADER_VERSION = 1
# transform.md: the columns of the matrix without the last row, which is 0, 0, 0, 1.
_TRANSFORM = struct.Struct(">12f")
# status.md: code, sub code, name of the error; the message follows.
_STATUS = struct.Struct(">Hq20s")
# Names end with a zero byte: the library copies all 20 bytes and reads up to the first zero
# (`igtlMessageHeader.cxx`, `igtlStatusMessage.cxx`).
LONGEST_NAME = 19
# status.md, "Status codes".
OK, UNKNOWN_ERROR, NOT_READY, SHUT_DOWN = 1, 2, 13, 19
# header.md refers to ECMA-182, whose annex B has this polynomial; the register begins with 0, most
# significant bit first (`crc64` in `Source/igtlutil/igtl_util.c`).
_POLYNOMIAL = 0x42F0E1EBA9EA3693
_MASK = (1 << 64) - 1


def transform_message(name: str, at: datetime, matrix: Sequence[Sequence[float]]) -> bytes:
    """A TRANSFORM message.

    3D Slicer makes the matrix the ToParent matrix of the transform node of that name, in RAS and mm
    (SlicerOpenIGTLink, `vtkMRMLIGTLConnectorNode::ProcessIncomingDeviceModifiedEvent`). It is sent in single
    precision.

    Args:
        name: of the device: ASCII, `LONGEST_NAME` characters at most.
        at: the time of what the matrix says.
        matrix: [4, 4] rigid, mm.
    """
    columns = [matrix[row][column] for column in range(4) for row in range(3)]
    return _message("TRANSFORM", name, at, _TRANSFORM.pack(*columns))


def status_message(name: str, at: datetime, *, code: int, number: int, error: str, text: str) -> bytes:
    """A STATUS message.

    Args:
        name: of the device: ASCII, `LONGEST_NAME` characters at most.
        at: the time of what it says.
        code: one of the codes of status.md.
        number: the sub code, which is for the sender to define.
        error: the name of the error, which is cut to `LONGEST_NAME` characters.
        text: for people.
    """
    # The library reads the text only if it ends with a zero byte (`StatusMessage::UnpackContent`).
    said = text.replace("\0", " ").encode("ascii", "replace") + b"\0"
    body = _STATUS.pack(code, number, error.encode("ascii", "replace")[:LONGEST_NAME]) + said
    return _message("STATUS", name, at, body)


def _message(kind: str, name: str, at: datetime, body: bytes) -> bytes:
    seconds, fraction = _time_stamp(at)
    header = (_HEADER_VERSION, kind.encode("ascii"), name.encode("ascii")[:LONGEST_NAME], seconds, fraction)
    return _HEADER.pack(*header, len(body), crc64(body)) + body


def _time_stamp(at: datetime) -> tuple[int, int]:
    """Seconds since 1970, UTC, and the fraction of a second in units of 2**-32 (timestamp.md)."""
    seconds = int(at.timestamp())
    return seconds, (at.microsecond << 32) // 1_000_000


def crc64(content: bytes) -> int:
    """The checksum of a message's body, as header.md defines it."""
    register = 0
    for byte in content:
        register = _TABLE[byte ^ (register >> 56)] ^ ((register << 8) & _MASK)
    return register


def _table() -> list[int]:
    """What each byte does to the register of the checksum."""
    table = []
    for byte in range(256):
        register = byte << 56
        for _ in range(8):
            carry = register >> 63
            register = ((register << 1) & _MASK) ^ (_POLYNOMIAL if carry else 0)
        table.append(register)
    return table


_TABLE = _table()
