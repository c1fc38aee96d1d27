"""All of it together: images come in, are registered in turn, and their results go out."""

from __future__ import annotations

import logging
import shutil
import time
import traceback
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .. import __version__
from .._interrupts import Held
from ..errors import InputError, IsoclinicError
from .config import ReceptionConfig
from .health import HealthPage
from .outlets import LineFile, Webhook
from .registrar import Registrar, finished_line, line_of
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
# The disk is full: the image waits, because nothing is wrong with it.
_UNWRITABLE = "output.unwritable"


class Listener:
    """Registers the images of a spool, and receives more meanwhile.

    Registrations run in the thread that calls `run`; everything else in threads of its own, so that a slow
    registration delays no sender.

    Args:
        spool: with the images.
        registrar: of the patient's CT.
        config: where X-rays come from, and where results go.

    Raises:
        InputError: the watched folder does not exist.
        UsageError: a package is missing that receiving needs.
    """

    def __init__(self, spool: Spool, registrar: Registrar, config: ReceptionConfig) -> None:
        self._spool = spool
        self._registrar = registrar
        self._config = config
        self._lines = LineFile(spool.folder / LINES)
        self._webhook: Webhook | None = None
        self._storage = None if config.port is None else StorageService(spool, config)
        self._watch = None if config.watch is None else FolderWatch(spool, config)
        self._problem = ""

    def run(self) -> None:
        """Receive and register until a KeyboardInterrupt ends it; the image at hand then waits again.

        Raises:
            KeyboardInterrupt: someone asked to stop; everything has ended in good order.
            InputError: a port is taken, or the ledger is damaged.
        """
        config = self._config
        with ExitStack() as ends:
            ends.callback(self._spool.close)
            if config.webhook is not None:
                self._webhook = Webhook(config.webhook, config.webhook_timeout_s)
                ends.callback(self._webhook.stop)
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
        problems += [each.problem for each in (self._storage, self._watch) if each is not None]
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
        if self._storage is not None:
            ends.callback(self._storage.stop)
            self._storage.start()
            _LOG.info("receives DICOM as %s on %s, port %d", config.ae_title, config.host, self._storage.port)
        if self._watch is not None:
            ends.callback(self._watch.stop)
            self._watch.start()
            _LOG.info("watches a folder")

    def _turn(self) -> None:
        """One image, or a short wait for one; a longer one where the disk is full."""
        try:
            if not self._next():
                self._spool.wait(_IDLE_S)
        except InputError as error:
            if error.code != _UNWRITABLE:
                raise
            self._problem = "results cannot be written: is the disk full?"
            _LOG.error("%s It is tried again in %g s", self._problem, self._config.retry_s)
            time.sleep(self._config.retry_s)

    def _next(self) -> bool:
        """Register the next image; whether there was one."""
        if self._problem:
            with Held():
                self._recover(ended=False)
        if self._lines.stale:
            with Held():
                self._lines.renew(self._spool.lines())
        self._problem = ""
        with Held():
            image = self._spool.next()
        if image is None:
            return False
        _LOG.info("%s is being registered", image.name)
        folder = self._folder(image)
        try:
            line = self._registrar.register(image, folder)
        except IsoclinicError as error:
            if error.code == _UNWRITABLE:
                raise
            self._failed(image, str(error), code=error.code)
        except Exception as error:
            # The receiver must outlive whatever an image sets off; it is told as a failure of that image.
            # Not the message, nor the image's values: logs name no patient.
            place = traceback.extract_tb(error.__traceback__)[-1]
            _LOG.error("%s: %s at %s:%s", image.name, type(error).__name__, place.filename, place.lineno)
            told = f"an unexpected {type(error).__name__}: {error}; please report it"
            self._failed(image, told, code="reception.unexpected")
        else:
            self._done(image, line)
        return True

    def _done(self, image: ReceivedImage, line: Mapping[str, Any]) -> None:
        with Held():
            self._spool.finish(image, "done", line, {_STATE: self._registrar.state()})
            self._tell(line)
        _LOG.info("%s is %s after %.2f s", image.name, line["status"], line["seconds"])

    def _failed(self, image: ReceivedImage, message: str, *, code: str) -> None:
        line = {**line_of(image, "failed", now()), "error": {"code": code, "message": message}}
        with Held():
            self._spool.finish(image, "failed", line)
            self._tell(line)
        _LOG.warning("%s failed [%s]; %s has the reason", image.name, code, LINES)

    def _tell(self, line: Mapping[str, Any]) -> None:
        if self._webhook is not None:
            self._webhook.send(line)
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
        try:
            results.mkdir(exist_ok=True)
            for folder in results.glob(_UNFINISHED_RESULTS):
                shutil.rmtree(folder)
            for file in self._spool.folder.glob(_UNFINISHED_LINES):
                file.unlink()
        except OSError as error:
            raise InputError(
                f"{self._spool.folder} cannot be written: {error.strerror or error}", code="output.unwritable"
            ) from error

    def _recover(self, *, ended: bool) -> None:
        """See to images that were begun and are not finished.

        Args:
            ended: the program has ended since they were begun, which may be their fault.
        """
        for image in self._spool.registering():
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
            try:
                self._recover(ended=False)
            except InputError as error:
                # The next start finds the same.
                _LOG.error("the image at hand could not be put back [%s]", error.code)

    def _folder(self, image: ReceivedImage) -> Path:
        return self._spool.folder / RESULTS / f"{image.number:04}"
