"""All of it together: images come in, are registered in turn, and their results go out."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from .. import __version__
from .._files import writing
from .._interrupts import Held
from ..errors import InputError, IsoclinicError
from .archive import Archive
from .config import ReceptionConfig
from .deliveries import Delivery
from .health import HealthPage
from .outlets import LineFile, Webhook
from .pose_server import PoseServer
from .registrar import Found, Registrar, finished_line, is_reliable, line_of
from .spool import ReceivedImage, Spool, now
from .storage import StorageService
from .watch import FolderWatch

_LOG = logging.getLogger("isoclinic.reception")
RESULTS, LINES = "results", "results.jsonl"
# Of `new_folder` and `atomic`; nobody else writes here, as the spool is in use by this process only.
_UNFINISHED_RESULTS, _UNFINISHED_LINES = ".*.new", f".*.{LINES}"
# In the ledger.
_STATE = "session"
_IDLE_S = 0.5
# Images that may be found, but not written, at a time; each keeps its X-ray in memory.
_UNWRITTEN = 8
# The disk is full: the image waits, because nothing is wrong with it. The folder is damaged: nothing goes on.
_UNWRITABLE, _DAMAGED = "output.unwritable", "reception.damaged"


class Listener:
    """Registers the images of a spool, and receives more meanwhile.

    Registrations run in the thread that calls `run`; everything else in threads of its own, so that a slow
    registration delays no sender. The pose of an image is told over OpenIGTLink as soon as it is found. Its
    files are written, step by step, while no other image waits; until they are, the image is not done.

    Args:
        spool: with the images.
        registrar: of the patient's CT.
        config: where X-rays come from, and where results go.

    Raises:
        InputError: the watched folder does not exist.
        UsageError: a package is missing that receiving or sending needs.
    """

    def __init__(self, spool: Spool, registrar: Registrar, config: ReceptionConfig) -> None:
        self._spool = spool
        self._registrar = registrar
        self._config = config
        self._lines = LineFile(spool.folder / LINES)
        self._places: dict[str, Callable[[Mapping[str, Any]], None]] = {}
        if config.webhook is not None:
            self._places["webhook"] = Webhook(config.webhook, config.webhook_timeout_s)
        if config.send is not None:
            self._places["send"] = Archive(spool, config)
        self._deliveries: list[Delivery] = []
        self._igtl: PoseServer | None = None
        self._storage = None if config.port is None else StorageService(spool, config)
        self._watch = None if config.watch is None else FolderWatch(spool, config)
        # Images whose poses are found and told, but whose files are not written, in the order of arrival.
        self._unwritten: deque[Found] = deque()
        # Of the first of them, the steps that are left.
        self._writing: Iterator[None] | None = None
        self._problem = ""

    def run(self) -> None:
        """Receive and register until a KeyboardInterrupt ends it; the image at hand then waits again.

        Raises:
            KeyboardInterrupt: someone asked to stop; everything has ended in good order.
            InputError: a port is taken, or the ledger is damaged.
        """
        with ExitStack() as ends:
            ends.callback(self._spool.close)
            ends.callback(self._leave)
            with Held():
                self._tidy()
                self._recover(ended=True)
                if self._registrar.restore(self._spool.about(_STATE)):
                    _LOG.info("goes on from the last pose that may be relied on")
                self._lines.renew(self._spool.lines())
            self._start(ends)
            while True:
                self._turn()

    def health(self) -> dict[str, Any]:
        """How it is, as /healthz tells it."""
        problems = [self._problem]
        parts = (self._storage, self._watch, self._igtl, *self._deliveries)
        problems += [each.problem for each in parts if each is not None]
        try:
            counts: Mapping[Any, int] = self._spool.counts()
        except InputError as error:
            counts = {}
            problems.append(f"the ledger cannot be read [{error.code}]")
        told = [each for each in problems if each]
        return {"status": "failing" if told else "ok", "problems": told, "version": __version__, **counts}

    def _start(self, ends: ExitStack) -> None:
        config = self._config
        if config.health_port is not None:
            ends.callback(HealthPage(config.health_port, self.health).stop)
        if config.igtl is not None:
            self._igtl = PoseServer(config)
            ends.callback(self._igtl.stop)
            for line in _to_tell_first(self._spool.lines()):
                self._igtl.tell(line)
            _LOG.info("tells poses over OpenIGTLink on %s, port %d", config.igtl_host, self._igtl.port)
        for place, deliver in self._places.items():
            patience_s = config.webhook_timeout_s
            self._deliveries.append(
                Delivery(self._spool, place, deliver, retry_s=config.retry_s, patience_s=patience_s)
            )
            ends.callback(self._deliveries[-1].stop)
        if self._storage is not None:
            ends.callback(self._storage.stop)
            self._storage.start()
            _LOG.info("receives DICOM as %s on %s, port %d", config.ae_title, config.host, self._storage.port)
        if self._watch is not None:
            ends.callback(self._watch.stop)
            self._watch.start()
            _LOG.info("watches a folder")

    def _turn(self) -> None:
        """One image, or some files of one, or a short wait; a longer one where the disk is full."""
        try:
            if self._problem or self._lines.stale:
                with Held():
                    self._recover(ended=False)
                    self._lines.renew(self._spool.lines())
            self._problem = ""
            if not (self._find_next() or self._write_next()):
                self._spool.wait(_IDLE_S)
        except InputError as error:
            if error.code != _UNWRITABLE:
                raise
            self._problem = "results cannot be written: is the disk full?"
            _LOG.error("%s It is tried again in %g s", self._problem, self._config.retry_s)
            time.sleep(self._config.retry_s)

    def _find_next(self) -> bool:
        """Register the next image; whether there was one that may be begun before others are written."""
        if len(self._unwritten) >= _UNWRITTEN or any(map(self._is_suspect, self._unwritten)):
            return False
        with Held():
            image = self._spool.next()
        if image is None:
            return False
        _LOG.info("%s is being registered", image.name)
        with self._failing(image):
            found = self._registrar.find(image, self._folder(image))
            with Held():
                self._unwritten.append(found)
                if self._igtl is not None:
                    self._igtl.tell(found.line)
            _LOG.info("%s is %s after %.2f s", image.name, found.line["status"], found.line["seconds"])
        return True

    def _is_suspect(self, found: Found) -> bool:
        """Whether an image must be done before the next one is begun.

        One that was begun before may be what has ended the program. Nothing else must be under way when it
        does so again, because that would be blamed, too.
        """
        return found.image.attempts > 1 or self._config.attempts == 1

    def _write_next(self) -> bool:
        """Write some of the files of the image that was found first; whether there was one."""
        if not self._unwritten:
            return False
        found = self._unwritten[0]
        with self._failing(found.image):
            if not self._is_written(found):
                return True
            with Held():
                self._spool.finish(found.image, "done", found.line, {_STATE: found.state})
                self._tell(found.line)
            _LOG.info("%s is done", found.image.name)
        self._unwritten.popleft()
        return True

    def _is_written(self, found: Found) -> bool:
        """Whether all files of an image are written; if not, the next step is made."""
        if self._writing is None:
            # It is written already where only the ledger could not be.
            if finished_line(found.folder, found.image) is not None:
                return True
            self._writing = self._registrar.write(found)
        try:
            next(self._writing)
        except BaseException as error:
            self._writing = None
            if not isinstance(error, StopIteration):
                raise
            return True
        return False

    @contextmanager
    def _failing(self, image: ReceivedImage) -> Iterator[None]:
        """What goes wrong in this block is a failure of the image, unless the disk is full."""
        try:
            yield
        except IsoclinicError as error:
            if error.code in (_UNWRITABLE, _DAMAGED):
                raise
            self._failed(image, str(error), code=error.code)
        except Exception as error:
            # The receiver must outlive whatever an image sets off; it is told as a failure of that image.
            # Not the message, nor the image's values: logs name no patient.
            place = traceback.extract_tb(error.__traceback__)[-1]
            _LOG.error("%s: %s at %s:%s", image.name, type(error).__name__, place.filename, place.lineno)
            told = f"an unexpected {type(error).__name__}: {error}; please report it"
            self._failed(image, told, code="reception.unexpected")

    def _failed(self, image: ReceivedImage, message: str, *, code: str) -> None:
        line = {**line_of(image, "failed", now()), "error": {"code": code, "message": message}}
        with Held():
            self._spool.finish(image, "failed", line)
            if self._igtl is not None:
                self._igtl.tell(line)
            self._tell(line)
        _LOG.warning("%s failed [%s]; %s has the reason", image.name, code, LINES)

    def _tell(self, line: Mapping[str, Any]) -> None:
        for delivery in self._deliveries:
            delivery.wake()
        try:
            self._lines.append(line)
        except InputError:
            # The image is done; the file is renewed from the ledger before the next one.
            _LOG.error("%s cannot be written: is the disk full?", LINES)

    def _tidy(self) -> None:
        """Remove what an end of the program has left of results that were being written.

        Raises:
            InputError: it cannot be removed.
        """
        results = self._spool.folder / RESULTS
        with writing(self._spool.folder):
            results.mkdir(exist_ok=True)
            for folder in results.glob(_UNFINISHED_RESULTS):
                shutil.rmtree(folder)
            for file in self._spool.folder.glob(_UNFINISHED_LINES):
                file.unlink()

    def _recover(self, *, ended: bool) -> None:
        """See to images that were begun and are not finished.

        Args:
            ended: the program has ended since they were begun, which may be their fault.
        """
        under_way = {found.image.number for found in self._unwritten}
        for image in self._spool.registering():
            if image.number in under_way:
                continue
            line = finished_line(self._folder(image), image)
            if line is not None:
                self._spool.finish(image, "done", line)
                _LOG.info("%s was done already", image.name)
                self._tell(line)
            elif ended and image.attempts >= self._config.attempts:
                told = f"the program has ended {image.attempts} times while it was being registered"
                self._failed(image, told, code="reception.ended")
            else:
                self._spool.put_back(image, counts=ended)

    def _leave(self) -> None:
        """Put back what is under way."""
        with Held():
            # Its files that are half written go with it.
            self._writing = None
            self._unwritten.clear()
            try:
                self._recover(ended=False)
            except InputError as error:
                # The next start finds the same.
                _LOG.error("the image at hand could not be put back [%s]", error.code)

    def _folder(self, image: ReceivedImage) -> Path:
        return self._spool.folder / RESULTS / f"{image.number:04}"


def _to_tell_first(lines: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Of the lines of an earlier start, the last pose without doubts and the last image, as they arrived."""
    by_number = sorted(lines, key=lambda line: int(line["number"]))
    relied_on = [line for line in by_number if is_reliable(line)]
    return [*relied_on[-1:], *(line for line in by_number[-1:] if not is_reliable(line))]
