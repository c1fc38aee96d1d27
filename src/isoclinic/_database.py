"""A SQLite database for one process at a time, whose faults are errors that people can read."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ._files import writing
from .errors import InputError, UsageError


def opened(path: Path, tables: str, *, in_use: UsageError) -> sqlite3.Connection:
    """A database for this process alone, every change of which is written through to the disk.

    Args:
        path: of its file, made where it is missing.
        tables: SQL that makes the tables that are missing.
        in_use: raised where another process has the database open.

    Raises:
        UsageError: `in_use`.
        OSError: the file cannot be opened.
        sqlite3.DatabaseError: the file cannot be written, or is no database; see `writing_database`.
    """
    database = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")
        database.execute("PRAGMA synchronous = EXTRA")
        # Takes the lock, which ends with the process.
        database.execute("BEGIN EXCLUSIVE")
        database.execute("COMMIT")
        database.executescript(tables)
    except sqlite3.OperationalError as error:
        database.close()
        if "locked" in str(error):
            raise in_use from error
        raise
    except BaseException:
        database.close()
        raise
    return database


@contextmanager
def writing_database(place: Path, *, database: str, remedy: str, code: str) -> Iterator[None]:
    """Make what goes wrong with a database, or with files beside it, an InputError.

    Args:
        place: folder or file that is written, for the message.
        database: its name in the message, where it is damaged.
        remedy: what people can do then.
        code: of that error.

    Raises:
        InputError: something cannot be written, or the database is damaged.
    """
    try:
        with writing(place):
            yield
    except sqlite3.OperationalError as error:  # the disk is full, or fails
        raise InputError(f"{place} cannot be written: {error}", code="output.unwritable") from error
    except sqlite3.DatabaseError as error:
        raise InputError(f"{database} is damaged: {error}; {remedy}", code=code) from error
