"""The errors that a test expects, by class, code and the things that they name; their wording is free."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest

from isoclinic.error_codes import CODES
from isoclinic.errors import IsoclinicError


@contextmanager
def raises(
    kind: type[IsoclinicError], code: str, *names: object
) -> Iterator[pytest.ExceptionInfo[IsoclinicError]]:
    """Expect an error of exactly this class and code, whose message names each of these things.

    Args:
        kind: the class; a subclass is another error.
        code: one of `isoclinic.error_codes.CODES`.
        names: files, DICOM tags, options, parameters and values, as the message must write them. The command
            line shows a parameter in backticks as its option.
    """
    assert code in CODES, f"there is no code {code!r}"
    with pytest.raises(kind) as caught:
        yield caught
    error = caught.value
    assert type(error) is kind, f"{type(error).__name__} instead of {kind.__name__}: {error}"
    assert error.code == code, f"{error.code} instead of {code}: {error}"
    missing = [str(name) for name in names if not named(str(name), str(error))]
    assert not missing, f"the message does not name {missing}: {error}"


def named(name: str, message: str) -> bool:
    """Whether a message has this name as it stands, and not as a part of a longer word or number."""
    before = r"(?<!\w)(?<!\d\.)" if re.match(r"\w", name) else ""
    after = r"(?!\w)(?!\.\d)" if re.search(r"\w$", name) else ""
    return re.search(before + re.escape(name) + after, message) is not None


class Ran(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    def refused(self, status: int, code: str | None, *names: object) -> None:
        """Check that it ended with this exit status, and with one error line of this code that names these.

        Args:
            status: the exit status.
            code: one of `isoclinic.error_codes.CODES`, with which the line ends in brackets; None for what is
                no fault, such as an interruption.
            names: files, DICOM tags, options and values, as the line must write them.
        """
        assert code is None or code in CODES, f"there is no code {code!r}"
        errors = [line for line in self.err.splitlines() if line.startswith("isoclinic: error: ")]
        assert (self.code, len(errors)) == (status, 1), self
        found = re.search(r" \[([a-z0-9.-]+)\]$", errors[0])
        assert (found and found[1]) == code, f"not {code}: {errors[0]}"
        missing = [str(name) for name in names if not named(str(name), errors[0])]
        assert not missing, f"the error does not name {missing}: {errors[0]}"
