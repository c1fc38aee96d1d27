"""Where the line of each result goes: a file of lines, and a web address."""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from .. import __version__
from .._files import atomic
from ..errors import InputError

_LOG = logging.getLogger("isoclinic.reception")
# Lines that wait for a slow receiver, at most; results.jsonl has them all.
_WAITING = 1000


class LineFile:
    """A file with a line of JSON for each image that is done or failed.

    The ledger is what counts; where the two differ, the file is written anew.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.stale = True

    def renew(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Write the file anew, unless it holds these lines.

        Raises:
            InputError: it cannot be written.
        """
        content = "".join(map(_text, lines)).encode()
        self.stale = True
        try:
            present = self._path.read_bytes() if self._path.exists() else b""
        except OSError:
            present = None
        if present != content:
            with atomic(self._path) as temporary, temporary.open("wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
        self.stale = False

    def append(self, line: Mapping[str, Any]) -> None:
        """Add a line, which is on disk when this returns.

        Raises:
            InputError: it cannot be written; the file is then to be renewed.
        """
        self.stale = True
        try:
            with self._path.open("ab") as stream:
                stream.write(_text(line).encode())
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise InputError(
                f"{self._path} cannot be written: {error.strerror or error}", code="output.unwritable"
            ) from error
        self.stale = False


class Webhook:
    """Sends lines to a web address, one after another, in a thread of its own; failures are only logged.

    Args:
        address: http or https.
        timeout_s: time to wait for the receiver [s].
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._lines: queue.Queue[Mapping[str, Any] | None] = queue.Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def send(self, line: Mapping[str, Any]) -> None:
        """Send a line as soon as those before it are sent; at once for the caller."""
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            _LOG.warning("webhook: image %s was not sent: too many lines wait for it", line["number"])

    def stop(self) -> None:
        """Send what waits, as far as that takes no longer than one answer may, and end."""
        try:
            self._lines.put(None, timeout=self._timeout_s)
        except queue.Full:
            return
        self._thread.join(self._timeout_s)
        left = self._lines.qsize()
        if self._thread.is_alive() and left > 1:
            _LOG.warning("webhook: %d lines were not sent", left - 1)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            self._post(line)

    def _post(self, line: Mapping[str, Any]) -> None:
        request = urllib.request.Request(
            self._address,
            data=_text(line).encode(),
            headers={"Content-Type": "application/json", "User-Agent": f"isoclinic/{__version__}"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s):
                pass
        except urllib.error.HTTPError as error:
            error.close()
            _LOG.warning("webhook: image %s was refused with status %d", line["number"], error.code)
        except (OSError, HTTPException, ValueError) as error:
            # Not the message: it may quote the address, which may hold a password.
            _LOG.warning("webhook: image %s was not sent: %s", line["number"], type(error).__name__)


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, allow_nan=False) + "\n"
