"""What people see: results on standard output; progress, warnings and errors on standard error."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console
from rich.progress import Progress, ProgressColumn

from ..errors import IsoclinicError
from ._wording import as_options

_WIDTH_IN_FILES = 120


class Interrupted(IsoclinicError):
    """Someone asked to stop, and there is something to say about what was done."""

    exit_code = 130


def show_any_name() -> None:
    """Let standard output show file names that its encoding lacks, as standard error does."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def results() -> Console:
    """The console for results."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH_IN_FILES)


def progress() -> Console:
    """The console for progress."""
    return Console(stderr=True, highlight=False)


def progress_bar(*columns: ProgressColumn) -> Progress:
    """A bar on the console for progress; none where nobody watches."""
    console = progress()
    return Progress(*columns, console=console, disable=not console.is_terminal)


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
def recorded_warnings() -> Iterator[list[str]]:
    """Collect the warnings of a block, which are shown as before."""
    said: list[str] = []
    with warnings.catch_warnings():
        show = warnings.showwarning

        def record(message: Warning | str, *where: Any, **more: Any) -> None:
            said.append(as_options(str(message)))
            show(message, *where, **more)

        warnings.showwarning = record
        yield said


def _line(kind: str, message: str) -> None:
    # Messages hold paths and brackets, so no markup; other programs read them, so no wrapping.
    progress().print(f"isoclinic: {kind}: {as_options(message)}", markup=False, soft_wrap=True)
