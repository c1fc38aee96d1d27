"""Files that a page uploads: into folders of the workspace, under names that are made here, up to a size."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from pathlib import Path

from ..errors import InputError, UsageError
from .config import LiveConfig
from .journal import RECEIVED, Journal

# Endings that say what a file is; of several that fit, the longest counts.
_SUFFIXES = (
    *(".nii", ".nii.gz", ".nrrd", ".seg.nrrd", ".nhdr", ".mha", ".mhd", ".raw", ".zraw", ".dcm", ".ima"),
    *(".png", ".tif", ".tiff", ".jpg", ".jpeg", ".jp2", ".webp", ".bmp", ".gif", ".pdf", ".zip", ".gz"),
    *(".json", ".mrk.json", ".fcsv", ".csv", ".tsv", ".txt", ".ctbl", ".lut", ".label", ".tfm", ".h5"),
)
# Images that consist of one file, or of a header that names its other one.
_HEADERS = (".mhd", ".nhdr", ".mha", ".nrrd", ".seg.nrrd", ".nii", ".nii.gz")
_LONGEST_NAME, _MOST_FILES = 60, 20_000
# Names that Windows gives to devices.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)


class Inbox:
    """Files that were uploaded since the program began, in batches: what was dropped or chosen together.

    Args:
        journal: of the workspace.
        config: with the limits.
    """

    def __init__(self, journal: Journal, config: LiveConfig) -> None:
        self._journal = journal
        self._config = config
        self._lock = threading.Lock()
        self._batches: dict[str, dict[str, Path]] = {}
        place = journal.folder / RECEIVED
        self._total = sum(file.stat().st_size for file in place.rglob("*") if file.is_file())

    def begin(self) -> str:
        """A new batch; returns what it is called."""
        with self._lock:
            folder = self._journal.new_path(RECEIVED, "")
            try:
                folder.mkdir(mode=0o700)
            except OSError as error:
                raise InputError(
                    f"{folder} cannot be written: {error.strerror}", code="output.unwritable"
                ) from error
            self._batches[folder.name] = {}
            return folder.name

    def batch(self, batch: str) -> Mapping[str, Path]:
        """Files of a batch by the names that they came with.

        Raises:
            UsageError: there is no such batch, or it is empty.
        """
        with self._lock:
            found = dict(self._batches.get(batch, {}))
        if not found:
            raise UsageError("no file has arrived; choose it again", code="view.invalid-request")
        return found

    async def receive(self, batch: str, name: str, parts: AsyncIterator[bytes]) -> None:
        """Take a file; what is half sent leaves nothing.

        Args:
            batch: see `begin`.
            name: that it came with, which never becomes a path.
            parts: of its content.

        Raises:
            UsageError: there is no such batch, or it has too many files.
            InputError: it is too large, or cannot be written.
        """
        place = self._place(batch, name)
        size = 0
        try:
            with place.open("xb") as file:
                async for part in parts:
                    size += len(part)
                    self._check(name, size)
                    file.write(part)
        except OSError as error:
            self._drop(place)
            raise InputError(
                f"{place} cannot be written: {error.strerror}", code="output.unwritable"
            ) from error
        except BaseException:
            self._drop(place)
            raise
        with self._lock:
            self._total += size
            self._batches[batch][name] = place

    @staticmethod
    def one(names: Mapping[str, Path], *, folder: bool) -> tuple[Path, str]:
        """The one path that a batch means, and its name.

        Args:
            names: the batch.
            folder: whether several files may be meant together, as the slices of a CT are.

        Raises:
            UsageError: it is several.
        """
        if len(names) == 1:
            ((name, path),) = names.items()
            return path, name
        headers = [name for name in names if _suffix(name) in _HEADERS]
        if len(headers) == 1:
            return names[headers[0]], headers[0]
        if not folder:
            raise UsageError(f"one file is needed, not {len(names)}", code="view.invalid-request")
        first = next(iter(names.values()))
        return first.parent, f"{len(names)} files"

    def _place(self, batch: str, name: str) -> Path:
        """A place for a file that nothing is in yet."""
        suffix = _suffix(name)
        base = re.split(r"[\\/]", name)[-1]
        clean = re.sub(r"[^A-Za-z0-9_-]", "_", base[: len(base) - len(suffix)])[:_LONGEST_NAME] or "file"
        if _DEVICES.fullmatch(clean):
            clean = f"_{clean}"
        with self._lock:
            files = self._batches.get(batch)
            if files is None:
                raise UsageError(
                    "there is no such upload; choose the file again", code="view.invalid-request"
                )
            if len(files) >= _MOST_FILES:
                raise UsageError(f"more than {_MOST_FILES} files at once", code="view.too-large")
            folder = self._journal.folder / RECEIVED / batch
            number, place = 1, folder / f"{clean}{suffix}"
            while place.exists():
                number += 1
                place = folder / f"{clean}-{number}{suffix}"
            return place

    def _check(self, name: str, size: int) -> None:
        if size > self._config.largest_bytes:
            raise InputError(
                f"{name} is larger than {self._config.largest_mb:g} MB (`largest_mb`)", code="view.too-large"
            )
        if self._total + size > self._config.largest_total_bytes:
            raise InputError(
                f"all uploaded files together are larger than {self._config.largest_total_mb:g} MB "
                "(`largest_total_mb`)",
                code="view.too-large",
            )

    @staticmethod
    def _drop(place: Path) -> None:
        with suppress(OSError):
            place.unlink(missing_ok=True)


def _suffix(name: str) -> str:
    """The ending of a file's name that says what it is; "" for none that is known."""
    found = [each for each in _SUFFIXES if name.lower().endswith(each)]
    return max(found, key=len, default="")
