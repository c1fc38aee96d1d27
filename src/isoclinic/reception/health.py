"""A page for programs that watch whether this one works: /healthz."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from ..errors import InputError

PATH = "/healthz"
_HOST = "127.0.0.1"


class HealthPage:
    """Answers GET /healthz on this computer with JSON: status 200 while all is well, else 503.

    Args:
        port: of this computer; 0 for any that is free.
        health: what to answer; all is well where its "problems" are empty.

    Raises:
        InputError: the port is taken.
    """

    def __init__(self, port: int, health: Callable[[], Mapping[str, Any]]) -> None:
        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                if self.path.partition("?")[0] != PATH:
                    self.send_error(404)
                    return
                told = health()
                content = (json.dumps(told) + "\n").encode()
                self.send_response(503 if told["problems"] else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing: it is asked every few seconds."""

        try:
            self._server = ThreadingHTTPServer((_HOST, port), Handler)
        except OSError as error:
            raise InputError(
                f"`health_port` {port} cannot be listened on: {error.strerror or error}; choose another",
                code="reception.cannot-listen",
            ) from error
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, name="health", daemon=True).start()

    @property
    def port(self) -> int:
        """The port it answers on."""
        return int(self._server.server_address[1])

    def stop(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()
