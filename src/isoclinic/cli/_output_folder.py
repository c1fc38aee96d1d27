"""Output folders of commands that write little by little and can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from .._folders import check_replaceable
from ..errors import InputError, UsageError


class Resumable(Protocol):
    """Options of a command that can be resumed."""

    @property
    def output(self) -> Path:
        """The folder."""
        ...

    @property
    def resume(self) -> bool:
        """Whether to continue what is in it."""
        ...

    @property
    def overwrite(self) -> bool:
        """Whether to remove what is in it."""
        ...


def check_resume(options: Resumable, what: str, *, code: str) -> None:
    """Refuse to continue what is to be removed.

    Args:
        options: of the command.
        what: it writes, such as "training".
        code: of the error.

    Raises:
        UsageError: both are asked for.
    """
    if options.resume and options.overwrite:
        raise UsageError(
            f"--resume continues a {what} that --overwrite would remove; choose one of the two", code=code
        )


@contextmanager
def output_folder(
    options: Resumable, what: str, state: str, *, known: frozenset[str], code: str
) -> Iterator[None]:
    """Make the folder and those above it; those in which nothing is written are removed afterwards.

    Args:
        options: of the command.
        what: it writes, such as "training".
        state: the file that it is resumed from.
        known: files that it may replace, as for `new_folder`.
        code: of the error about a folder that holds nothing to resume.

    Raises:
        UsageError: the folder holds something else, what is not to be touched, or nothing to resume.
        InputError: the folder cannot be written to.
    """
    path = options.output
    check_replaceable(
        path,
        overwrite=options.overwrite or options.resume,
        known=known,
        remedy="add --resume to continue it, or --overwrite",
    )
    if options.resume and not (path / state).exists():
        raise UsageError(f"--output {path} holds no {what} to --resume: there is no {state}", code=code)
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--output {path} cannot be written: {error.strerror}", code="output.unwritable"
        ) from error
    try:
        yield
    finally:
        for folder in made:
            with suppress(OSError):
                folder.rmdir()
