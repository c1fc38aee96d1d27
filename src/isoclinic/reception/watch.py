"""A folder in which X-rays appear."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import InputError, IsoclinicError
from ..volumes import images_in
from ..volumes.xray_readers import read_file
from .config import ReceptionConfig
from .digest import is_dicom
from .spool import Spool

_LOG = logging.getLogger("isoclinic.reception")
# Of files that describe an image beside them; see `volumes._sidecar`.
_SIDECARS = (".isoclinic.json", ".json")
# Endings that tell the format; any other one may be part of a name, and is not kept.
_FORMATS = (".nii.gz", ".nii", ".png", ".tif", ".tiff", ".nrrd", ".nhdr", ".mha", ".mhd")
# Names under which programs write files that are not complete.
_UNFINISHED = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".filepart", "~")
# Time and size of an image and of the files that describe it.
_Signature = tuple[tuple[int, int] | None, ...]


@dataclass(kw_only=True)
class _File:
    """A file that was seen.

    Attributes:
        signature: as it was seen last.
        since: since when it has been like this, by the monotonic clock [s].
        settled: it needs no further look while it stays like this.
    """

    signature: _Signature
    since: float
    settled: bool = False


class FolderWatch:
    """Stores the X-rays of a folder, and of the folders in it, in a spool; it changes nothing there.

    A file is complete when its size and time of change have rested for `settle_s` and it can be read as an
    image. One that rests for `patience_s` and cannot be read is stored all the same, so that its failure is
    told like any other. Network shares tell nobody of changes, therefore the folder is looked through.

    Args:
        spool: to store images in.
        config: the folder, and how long files must rest.
    """

    def __init__(self, spool: Spool, config: ReceptionConfig) -> None:
        if config.watch is None or not config.watch.is_dir():
            raise InputError(
                f"`watch` {config.watch} is no folder that exists; make it first", code="input.unreadable"
            )
        self._spool = spool
        self._config = config
        self._folder = config.watch
        self._files: dict[Path, _File] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watch", daemon=True)
        self._problem = ""

    @property
    def problem(self) -> str:
        """Why nothing is read from the folder; empty where all is well."""
        return self._problem if self._thread.is_alive() else "the watched folder is not looked through"

    def start(self) -> None:
        """Look through the folder from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what was not stored is found at the next start."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def scan(self, now_s: float) -> None:
        """Look through the folder once.

        Args:
            now_s: the time by the monotonic clock [s].
        """
        try:
            present = list(_images_below(self._folder))
            self._say("")
        except (InputError, OSError):
            self._say("the watched folder cannot be read")
            return
        self._files = {path: self._files[path] for path in present if path in self._files}
        for path in present:
            if self._ended.is_set():
                return
            self._look(path, now_s)

    def _run(self) -> None:
        while not self._ended.is_set():
            self.scan(time.monotonic())
            self._ended.wait(self._config.poll_s)

    def _look(self, path: Path, now_s: float) -> None:
        signature = _signature(path)
        if signature is None:
            return
        file = self._files.get(path)
        if file is None or file.signature != signature:
            self._files[path] = file = _File(signature=signature, since=now_s)
        rested_s = now_s - file.since
        if file.settled or rested_s < self._config.settle_s:
            return
        assert signature[0] is not None
        if signature[0][0] > self._config.largest_bytes:
            _LOG.warning("folder: file %s is larger than --largest-mb and left out", _alias(path))
            file.settled = True
        elif rested_s >= self._config.patience_s or _readable(path):
            file.settled = self._stored(path, signature)

    def _stored(self, path: Path, signature: _Signature) -> bool:
        """Store a file; whether that is done with."""
        try:
            content = path.read_bytes()
            sidecars = {
                suffix: _sidecar(path, suffix).read_bytes()
                for suffix in _SIDECARS
                if _sidecar(path, suffix).is_file() and not is_dicom(content)
            }
        except OSError as error:
            self._say(f"a file of the watched folder cannot be read: {error.strerror}")
            return False
        if _signature(path) != signature:
            return False  # it changed meanwhile
        suffix = ".dcm" if is_dicom(content) else _format(path) or ".dcm"
        try:
            digest, new = self._spool.store(content, source="folder", suffix=suffix, sidecars=sidecars)
        except InputError:
            self._say("images of the watched folder cannot be stored: is the disk full?")
            return False
        _LOG.info(
            "folder: file %s is image %s%s", _alias(path), digest[:12], "" if new else ", known already"
        )
        return True

    def _say(self, problem: str) -> None:
        if problem and problem != self._problem:
            _LOG.warning("%s", problem)
        self._problem = problem


def _images_below(folder: Path) -> Iterator[Path]:
    """Files of a folder and the folders in it that may be images.

    Raises:
        InputError, OSError: the folder cannot be read.
    """
    for file in images_in(folder):
        if not file.name.lower().endswith(_UNFINISHED):
            yield file
    for each in sorted(folder.iterdir()):
        if each.is_dir() and not each.is_symlink() and not each.name.startswith("."):
            yield from _images_below(each)


def _signature(path: Path) -> _Signature | None:
    """Size and time of an image, then those of the files that describe it; None where it is gone or empty."""
    found = _size_and_time(path)
    if found is None or not found[0]:
        return None
    return (found, *(_size_and_time(_sidecar(path, suffix)) for suffix in _SIDECARS))


def _size_and_time(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _format(path: Path) -> str:
    """The ending of a name that tells the format; empty where none does."""
    return next((each for each in _FORMATS if path.name.lower().endswith(each)), "")


def _sidecar(path: Path, suffix: str) -> Path:
    ending = _format(path) or path.suffix
    return path.with_name(path.name[: len(path.name) - len(ending)] + suffix)


def _readable(path: Path) -> bool:
    try:
        read_file(path, None)
    except IsoclinicError:
        return False
    return True


def _alias(path: Path) -> str:
    """How logs call a file whose name may be a patient's."""
    return hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:12]
