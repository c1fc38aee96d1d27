"""Lines that must arrive somewhere: sent in a thread of its own, again and again, until they have.

What is to be sent is what the ledger has finished and does not know to have arrived. So nothing is lost by an
end of the program at any moment, and what is sent twice, because the program ended between an arrival and
its note, is the same both times.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import InputError
from .spool import Spool

_LOG = logging.getLogger("isoclinic.reception")
# The time between two attempts doubles up to this [s].
_LONGEST_WAIT_S = 300.0


class NotNowError(Exception):
    """Nobody answers, or nothing is accepted at the moment; its text is for logs and names no patient."""


class RefusedError(Exception):
    """This one is not accepted, but others may be; its text is for logs and names no patient."""


class Delivery:
    """Brings the line of each image that is done or failed to a place, in the order of the ledger.

    What is refused there holds up nothing, and is tried again at the next start.

    Args:
        spool: with the ledger.
        place: its name in the ledger and in logs.
        deliver: brings one line there; returns once it has arrived, and raises `NotNowError` or
            `RefusedError` otherwise.
        retry_s: time before the second attempt where nobody answers [s].
        patience_s: time that one attempt may go on when the program ends [s].
    """

    def __init__(
        self,
        spool: Spool,
        place: str,
        deliver: Callable[[Mapping[str, Any]], None],
        *,
        retry_s: float,
        patience_s: float,
    ) -> None:
        self._spool = spool
        self._place = place
        self._deliver = deliver
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._refused: set[int] = set()
        self._why = ""
        self._there_is_news = threading.Event()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=place, daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why something does not arrive; empty where all is well."""
        if not self._thread.is_alive():
            return f"{self._place}: nothing is sent"
        refused = f"{self._place}: {len(self._refused)} refused" if self._refused else ""
        return self._why or refused

    def wake(self) -> None:
        """Look for what is to be sent; returns at once."""
        self._there_is_news.set()

    def stop(self) -> None:
        """End; what has not arrived is sent after the next start."""
        self._ended.set()
        self._there_is_news.set()
        self._thread.join(self._patience_s)

    def _run(self) -> None:
        wait_s = self._retry_s
        while not self._ended.is_set():
            self._there_is_news.clear()
            try:
                self._send_all()
            except NotNowError as error:
                self._say(f"{self._place}: {error}")
            except InputError as error:
                # The ledger is closed at the end of the program, or the disk is full.
                self._say(f"{self._place}: the ledger cannot be used [{error.code}]")
            else:
                self._say("")
                wait_s = self._retry_s
                self._there_is_news.wait()
                continue
            self._ended.wait(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _send_all(self) -> None:
        """Send what has not arrived.

        Raises:
            NotNowError: nobody answers.
            InputError: the ledger cannot be used.
        """
        for line in self._spool.undelivered(self._place):
            number = line["number"]
            if self._ended.is_set():
                return
            if number in self._refused:
                continue
            try:
                self._deliver(line)
            except NotNowError:
                raise
            except RefusedError as error:
                self._refused.add(number)
                _LOG.warning("%s: image %d is refused: %s", self._place, number, error)
                continue
            except Exception as error:
                # One line that nobody foresaw must not keep the others back. Not its message: logs name no
                # patient.
                self._refused.add(number)
                place = traceback.extract_tb(error.__traceback__)[-1]
                kind = type(error).__name__
                _LOG.error(
                    "%s: image %d: %s at %s:%s", self._place, number, kind, place.filename, place.lineno
                )
                continue
            self._spool.delivered(self._place, line)

    def _say(self, problem: str) -> None:
        if problem != self._why and not self._ended.is_set():
            if problem:
                _LOG.warning("%s; it is tried again", problem)
            else:
                _LOG.info("%s: answers again", self._place)
        self._why = problem
