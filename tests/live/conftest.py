"""Live pages of a phantom, served in this process, and a headless Chromium."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from chromium import browser
from isoclinic.cli import _view_options, view
from isoclinic.live import LivePage

from ..cli.conftest import files

__all__ = ["browser", "files"]

# The model that comes along would be asked for what a short schedule does not find.
USUAL = ("--model", "none", "--no-browser")


@dataclass
class Answer:
    """What a server said."""

    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.content)


class Served:
    """A page that is served, and a client without a browser."""

    def __init__(self, page: LivePage) -> None:
        self.page = page
        parts = urlsplit(page.address)
        self.host, self.path = parts.netloc, parts.path
        self._thread = threading.Thread(target=page.run, daemon=True)
        self._thread.start()

    def ask(
        self,
        path: str,
        body: Any = None,
        *,
        method: str | None = None,
        headers: dict[str, str] | None = None,
        whole: bool = False,
    ) -> Answer:
        """One request; `path` follows the token unless it is `whole`."""
        connection = HTTPConnection(self.host, timeout=60)
        try:
            content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            how = method or ("GET" if body is None else "POST")
            connection.request(how, path if whole else self.path + path, content, headers or {})
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        finally:
            connection.close()

    @property
    def state(self) -> dict[str, Any]:
        return self.ask("state").document

    def change(self, do: str, revision: int | None = None, **more: Any) -> Answer:
        """Ask for a change, of the state as it is unless a revision is given."""
        revision = self.state["revision"] if revision is None else revision
        return self.ask("change", {"do": do, "revision": revision, **more})

    def upload(self, *files: Path, names: dict[Path, str] | None = None) -> str:
        """Files as one batch."""
        batch = self.ask("batch", {}).document["batch"]
        for file in files:
            name = (names or {}).get(file, file.name)
            answer = self.ask(f"batch/{batch}?name={name}", file.read_bytes(), method="PUT")
            assert answer.status == 200, answer.content
        return batch

    def register(self) -> dict[str, Any]:
        """Register from the pose in use; returns the state afterwards."""
        answer = self.ask("register", {"revision": self.state["revision"]})
        assert answer.status == 200, answer.content
        self.page.registering.wait(120)
        return self.state

    def end(self) -> None:
        self.page.stop()
        self._thread.join(30)
        self.page.close()
        assert not self._thread.is_alive()


@contextmanager
def serving(folder: Path) -> Iterator[Callable[..., Served]]:
    """What serves a page for the words of a command line, in a folder of its own."""
    running: list[Served] = []

    def start(*words: object) -> Served:
        arguments = [*map(str, words), *USUAL]
        if "--output" not in arguments:
            arguments += ["--output", str(folder / "out")]
        options = _view_options.parse(arguments)
        served = Served(LivePage(view._plan(options, arguments)))
        running.append(served)
        return served

    try:
        yield start
    finally:
        for each in running:
            each.end()


@pytest.fixture
def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Served]]:
    monkeypatch.chdir(tmp_path)
    with serving(tmp_path) as start:
        yield start


@pytest.fixture
def served(serve: Callable[..., Served], files: Any) -> Served:
    """A page of the phantom, 5 mm off."""
    return serve(files.ct, files.xray, "--init", files.init, "--config", files.config)
