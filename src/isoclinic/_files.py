"""Writing files so that a reader never meets half of one, and reading text as other programs write it."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._interrupts import note_temporary, remove_temporary
from .errors import InputError

# Of a name that goes into that of a temporary file [bytes]: file systems allow 143 to 255 for a whole name.
_LONGEST_NAME = 100


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Path to write to in place of `path`: moved onto it when the block ends, removed when the block fails.

    A link stays: what it points to is written.

    Raises:
        InputError: the folder is missing or cannot be written to.
    """
    place = Path(os.path.realpath(path))
    temporary = place.with_name(f".{os.getpid()}.{shortened(path.name)}")
    note_temporary(temporary)
    try:
        with writing(path):
            yield temporary
            os.replace(temporary, place)
    finally:
        remove_temporary(temporary)


@contextmanager
def writing(place: Path) -> Iterator[None]:
    """Make an error of the system, while a file or folder is written, an InputError.

    Raises:
        InputError: it cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{place} cannot be written: {error.strerror or error}", code="output.unwritable"
        ) from error


@contextmanager
def reading(what: str, *, code: str) -> Iterator[None]:
    """Make an error of the system, while a file is read, an InputError.

    Args:
        what: is read, for the message: a file's path, or its kind and its path.
        code: of the error.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}", code=code) from error


def shortened(name: str) -> str:
    """The end of a file's name, suffix included, that leaves room for more."""
    while len(os.fsencode(name)) > _LONGEST_NAME:
        name = name[1:]
    return name


def read_text(path: Path) -> str:
    """The text of a file in UTF-8, with or without byte order mark, or in UTF-16 with one.

    Lines end in line feeds, whatever they end in in the file.

    Raises:
        OSError: it cannot be read.
        UnicodeDecodeError: it is in another encoding, or no text.
    """
    content = path.read_bytes()
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = content.decode("utf-16" if utf_16 else "utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")
