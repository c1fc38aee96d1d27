"""The state of a workspace on disk: whole, written through, and used by one process at a time."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from .._database import opened, writing_database
from ..errors import InputError, UsageError

JOURNAL = "workspace.sqlite"
RECEIVED, MASKS, STARTS, RESULTS, POSES = "received", "masks", "starts", "results", "poses"
FOLDERS = (RECEIVED, MASKS, STARTS, RESULTS, POSES)
_TABLE = "CREATE TABLE IF NOT EXISTS state (id INTEGER PRIMARY KEY CHECK (id = 1), document TEXT NOT NULL)"


class Journal:
    """The folder of a workspace with its state, a SQLite database that every change is written through to.

    Args:
        folder: made where it is missing.

    Raises:
        UsageError: the folder is in use, or holds something else.
        InputError: it cannot be written, or its state is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._check_folder()
        with _writing(folder):
            # Uploaded images show patients: nobody else on this computer need see them.
            folder.mkdir(parents=True, exist_ok=True)
            for name in FOLDERS:
                (folder / name).mkdir(exist_ok=True, mode=0o700)
        self._db = self._opened()

    def close(self) -> None:
        """Let another process use the folder."""
        with self._lock:
            self._db.close()

    def read(self) -> dict[str, Any] | None:
        """The document that was written last; None before any.

        Raises:
            InputError: it cannot be read.
        """
        with self._lock, _writing(self.folder):
            found = self._db.execute("SELECT document FROM state").fetchone()
        try:
            return None if found is None else dict(json.loads(found[0]))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"the record of the workspace {self.folder / JOURNAL} is damaged; choose another folder",
                code="view.damaged",
            ) from error

    def write(self, document: dict[str, Any]) -> None:
        """Keep a document; once this returns, it is on disk, whatever happens next.

        Raises:
            InputError: it cannot be written; then the one before stays.
        """
        with self._lock, _writing(self.folder):
            self._db.execute("INSERT OR REPLACE INTO state VALUES (1, ?)", (json.dumps(document),))

    def new_path(self, folder: str, suffix: str) -> Path:
        """A place in one of the folders that is still free: the next number.

        Args:
            folder: one of `FOLDERS`.
            suffix: of the file, or "" for a folder.
        """
        place = self.folder / folder
        taken = [each.name.partition(".")[0].partition("-")[0] for each in place.iterdir()]
        number = 1 + max((int(name) for name in taken if name.isdecimal()), default=0)
        return place / f"{number:04}{suffix}"

    def _check_folder(self) -> None:
        folder = self.folder
        if (folder / JOURNAL).exists() or not folder.exists():
            return
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is a file, but a workspace needs a folder; choose another place",
                code="output.not-a-folder",
            )
        foreign = next(iter(folder.iterdir()), None)
        if foreign is not None:
            raise UsageError(
                f"{folder} contains {foreign.name}, and no workspace of isoclinic view; choose an empty or "
                "new folder",
                code="output.foreign-files",
            )

    def _opened(self) -> sqlite3.Connection:
        in_use = UsageError(
            f"{self.folder} is in use by another isoclinic view; end that, or choose another folder",
            code="view.in-use",
        )
        with _writing(self.folder):
            return opened(self.folder / JOURNAL, _TABLE, in_use=in_use)


def _writing(place: Path) -> AbstractContextManager[None]:
    """What goes wrong with files or the database becomes an InputError."""
    database = f"the record of the workspace {place / JOURNAL}"
    return writing_database(place, database=database, remedy="choose another folder", code="view.damaged")
