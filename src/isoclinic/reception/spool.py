"""Received images on disk, and a ledger of what has become of each."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .._database import opened, writing_database
from ..errors import InputError, UsageError
from .digest import image_digest

LEDGER, IMAGES = "ledger.sqlite", "received"
State = Literal["received", "registering", "done", "failed"]
STATES: tuple[State, ...] = ("received", "registering", "done", "failed")
_TABLES = """
CREATE TABLE IF NOT EXISTS images (
    number INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, file TEXT NOT NULL, source TEXT NOT NULL,
    received_at TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL DEFAULT 0, finished INTEGER,
    line TEXT);
CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS delivered (
    place TEXT NOT NULL, number INTEGER NOT NULL, PRIMARY KEY (place, number)) WITHOUT ROWID;
"""
# In the ledger: what no other folder has.
_IDENTITY = "identity"
_COLUMNS = "number, digest, file, source, received_at, attempts"


@dataclass(frozen=True, kw_only=True)
class ReceivedImage:
    """An image that was received.

    Attributes:
        number: its place in the order of arrival, from 1.
        digest: see `image_digest`.
        path: of its file.
        source: "dicom:AE-TITLE" or "folder".
        received_at: when it was received, in ISO 8601, UTC.
        attempts: how often its registration was begun, this time included.
    """

    number: int
    digest: str
    path: Path
    source: str
    received_at: str
    attempts: int

    @property
    def name(self) -> str:
        """How logs call it: no name of a patient, and no file name, which may hold one."""
        return f"image {self.number} ({self.digest[:12]})"


class Spool:
    """A folder of received images with its ledger; several threads may use it, but one process only.

    The ledger is a SQLite database that is written through to the disk by every change (`synchronous` EXTRA).
    An image is in one of four states: received, registering, done or failed.

    Args:
        folder: for the images and the ledger; made where it is missing.
        volume_sha256: digest of the CT to which its images are registered.

    Raises:
        UsageError: the folder is in use, belongs to another CT, or holds something else.
        InputError: it cannot be written, or its ledger is damaged or gone.
    """

    def __init__(self, folder: Path, volume_sha256: str) -> None:
        self.folder = folder
        self._images = folder / IMAGES
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._check_folder()
        with _writing(folder):
            # Images show patients: nobody else on this computer need see them.
            self._images.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = self._opened()
        try:
            self._check_volume(volume_sha256)
            self._remove_unacknowledged()
        except BaseException:
            self._db.close()
            raise

    @property
    def identity(self) -> str:
        """What no other folder has."""
        return str(self.about(_IDENTITY))

    def close(self) -> None:
        """Let another process use the folder."""
        with self._lock:
            self._db.close()

    def store(
        self,
        content: bytes,
        *,
        source: str,
        suffix: str = ".dcm",
        sidecars: Mapping[str, bytes] | None = None,
    ) -> tuple[str, bool]:
        """Keep an image; once this returns, it is on disk and in the ledger, whatever happens next.

        Args:
            content: of its file.
            source: where it came from; see `ReceivedImage`.
            suffix: of its file.
            sidecars: files that describe it, by their suffixes, such as ".json".

        Returns:
            Its digest, and whether it is new: an image that is there already is not kept twice.

        Raises:
            InputError: it cannot be written, as where the disk is full; nothing of it stays.
        """
        digest = image_digest(content, sidecars)
        files = [self._images / f"{digest}{each}" for each in (*(sidecars or {}), suffix)]
        with self._lock, _writing(self._images):
            if self._rows("SELECT 1 FROM images WHERE digest = ?", digest):
                return digest, False
            try:
                for file, each in zip(files, (*(sidecars or {}).values(), content), strict=True):
                    _write_through(file, each)
                sync_folder(self._images)
                self._db.execute(
                    "INSERT INTO images (digest, file, source, received_at, state) VALUES (?, ?, ?, ?, ?)",
                    (digest, files[-1].name, source, now(), "received"),
                )
            except BaseException:
                for file in files:
                    with suppress(OSError):
                        file.unlink(missing_ok=True)
                raise
        self._arrived.set()
        return digest, True

    def next(self) -> ReceivedImage | None:
        """The first image that waits, which is then being registered; None where none waits.

        Raises:
            InputError: the ledger cannot be written.
        """
        with self._lock, _writing(self.folder):
            self._arrived.clear()
            waiting = "SELECT min(number) FROM images WHERE state = 'received'"
            found = self._rows(f"SELECT {_COLUMNS} FROM images WHERE number = ({waiting})")
            if not found:
                return None
            image = self._image(found[0])
            image = replace(image, attempts=image.attempts + 1)
            self._db.execute(
                "UPDATE images SET state = 'registering', attempts = ? WHERE number = ?",
                (image.attempts, image.number),
            )
        return image

    def wait(self, timeout_s: float) -> None:
        """Wait for an image to arrive, for so long at most."""
        self._arrived.wait(timeout_s)

    def registering(self) -> list[ReceivedImage]:
        """Images that were begun and neither finished nor put back."""
        with self._lock, _writing(self.folder):
            found = self._rows(f"SELECT {_COLUMNS} FROM images WHERE state = 'registering' ORDER BY number")
        return [self._image(row) for row in found]

    def put_back(self, image: ReceivedImage, *, counts: bool = False) -> None:
        """Let an image wait again.

        Args:
            image: that was begun.
            counts: whether this attempt counts.

        Raises:
            InputError: the ledger cannot be written.
        """
        with self._lock, _writing(self.folder):
            self._db.execute(
                "UPDATE images SET state = 'received', attempts = ? WHERE number = ?",
                (image.attempts - (not counts), image.number),
            )
        self._arrived.set()

    def retry_failed(self) -> int:
        """Let images that failed wait again; the number of them.

        Raises:
            InputError: the ledger cannot be written.
        """
        with self._lock, _writing(self.folder), self._transaction():
            self._db.execute(
                "DELETE FROM delivered WHERE number IN (SELECT number FROM images WHERE state = 'failed')"
            )
            changed = self._db.execute(
                "UPDATE images SET state = 'received', attempts = 0, line = NULL, finished = NULL "
                "WHERE state = 'failed'"
            )
        return changed.rowcount

    def finish(
        self,
        image: ReceivedImage,
        state: Literal["done", "failed"],
        line: Mapping[str, Any],
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Say what has become of an image.

        Args:
            image: that was begun.
            state: its last one.
            line: what is told of it, as JSON can hold it.
            about: further values to keep with the change; see `about`.

        Raises:
            InputError: the ledger cannot be written.
        """
        with self._lock, _writing(self.folder), self._transaction():
            self._db.execute(
                "UPDATE images SET state = ?, line = ?, finished = "
                "(SELECT coalesce(max(finished), 0) + 1 FROM images) WHERE number = ?",
                (state, json.dumps(line, allow_nan=False), image.number),
            )
            for name, value in (about or {}).items():
                self._keep(name, value)

    def undelivered(self, place: str) -> list[dict[str, Any]]:
        """Lines of `lines` that are not known to have arrived at a place, such as "webhook"."""
        with self._lock, _writing(self.folder):
            found = self._rows(
                "SELECT line FROM images WHERE finished IS NOT NULL AND number NOT IN "
                "(SELECT number FROM delivered WHERE place = ?) ORDER BY finished",
                place,
            )
        return [json.loads(line) for (line,) in found]

    def delivered(self, place: str, line: Mapping[str, Any]) -> None:
        """Note that a line has arrived at a place.

        Raises:
            InputError: the ledger cannot be written.
        """
        with self._lock, _writing(self.folder):
            # Not if the image was begun again meanwhile, so that its next line is another one.
            self._db.execute(
                "INSERT OR IGNORE INTO delivered SELECT ?, number FROM images WHERE number = ? AND line = ?",
                (place, line["number"], json.dumps(line, allow_nan=False)),
            )

    def file_of(self, line: Mapping[str, Any]) -> Path:
        """The file of the image that a line is about."""
        with self._lock, _writing(self.folder):
            ((name,),) = self._rows("SELECT file FROM images WHERE number = ?", line["number"])
        return self._images / str(name)

    def about(self, name: str) -> Any:
        """A value that was kept by `finish`; None where there is none."""
        with self._lock, _writing(self.folder):
            found = self._rows("SELECT value FROM about WHERE name = ?", name)
        return json.loads(found[0][0]) if found else None

    def lines(self) -> list[dict[str, Any]]:
        """What is told of each image that is done or failed, in the order in which they were finished."""
        with self._lock, _writing(self.folder):
            found = self._rows("SELECT line FROM images WHERE finished IS NOT NULL ORDER BY finished")
        return [json.loads(line) for (line,) in found]

    def counts(self) -> dict[State, int]:
        """The number of images in each state."""
        with self._lock, _writing(self.folder):
            found = dict(self._rows("SELECT state, count(*) FROM images GROUP BY state"))
        return {state: found.get(state, 0) for state in STATES}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All changes or none."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            # SQLite has already rolled back where the disk is full.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _image(self, row: tuple[Any, ...]) -> ReceivedImage:
        number, digest, file, source, received_at, attempts = row
        return ReceivedImage(
            number=number,
            digest=digest,
            path=self._images / file,
            source=source,
            received_at=received_at,
            attempts=attempts,
        )

    def _rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self._db.execute(statement, values).fetchall()

    def _keep(self, name: str, value: Any) -> None:
        self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, json.dumps(value)))

    def _check_folder(self) -> None:
        folder, ledger = self.folder, self.folder / LEDGER
        if ledger.exists() or not folder.exists():
            return
        if not folder.is_dir():
            raise UsageError(
                f"{folder} is a file, but results need a folder; choose another place",
                code="output.not-a-folder",
            )
        if self._images.is_dir() and any(self._images.iterdir()):
            raise InputError(
                f"{self._images} holds received images, but their ledger {ledger} is gone: put it back, or "
                "move the images away and send them again",
                code="reception.damaged",
            )
        foreign = next((each for each in folder.iterdir() if each != self._images), None)
        if foreign is not None:
            raise UsageError(
                f"{folder} contains {foreign.name}, and no ledger of received images; choose an empty or new "
                "folder",
                code="output.foreign-files",
            )

    def _opened(self) -> sqlite3.Connection:
        in_use = UsageError(
            f"{self.folder} is in use by another isoclinic listen; end that, or choose another folder",
            code="reception.in-use",
        )
        with _writing(self.folder):
            return opened(self.folder / LEDGER, _TABLES, in_use=in_use)

    def _check_volume(self, sha256: str) -> None:
        if self.about(_IDENTITY) is None:
            with _writing(self.folder):
                self._keep(_IDENTITY, uuid.uuid4().hex)
        known = self.about("volume")
        if known is None:
            with _writing(self.folder):
                self._keep("volume", sha256)
        elif known != sha256:
            raise UsageError(
                f"{self.folder} holds images of another CT; choose another folder for this one",
                code="output.of-other-settings",
            )

    def _remove_unacknowledged(self) -> None:
        """Remove files that the ledger does not know: their senders were never told that they arrived."""
        with _writing(self._images):
            known = {digest for (digest,) in self._rows("SELECT digest FROM images")}
            for file in self._images.iterdir():
                if file.name.partition(".")[0] not in known:
                    file.unlink()


def now() -> str:
    """The time in ISO 8601, UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def sync_folder(folder: Path) -> None:
    """See to it that the names in a folder are on the disk.

    Raises:
        OSError: that failed.
    """
    if os.name == "nt":  # Windows has no such call; NTFS keeps a journal of names
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_through(file: Path, content: bytes) -> None:
    """Write a file that is on the disk, whole and under its name, when this returns; or not at all."""
    temporary = file.with_name(f".{file.name}.part")
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


def _writing(place: Path) -> AbstractContextManager[None]:
    """What goes wrong with files or the ledger becomes an InputError."""
    remedy = "move the folder away and choose another"
    return writing_database(
        place, database=f"the ledger {place / LEDGER}", remedy=remedy, code="reception.damaged"
    )
