"""What people see: results on standard output; progress, warnings and errors on standard error."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console

from ..errors import InputError


def results() -> Console:
    """The console for results: as wide as the terminal, or as a table needs where there is none."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=120)


def progress() -> Console:
    """The console for progress."""
    return Console(stderr=True, highlight=False)


def error_line(message: str) -> None:
    """Tell why the command failed."""
    _line("error", message)


def warning_line(message: str) -> None:
    """Tell what deserves attention although the command succeeded."""
    _line("warning", message)


@contextmanager
def plain_warnings() -> Iterator[None]:
    """Show warnings as lines for people, without the source code they came from."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        warning_line(str(message))

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


@contextmanager
def file_errors(what: str | Path) -> Iterator[None]:
    """Turn an error of the file system into one clear message.

    Raises:
        InputError: in place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{what}: {error.strerror or error}") from error


def _line(kind: str, message: str) -> None:
    # No wrapping: other programs read these lines, and no markup: messages hold paths and brackets.
    progress().print(f"isoclinic: {kind}: {message}", markup=False, soft_wrap=True)
