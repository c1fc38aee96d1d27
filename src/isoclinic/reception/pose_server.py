"""Poses for 3D Slicer, over OpenIGTLink: a server that never waits for anybody.

One thread talks to all clients. What is published while a client is slow replaces what waits for it, so that
it gets the newest when it reads on; one that reads nothing for a while is cut off.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ..error_codes import CODES
from ..errors import InputError
from . import openigtlink as igtl
from .config import ReceptionConfig
from .registrar import is_reliable

_LOG = logging.getLogger("isoclinic.reception")
# What is added to the name of the transform: by the one that carries doubtful poses, and by the status.
DOUBTFUL, STATUS = "_doubtful", "_status"
_CLIENTS = 16
_CHUNK = 65536
# Bytes that a client has not read and that may wait in the system: some hundred messages.
_SYSTEM_BUFFER = 65536
# Time for which the last status may take to leave when the program ends [s].
_FAREWELL_S = 0.5


class _Client:
    """A connection, the message that is being sent, and what is newest of each device."""

    def __init__(self, connection: socket.socket, waiting: Mapping[str, bytes]) -> None:
        self.connection = connection
        self.sending = b""
        self.waiting = dict(waiting)
        self.moved_s = time.monotonic()

    @property
    def idle(self) -> bool:
        return not self.sending and not self.waiting

    def put(self, messages: Mapping[str, bytes]) -> None:
        """Replace what waits of these devices."""
        if self.idle:
            self.moved_s = time.monotonic()
        for device, message in messages.items():
            self.waiting.pop(device, None)  # so that it waits in the order of what is newest
            self.waiting[device] = message

    def write(self) -> None:
        """Send as much as the connection takes at once.

        Raises:
            OSError: the connection is gone.
        """
        while not self.idle:
            if not self.sending:
                self.sending = self.waiting.pop(next(iter(self.waiting)))
            try:
                count = self.connection.send(self.sending)
            except BlockingIOError:
                return
            self.sending = self.sending[count:]
            self.moved_s = time.monotonic()


class PoseServer:
    """Tells OpenIGTLink clients the pose of the last X-ray, and how far it may be relied on.

    A pose without doubts is a TRANSFORM with the name of `ReceptionConfig.igtl_name`: camera_from_world, the
    ToParent matrix of `exchange.write_slicer_transform`, RAS in mm. A doubtful pose has another name, with
    "_doubtful" added, and leaves the first transform as it was. The STATUS, with "_status" added, tells which
    of the two is the case, or that an X-ray failed. Who connects later gets the last of each at once.

    Args:
        config: where to listen.

    Raises:
        InputError: the port is taken or not allowed.
    """

    def __init__(self, config: ReceptionConfig) -> None:
        assert config.igtl is not None
        self._name = config.igtl_name
        self._timeout_s = config.timeout_s
        try:
            self._listening = socket.create_server(
                (config.igtl_host, config.igtl),
                family=socket.AF_INET6 if ":" in config.igtl_host else socket.AF_INET,
            )
        except (OSError, OverflowError) as error:
            raise InputError(
                f"`igtl_host` {config.igtl_host} and `igtl` {config.igtl} cannot be listened on: "
                f"{getattr(error, 'strerror', None) or error}; choose another port",
                code="reception.cannot-listen",
            ) from error
        self._wake, self._woken = socket.socketpair()
        for each in (self._listening, self._wake, self._woken):
            each.setblocking(False)
        self._lock = threading.Lock()
        self._news: dict[str, bytes] = {}
        self._ended = False
        # What a new client gets; only the thread looks at it and at the clients.
        self._last: dict[str, bytes] = {}
        self._clients: dict[socket.socket, _Client] = {}
        # Of the last X-ray whose pose is that of the transform.
        self._relied_on: int | None = None
        self._publish(self._status(datetime.now(UTC), igtl.NOT_READY, 0, "no X-ray", "no X-ray so far"))
        self._thread = threading.Thread(target=self._run, name="igtl", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listening.getsockname()[1])

    @property
    def problem(self) -> str:
        """Why nobody is told of poses; empty where all is well."""
        return "" if self._thread.is_alive() else "poses are not sent over OpenIGTLink"

    def tell(self, line: Mapping[str, Any]) -> None:
        """Tell all clients of an image that is done or failed; returns at once.

        Args:
            line: what `results.jsonl` says of the image.
        """
        number, at = int(line["number"]), datetime.fromisoformat(line["received_at"])
        if line["state"] != "done":
            code = line["error"]["code"]
            why = f"image {number} failed [{code}]: {CODES.get(code, '')} {self._still()}"
            self._publish(self._status(at, igtl.UNKNOWN_ERROR, number, "failed", why))
            return
        matrix = line["camera_from_world"]
        if not is_reliable(line):
            doubts = "; ".join(line["doubts"]) or "its error is unknown"
            why = f"image {number} is doubtful: {doubts}. {self._still()}"
            device = self._name + DOUBTFUL
            # The status first: who sees the pose knows already what it is worth.
            status = self._status(at, igtl.UNKNOWN_ERROR, number, line["status"], why)
            self._publish({**status, device: igtl.transform_message(device, at, matrix)})
            return
        self._relied_on = number
        told = f"image {number}: {line['status']}, expected error {line['expected_error_mm']:.2f} mm"
        self._publish(
            {
                self._name: igtl.transform_message(self._name, at, matrix),
                **self._status(at, igtl.OK, number, line["status"], told),
            }
        )

    def stop(self) -> None:
        """Say that the program ends, as far as clients take it at once, and close all connections."""
        text = f"the program has ended. {self._still()}"
        with self._lock:
            self._news |= self._status(datetime.now(UTC), igtl.SHUT_DOWN, 0, "ended", text)
            self._ended = True
        self._ring()
        self._thread.join()
        for each in (self._listening, self._wake, self._woken):
            each.close()

    def _still(self) -> str:
        if self._relied_on is None:
            return f"There is no transform {self._name} yet"
        return f"The transform {self._name} is still that of image {self._relied_on}"

    def _status(self, at: datetime, code: int, number: int, error: str, text: str) -> dict[str, bytes]:
        device = self._name + STATUS
        return {device: igtl.status_message(device, at, code=code, number=number, error=error, text=text)}

    def _publish(self, messages: Mapping[str, bytes]) -> None:
        with self._lock:
            for device, message in messages.items():
                self._news.pop(device, None)
                self._news[device] = message
            if self._name in messages:
                self._news.pop(self._name + DOUBTFUL, None)
        self._ring()

    def _ring(self) -> None:
        # A full pipe wakes the thread as well.
        with suppress(BlockingIOError):
            self._wake.send(b"\0")

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listening, selectors.EVENT_READ)
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._ended:
                for key, events in selector.select(1.0):
                    if key.fileobj is self._listening:
                        self._admit(selector)
                    elif key.fileobj is self._woken:
                        with suppress(BlockingIOError):
                            self._woken.recv(_CHUNK)
                    elif events & selectors.EVENT_READ:
                        self._read(key.fileobj, selector)
                self._spread()
                self._write_all(selector)
            until_s = time.monotonic() + _FAREWELL_S
            self._spread()
            self._write_all(selector)
            while time.monotonic() < until_s and any(not each.idle for each in self._clients.values()):
                time.sleep(0.01)
                self._write_all(selector)
            for client in list(self._clients.values()):
                self._close(client, selector)

    def _admit(self, selector: selectors.BaseSelector) -> None:
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return  # it is gone already
        if len(self._clients) >= _CLIENTS:
            _LOG.warning("igtl: a client is refused: there are %d already", _CLIENTS)
            connection.close()
            return
        connection.setblocking(False)
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SYSTEM_BUFFER)
        self._clients[connection] = _Client(connection, self._last)
        selector.register(connection, selectors.EVENT_READ)
        _LOG.info("igtl: a client has connected; there are %d", len(self._clients))

    def _read(self, connection: Any, selector: selectors.BaseSelector) -> None:
        """Drop what a client says, and notice when it goes."""
        client = self._clients.get(connection)
        if client is None:
            return
        try:
            if connection.recv(_CHUNK):
                return
        except BlockingIOError:
            return
        except OSError:
            pass  # it is gone, as without a word
        self._close(client, selector)

    def _spread(self) -> None:
        """Give what is new to all clients."""
        with self._lock:
            news, self._news = self._news, {}
        if self._name in news:
            self._last.pop(self._name + DOUBTFUL, None)
        for device, message in news.items():
            self._last.pop(device, None)
            self._last[device] = message
        for client in self._clients.values():
            if self._name in news:
                client.waiting.pop(self._name + DOUBTFUL, None)
            client.put(news)

    def _write_all(self, selector: selectors.BaseSelector) -> None:
        for client in list(self._clients.values()):
            try:
                client.write()
            except OSError:
                self._close(client, selector)
                continue
            if not client.idle and time.monotonic() - client.moved_s > self._timeout_s:
                _LOG.warning("igtl: a client is cut off: it has read nothing for %g s", self._timeout_s)
                self._close(client, selector)
                continue
            wanted = selectors.EVENT_READ | (0 if client.idle else selectors.EVENT_WRITE)
            selector.modify(client.connection, wanted)

    def _close(self, client: _Client, selector: selectors.BaseSelector) -> None:
        selector.unregister(client.connection)
        client.connection.close()
        del self._clients[client.connection]
        _LOG.info("igtl: a client has gone; there are %d", len(self._clients))
