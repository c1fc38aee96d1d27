"""Messages of OpenIGTLink, byte for byte as the library that defines them and as another program."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import numpy as np
import pytest

from isoclinic.reception.openigtlink import LONGEST_NAME, crc64, status_message, transform_message

# `igtl_test_data_transform.h` and `igtl_test_data_status.h` of the OpenIGTLink library (Testing/igtlutil,
# BSD licence): what its own tests expect. Both have the time stamp 1234567890 in the place of the fraction
# and 0 seconds.
TRANSFORM = bytes.fromhex(
    "0001 5452414e53464f524d000000 4465766963654e616d6500000000000000000000 00000000499602d4"
    "0000000000000030 f6dd2b8eb4df6dd2"
    "BF7473CD3E4959E6 BE63DD98BE4959E6 3E12491B3F7852D6 3E63DD983F7852D6 BDC830AE42383660 419BC46742383660"
)
STATUS = bytes.fromhex(
    "0001 535441545553000000000000 4465766963654e616d6500000000000000000000 00000000499602d4"
    "0000000000000036 98ee43eed8e431cf"
    "000f 000000000000000a 4143545541544f525f44495341424c4544000000"
    "4163747561746f722041206973206469736162 6c65642e00"
)
MATRIX = [
    [-0.954892, 0.196632, -0.222525, 46.0531],
    [0.196632, 0.142857, 0.970014, 19.4709],
    [-0.222525, 0.970014, -0.0977491, 46.0531],
    [0.0, 0.0, 0.0, 1.0],
]
AT = datetime(2026, 1, 2, 3, 4, 5, 750_000, tzinfo=UTC)


def test_the_transform_is_that_of_the_library():
    """The numbers of its test are the columns of this matrix, in single precision."""
    columns = np.frombuffer(TRANSFORM[58:], ">f4").reshape(4, 3)
    matrix = np.eye(4)
    matrix[:3] = columns.T
    made = transform_message("DeviceName", AT, matrix.tolist())
    assert made[:34] + made[42:] == TRANSFORM[:34] + TRANSFORM[42:]


def test_the_status_is_that_of_the_library():
    text, error = "Actuator A is disabled.", "ACTUATOR_DISABLED"
    made = status_message("DeviceName", AT, code=15, number=10, error=error, text=text)
    assert made[:34] + made[42:] == STATUS[:34] + STATUS[42:]


def test_the_time_stamp_is_in_seconds_and_their_fraction():
    made = transform_message("x", AT, MATRIX)
    seconds, fraction = struct.unpack(">II", made[34:42])
    assert seconds == AT.timestamp() - 0.75 and fraction == 0.75 * 2**32


def test_the_checksum_is_that_of_another_implementation():
    messages = pytest.importorskip("pyigtl.messages")
    generator = np.random.default_rng(0)
    for count in (0, 1, 48, 1000):
        content = generator.bytes(count)
        assert crc64(content) == messages.CRC64(content)


def test_another_program_makes_the_same_transform():
    messages = pytest.importorskip("pyigtl.messages")
    theirs = messages.TransformMessage(np.array(MATRIX), timestamp=AT.timestamp(), device_name="isoclinic")
    ours, packed = transform_message("isoclinic", AT, MATRIX), theirs.pack()
    # Its fraction of a second is rounded in another way, in the last bits.
    assert ours[:38] + ours[42:] == packed[:38] + packed[42:]
    fractions = [int.from_bytes(each[38:42], "big") for each in (ours, packed)]
    assert abs(fractions[0] - fractions[1]) * 1e9 < 10 * 2**32


def test_long_and_foreign_texts():
    made = status_message("n" * 30, AT, code=2, number=-1, error="e" * 30, text="Größe\0x")
    assert made[14:34] == b"n" * LONGEST_NAME + b"\0"
    assert struct.unpack(">Hq20s", made[58:88]) == (2, -1, b"e" * LONGEST_NAME + b"\0")
    assert made[88:] == b"Gr??e x\0"
    assert int.from_bytes(made[42:50], "big") == len(made) - 58
