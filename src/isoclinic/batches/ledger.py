"""The output folder of a batch as its ledger: which rows are done, and what their results depend on."""

from __future__ import annotations

import glob
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .._files import atomic, read_text, shortened
from .._folders import check_replaceable
from .._json import dumps
from ..errors import InputError, UsageError
from ..results import RESULT_FILES
from ..results.names import POSE
from .outcome import RowOutcome
from .plan import PARTS, RECORDS, RESULTS
from .rows import BatchRow

BATCH_FILE = "batch.json"
_DESCRIPTION = {"format": "isoclinic.batch", "version": 1}
_RECORD = {"format": "isoclinic.batch-row", "version": 1}


class Ledger:
    """The folder of a batch.

    Each row that is done has a folder `results/NAME`, then a picture `rows/NAME.jpg`, and last a record
    `rows/NAME.json`, by which a later run knows that it is done.

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def result(self, row: BatchRow) -> Path:
        """The folder of a row's result."""
        return self.folder / RESULTS / row.name

    def picture(self, row: BatchRow) -> Path:
        """The picture of a row for the summary."""
        return self.folder / RECORDS / f"{row.name}.jpg"

    def record(self, row: BatchRow) -> Path:
        """The record of a row."""
        return self.folder / RECORDS / f"{row.name}.json"

    def traceback(self, row: BatchRow) -> Path:
        """Where an error of the program itself is told in full."""
        return self.folder / RECORDS / f"{row.name}.txt"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other processes from the folder, once it was begun; the lock ends with this process.

        Raises:
            UsageError: another process registers into it.
        """
        try:
            import fcntl
        except ImportError:  # Windows has other locks
            yield
            return
        with (self.folder / BATCH_FILE).open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UsageError(
                    f"another process registers into `output` {self.folder} at the moment; wait for it, or "
                    "choose another folder",
                    code="batch.busy",
                ) from error
            except OSError:
                pass  # some network drives have no locks
            yield

    def begin(self) -> None:
        """Make the folder, or see to it that what is there is a batch.

        Raises:
            UsageError: it is a file, or holds something else.
            InputError: it cannot be written to, or is of another version.
        """
        path = self.folder / BATCH_FILE
        if self.folder.exists() and not self.folder.is_dir():
            raise UsageError(
                f"`output` {self.folder} is a file, but the result is a folder", code="output.not-a-folder"
            )
        if path.exists():
            if _document(path) != _DESCRIPTION:
                raise InputError(
                    f"{path} is no record of a batch of this version of isoclinic; choose another folder",
                    code="batch.unreadable",
                )
        elif self.folder.exists() and any(self.folder.iterdir()):
            raise UsageError(
                f"`output` {self.folder} contains files that are not those of a batch; choose another folder",
                code="output.foreign-files",
            )
        try:
            for name in (RESULTS, RECORDS):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"`output` {self.folder} cannot be written: {error.strerror or error}",
                code="output.unwritable",
            ) from error
        if not path.exists():
            with atomic(path) as temporary:
                temporary.write_text(dumps(_DESCRIPTION) + "\n", encoding="utf-8")

    def done(self, row: BatchRow, key: Mapping[str, str], *, overwrite: bool) -> RowOutcome | None:
        """The outcome of a row that is done already; None where it has to be registered.

        Args:
            row: the row.
            key: digests of everything that its result depends on.
            overwrite: let a result that depends on something else be replaced.

        Raises:
            UsageError: there is such a result, and it may not.
            InputError: the record cannot be read.
        """
        path = self.record(row)
        if not path.exists() or not (self.result(row) / POSE).exists():
            return None
        found = _document(path)
        its = found.get("key") if isinstance(found, dict) else None
        if not isinstance(its, dict) or {name: found.get(name) for name in _RECORD} != _RECORD:
            raise InputError(
                f"{path} is no record of a batch; remove it, and the row is registered again",
                code="batch.unreadable",
            )
        different = [what for part, what in PARTS.items() if its.get(part) != key[part]]
        if not different:
            return _restored(row, found, path)
        if overwrite:
            return None
        raise UsageError(
            f"`output` {self.folder} holds a result of {' and '.join(different)} (row {row.name}); choose "
            "another folder, or replace such results with `overwrite`",
            code="output.of-other-settings",
        )

    def keep(self, outcome: RowOutcome, key: Mapping[str, str]) -> None:
        """Write the record of a row whose result is in its folder.

        Raises:
            InputError: it cannot be written.
        """
        document = {
            **_RECORD,
            "key": key,
            "doubtful": outcome.doubtful,
            "warnings": outcome.warnings,
            "document": outcome.document,
        }
        with atomic(self.record(outcome.row)) as temporary:
            temporary.write_text(dumps(document) + "\n", encoding="utf-8")

    def forget(self, row: BatchRow) -> None:
        """Remove the result of a row, as where it is to be replaced, so that no old one is taken for new.

        Raises:
            UsageError: its folder holds files that isoclinic did not make.
        """
        folder = self.result(row)
        # First of all, so that what is removed by half is not taken for done.
        self.record(row).unlink(missing_ok=True)
        self.picture(row).unlink(missing_ok=True)
        self.traceback(row).unlink(missing_ok=True)
        if folder.exists():
            check_replaceable(folder, overwrite=True, known=RESULT_FILES)
            shutil.rmtree(folder)

    def sweep(self, rows: Iterable[BatchRow]) -> None:
        """Remove what processes left that were ended while they wrote results of these rows."""
        for row in rows:
            name = glob.escape(shortened(row.name))
            for left in (self.folder / RESULTS).glob(f".{name}.*"):
                if left.suffix in (".new", ".old"):
                    shutil.rmtree(left, ignore_errors=True)
            for path in (self.record(row), self.picture(row)):
                for left in path.parent.glob(f".*.{glob.escape(shortened(path.name))}"):
                    left.unlink(missing_ok=True)

    def others(self, rows: Iterable[BatchRow]) -> list[str]:
        """Names of results of no row of these, as where it was taken out of the table."""
        mine = {row.name for row in rows}
        return sorted({each.stem for each in (self.folder / RECORDS).glob("*.json")} - mine)


def _document(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except (OSError, RecursionError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}", code="batch.unreadable") from error


def _restored(row: BatchRow, found: Mapping[str, Any], path: Path) -> RowOutcome:
    document, doubtful, warnings = (found.get(name) for name in ("document", "doubtful", "warnings"))
    known = isinstance(document, dict) and isinstance(document.get("confidence"), dict)
    if not (known and isinstance(doubtful, bool) and isinstance(warnings, list)):
        raise InputError(
            f"{path} is damaged; remove it, and the row is registered again", code="batch.unreadable"
        )
    return RowOutcome(row=row, document=document, doubtful=doubtful, warnings=tuple(map(str, warnings)))
