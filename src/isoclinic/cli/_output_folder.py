"""Output folders of commands that write little by little and can be resumed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import InputError


@contextmanager
def output_folder(path: Path) -> Iterator[None]:
    """Make a folder and those above it; those of them in which nothing is written are removed afterwards.

    Raises:
        InputError: the folder cannot be written to.
    """
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
