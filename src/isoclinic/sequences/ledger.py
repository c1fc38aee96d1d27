"""The ledger of a run: one line of JSON for each frame that is done, on disk before the next one begins."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files import reading, writing
from .._interrupts import Held
from ..errors import InputError, UsageError
from .record import FrameRecord

FORMAT, VERSION = "isoclinic.track", 1
# How a message calls what the results depend on, by the entry of the first line's `key`.
PARTS = {
    "isoclinic": "another version of isoclinic",
    "volume": "another CT",
    "xrays": "other X-rays",
    "second_plane": "other X-rays of the second plane",
    "views": "another geometry of the planes",
    "reading": "other settings of how X-rays are read",
    "start": "another start",
    "model": "another model",
    "structures": "other structures or labels",
    "settings": "other settings of the registration",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class LedgerLine:
    """A frame that is done.

    Attributes:
        record: what is known about it.
        state: what the next frame depends on; see `Tracker.state`.
    """

    record: FrameRecord
    state: Mapping[str, Any]


class Ledger:
    """A file of lines of JSON: the first says what the results depend on, each further one is a frame's.

    Args:
        path: of the file.
        key: digests of everything that results depend on, by `PARTS`.
    """

    def __init__(self, path: Path, key: Mapping[str, str]) -> None:
        self.path = path
        self._key = dict(key)
        # Length of what this object knows to be there, once it has written or read it.
        self._length: int | None = None

    def begin(self, count: int) -> None:
        """Write the first line of a new ledger, in the place of an older one.

        Args:
            count: frames of the run.

        Raises:
            InputError: the file cannot be written.
        """
        first = {"format": FORMAT, "version": VERSION, "frames": count, "key": self._key}
        self._write(first, "wb")

    def append(self, line: LedgerLine) -> None:
        """Write a frame's line; it is on disk when this returns, and never there by half.

        Raises:
            InputError: the file cannot be written, as where the disk is full; or another process has written
                to it meanwhile.
        """
        self._check_alone()
        self._write({**line.record.document(), "state": line.state}, "ab")

    def count(self) -> int:
        """The number of frames whose lines are whole.

        Raises:
            OSError: the file cannot be read.
        """
        return max(self.path.read_bytes().count(b"\n") - 1, 0) if self.path.exists() else 0

    def resume(self) -> tuple[list[LedgerLine], str]:
        """The frames that are done, and what is to be said of the file; a half-written last line is removed.

        Raises:
            InputError: the file cannot be read, or is damaged before its last line.
            UsageError: its results depend on something else.
        """
        with reading(str(self.path), code="sequence.unreadable"):
            content = self.path.read_bytes()
        whole, _, rest = content.rpartition(b"\n")
        texts = whole.split(b"\n") if whole else []
        documents = [self._parsed(text, number) for number, text in enumerate(texts[:-1], start=1)]
        note = ""
        last = _document(texts[-1]) if texts else None
        if last is not None:
            documents.append(last)
        if last is None or rest:
            note = f"the last line of {self.path} was written by half, and is dropped"
        if not documents:
            raise InputError(
                f"{self.path} has no complete line; start again with `overwrite`", code="sequence.damaged"
            )
        self._check(documents[0])
        lines = [self._line(document, number) for number, document in enumerate(documents[1:])]
        self._length = sum(len(text) + 1 for text in texts[: len(documents)])
        if note:
            self._cut(self._length)
        return lines, note

    def _check_alone(self) -> None:
        """Raises InputError where the file is not as this object has left it."""
        with writing(self.path):
            found = self.path.stat().st_size
        if self._length is not None and found != self._length:
            raise InputError(
                f"{self.path} was changed by another program meanwhile, such as a second isoclinic track; "
                "nothing more is written to it",
                code="sequence.changed-meanwhile",
            )

    def _parsed(self, text: bytes, number: int) -> Mapping[str, Any]:
        document = _document(text)
        if document is None:
            raise InputError(
                f"line {number} of {self.path} is not a JSON object; start again with `overwrite`",
                code="sequence.damaged",
            )
        return document

    def _check(self, first: Mapping[str, Any]) -> None:
        if first.get("format") != FORMAT or first.get("version") != VERSION:
            raise InputError(
                f"{self.path} is not a ledger of this version of isoclinic", code="sequence.damaged"
            )
        key = first.get("key")
        its = key if isinstance(key, dict) else {}
        different = [what for part, what in PARTS.items() if its.get(part) != self._key.get(part)]
        if different:
            raise UsageError(
                f"{self.path} holds results of {' and '.join(different)}, which must not be mixed with "
                "these; choose another `output`, or start again with `overwrite`",
                code="output.of-other-settings",
            )

    def _line(self, document: Mapping[str, Any], index: int) -> LedgerLine:
        where = f"line {index + 2} of {self.path}"
        record, state = FrameRecord.restored(document, where), document.get("state")
        if record.index != index or not isinstance(state, dict):
            raise InputError(f"{where} is not the record of frame {index}", code="sequence.damaged")
        return LedgerLine(record=record, state=state)

    def _cut(self, length: int) -> None:
        with self._opened("r+b") as file:
            file.truncate(length)
            os.fsync(file.fileno())

    def _write(self, document: Mapping[str, Any], mode: str) -> None:
        text = json.dumps(document, allow_nan=False, ensure_ascii=False).encode() + b"\n"
        # A line must be there as a whole before a signal ends the command.
        with Held(), self._opened(mode) as file:
            with writing(self.path):
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            self._length = file.tell()

    def _opened(self, mode: str) -> Any:
        with writing(self.path):
            return self.path.open(mode)


def _document(text: bytes) -> Mapping[str, Any] | None:
    try:
        document = json.loads(text)
    except (RecursionError, ValueError):
        return None
    return document if isinstance(document, dict) else None
