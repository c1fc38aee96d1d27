"""Errors a caller can act on: every message names the file or parameter at fault and the remedy.

Every error carries a `code` that stays the same when the wording of its message changes; `error_codes.CODES`
lists them all. Messages speak of parameters by their Python names in backticks; the command line shows them
as its options.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_PARAMETER = re.compile(r"`([A-Za-z_][\w.]*)`")


class IsoclinicError(Exception):
    """Base of all errors raised on purpose; the command line prints it and exits with `exit_code`.

    Args:
        message: what is wrong, in which file or parameter, and what to do.
        code: what kind of fault it is, from `error_codes.CODES`, such as "xray.geometry-missing".

    Attributes:
        code: as given.
    """

    exit_code = 1

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the parameters that the message speaks of, in its order, such as "sdd_mm"."""
        return tuple(dict.fromkeys(_PARAMETER.findall(str(self))))

    def __reduce__(self) -> tuple[object, ...]:
        """So that an error of another process arrives with its code."""
        return _restored, (type(self), str(self), self.code)


class InputError(IsoclinicError, ValueError):
    """A file or array that cannot be used as it is (exit code 1)."""


class UsageError(IsoclinicError, ValueError):
    """An option, argument or combination of them that makes no sense (exit code 2)."""

    exit_code = 2


def reworded(message: str, name: Callable[[str], str]) -> str:
    """A message with the parameters it speaks of named in another way, such as by their options.

    Args:
        message: of an error or a warning, with parameters in backticks.
        name: gives what to write instead of a parameter and its backticks.
    """
    return _PARAMETER.sub(lambda found: name(found[1]), message)


def _restored(kind: type[IsoclinicError], message: str, code: str) -> IsoclinicError:
    return kind(message, code=code)
