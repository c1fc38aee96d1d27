"""Lines of results go to a file, which is never left wrong, and to a web address, which may fail."""

from __future__ import annotations

import errno
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.request import ProxyHandler, build_opener

import pytest

from isoclinic.errors import InputError
from isoclinic.reception import outlets
from isoclinic.reception.deliveries import NotNowError, RefusedError
from isoclinic.reception.health import HealthPage
from isoclinic.reception.outlets import LineFile, Webhook
from raising import raises

from .senders import free_port

LINES = [{"number": number, "state": "done"} for number in range(4)]


def read(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_added(tmp_path):
    file = LineFile(tmp_path / "lines.jsonl")
    file.renew(LINES[:2])
    for line in LINES[2:]:
        file.append(line)
    assert read(tmp_path / "lines.jsonl") == LINES and not file.stale


@pytest.mark.parametrize("present", ["", '{"number": 0, "st', '{"number": 0}\n{"number": 9}\n'])
def test_what_an_end_has_left_is_put_right(tmp_path, present):
    (tmp_path / "lines.jsonl").write_text(present)
    LineFile(tmp_path / "lines.jsonl").renew(LINES)
    assert read(tmp_path / "lines.jsonl") == LINES


def test_a_file_that_is_right_is_not_touched(tmp_path):
    path = tmp_path / "lines.jsonl"
    LineFile(path).renew(LINES)
    before = path.stat()
    LineFile(path).renew(LINES)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_on_a_full_disk_it_is_to_be_renewed(tmp_path, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    file = LineFile(tmp_path / "lines.jsonl")
    file.renew(LINES[:1])
    with monkeypatch.context() as patch, raises(InputError, "output.unwritable", tmp_path / "lines.jsonl"):
        patch.setattr(outlets.os, "fsync", full)
        file.append(LINES[1])
    assert file.stale
    file.renew(LINES)
    assert read(tmp_path / "lines.jsonl") == LINES and not file.stale


class Receiver:
    """A web server that keeps what it is sent: content type, key and line of each request."""

    def __init__(self, status: int = 200, location: str = "") -> None:
        self.got: list[tuple[str, str, dict]] = []
        self.status = status
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["Content-Length"]))
                told = (self.headers["Content-Type"], self.headers["Idempotency-Key"], json.loads(content))
                receiver.got.append(told)
                self.send_response(receiver.status)
                if location:
                    self.send_header("Location", location)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_address[1]}/hook"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def receiver():
    made = []

    def make(**named):
        made.append(Receiver(**named))
        return made[-1]

    yield make
    for each in made:
        each.stop()


def test_a_web_address_gets_a_line_with_a_key_of_its_own(receiver):
    there = receiver()
    hook = Webhook(there.address, 10)
    for line in (*LINES, LINES[0]):
        hook(line)
    assert [(kind, line) for kind, _, line in there.got[:4]] == [("application/json", line) for line in LINES]
    keys = [key for _, key, _ in there.got]
    assert len(set(keys)) == 4 and keys[4] == keys[0]
    assert all(key[0] == key[-1] == '"' and len(key) == 66 for key in keys)


@pytest.mark.parametrize("status", [400, 410, 422])
def test_a_line_that_is_never_taken_is_refused(receiver, status):
    hook = Webhook(f"{receiver(status=status).address}?token=secret", 10)
    with pytest.raises(RefusedError, match=str(status)) as raised:
        hook(LINES[0])
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("status", [301, 302, 307, 401, 404, 409, 429, 500, 503])
def test_any_other_answer_is_no_arrival(receiver, status):
    """A redirection leads to a page that takes everything, but would get no line."""
    elsewhere = receiver()
    there = receiver(status=status, location=elsewhere.address)
    with pytest.raises(NotNowError, match=str(status)):
        Webhook(there.address, 10)(LINES[0])
    assert len(there.got) == 1 and elsewhere.got == []


def test_nobody_is_there():
    with pytest.raises(NotNowError, match="URLError") as raised:
        Webhook(f"http://127.0.0.1:{free_port()}/?token=secret", 5)(LINES[0])
    assert "secret" not in str(raised.value)


def test_the_health_page():
    told = {"status": "ok", "problems": []}
    page = HealthPage(0, lambda: told)
    opener = build_opener(ProxyHandler({}))

    def asked(path: str) -> tuple[int, bytes]:
        try:
            with opener.open(f"http://127.0.0.1:{page.port}{path}", timeout=10) as answer:
                return answer.status, answer.read()
        except OSError as error:
            with error:
                return error.code, error.read()

    try:
        status, content = asked("/healthz")
        assert status == 200 and json.loads(content) == told
        told = {"status": "failing", "problems": ["the disk is full"]}
        status, content = asked("/healthz")
        assert status == 503 and json.loads(content) == told
        assert asked("/")[0] == 404
        with raises(InputError, "reception.cannot-listen"):
            HealthPage(page.port, lambda: told)
    finally:
        page.stop()
