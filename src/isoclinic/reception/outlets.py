"""Where the line of each result goes: a file of lines, and a web address."""

from __future__ import annotations

import hashlib
import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from typing import Any

from .. import __version__
from .._files import atomic, writing
from .deliveries import NotNowError, RefusedError

# Answers to a line that can be no other the next time: bad request, gone, content that is too large, of an
# unsupported type, or not to be processed (RFC 9110 section 15.5).
_NEVER = (400, 410, 413, 415, 422)
_LONGEST_ANSWER = 65536


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
        with writing(self._path), self._path.open("ab") as stream:
            stream.write(_text(line).encode())
            stream.flush()
            os.fsync(stream.fileno())
        self.stale = False


class Webhook:
    """Sends a line to a web address.

    Each request has an `Idempotency-Key`, which is the same each time a line is sent, and another one for
    each line: a receiver that has seen it has the line already.

    Args:
        address: http or https.
        timeout_s: time to wait for the receiver [s].
    """

    def __init__(self, address: str, timeout_s: float) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._opener = urllib.request.build_opener(_NoRedirect)

    def __call__(self, line: Mapping[str, Any]) -> None:
        """Send a line; it has arrived when this returns.

        Raises:
            NotNowError: nobody answers, or not as someone who has the line would.
            RefusedError: the receiver says that it will never take this line.
        """
        content = _text(line).encode()
        request = urllib.request.Request(
            self._address,
            data=content,
            headers={
                "Content-Type": "application/json",
                "User-Agent": f"isoclinic/{__version__}",
                "Idempotency-Key": f'"{hashlib.sha256(content).hexdigest()}"',
            },
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                answer.read(_LONGEST_ANSWER)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in _NEVER:
                raise RefusedError(f"status {error.code}") from None
            raise NotNowError(f"refuses with status {error.code}") from None
        except (OSError, HTTPException, ValueError) as error:
            # Not the message: it may quote the address, which may hold a password.
            raise NotNowError(f"does not answer ({type(error).__name__})") from None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Lets redirections fail: urllib would follow some of them by a GET, without the line."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _text(line: Mapping[str, Any]) -> str:
    return json.dumps(line, allow_nan=False) + "\n"
