"""`isoclinic listen` in use: a C-arm sends, the program is killed at any moment, and nothing is lost."""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

import numpy as np
import pydicom
import pytest
import torch
from pydicom.uid import CTImageStorage, SecondaryCaptureImageStorage, generate_uid

from warm import Warm

from ..reception.senders import associated, context_of, free_port, pynetdicom, sent
from .conftest import true_pose

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="signals of POSIX"),
    # pynetdicom leaves the sockets of failed connections to the garbage collector.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"),
]
PATIENT_S = 180
# Kills the program when it calls a function for the first time.
KILLED_AT = """
import importlib, os, signal, sys
module, *names = {place!r}.split(".")
owner = importlib.import_module("isoclinic.reception." + module)
for name in names[:-1]:
    owner = getattr(owner, name)
setattr(owner, names[-1], lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
from isoclinic.cli import main
sys.exit(main())
"""


class Program:
    """The command in a process of its own."""

    def __init__(self, files, output: Path, *options: object, killed_at: str = "") -> None:
        self.output, self.said = output, output.with_name("stderr.txt")
        self.health = free_port()
        start = ["-c", KILLED_AT.format(place=killed_at)] if killed_at else ["-m", "isoclinic"]
        usual = ["--volume", files.ct, "--init", files.init, "--config", files.config]
        usual += ["--output", output, "--health-port", self.health, "--settle-s", 0.1, "--poll-s", 0.1]
        command = [sys.executable, *start, "listen", *usual, *options]
        with self.said.open("ab") as file:
            self.process = Warm(list(map(str, command)), stderr=file, stdout=file)

    def asked(self) -> dict | None:
        """What /healthz says; None where nobody answers."""
        try:
            opener = build_opener(ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{self.health}/healthz", timeout=10) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                return json.load(error)
        except OSError:
            return None

    def ready(self) -> Program:
        self.until(lambda: self.asked() is not None)
        return self

    def until(self, true) -> None:
        deadline = time.monotonic() + PATIENT_S
        while not true():
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.05)

    def lines(self) -> list[dict]:
        path = self.output / "results.jsonl"
        whole = path.read_text().rpartition("\n")[0] if path.exists() else ""
        return [json.loads(line) for line in whole.splitlines()]

    def wait_for(self, count: int) -> list[dict]:
        self.until(lambda: len(self.lines()) >= count)
        return self.lines()

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()


@pytest.fixture
def program(files, tmp_path):
    started: list[Program] = []

    def start(*options: object, **named: str) -> Program:
        started.append(Program(files, tmp_path / "out", *options, **named))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


@pytest.fixture
def images(files):
    """As many X-rays as asked for, of one patient with a name."""

    def make(count: int) -> list[pydicom.Dataset]:
        made = []
        for _ in range(count):
            dataset = pydicom.dcmread(files.xray)
            dataset.PatientName = "Doe^Jane"
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
            made.append(dataset)
        return made

    return make


@pytest.fixture
def webhook():
    """Lines that a web server was sent, and its address."""
    got: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield got, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    server.server_close()


def right(line: dict) -> bool:
    """Whether the X-ray was registered, and its pose is within a millimetre across the beam."""
    found = torch.tensor(line["camera_from_world"], dtype=torch.float64)
    return line["status"] == "converged" and float((found - true_pose())[:2, 3].norm()) < 1


@pytest.mark.slow
def test_from_the_c_arm_to_the_webhook_and_on_after_an_end(program, images, webhook):
    port, (got, address) = free_port(), webhook
    options = ("--port", port, "--allow", "ARM", "--webhook", address)
    running = program(*options).ready()
    first, second, third = images(3)
    assert sent(port, first, second) == [0x0000, 0x0000]
    assert associated(port, [context_of(first)], title="STRANGER").is_rejected
    assert not associated(port, [(CTImageStorage, context_of(first)[1])]).is_established
    lines = running.wait_for(2)
    assert all(map(right, lines)) and [each["followed"] for each in lines] == [False, True]
    assert [each["source"] for each in lines] == ["dicom:ARM"] * 2
    assert running.asked()["status"] == "ok" and running.asked()["done"] == 2
    running.until(lambda: got == lines)
    for line in lines:
        folder = Path(line["output"])
        assert (folder / "pose.json").exists() and (folder / "report.html").exists()
    assert running.end(signal.SIGTERM) == 0
    # Again: what is done is not repeated, also where it is sent again, and the pose is followed.
    running = program(*options).ready()
    assert sent(port, first, third) == [0x0000, 0x0000]
    lines = running.wait_for(3)
    assert [each["number"] for each in lines] == [1, 2, 3] and lines[2]["followed"] is True
    assert running.end(signal.SIGINT) == 0
    said = running.said.read_text()
    assert "STRANGER" in said and "Doe" not in said and "Traceback" not in said, said


@pytest.mark.slow
@pytest.mark.parametrize(
    "place",
    [
        "spool.sync_folder",  # the image is there, and the ledger does not know it
        "registrar.Registrar.find",
        "registrar.Registrar.write",
        "registrar.result_files_in_steps",
        "spool.Spool.finish",  # the result is there, and the ledger does not know it
        "outlets.LineFile.append",
    ],
)
def test_killed_at_any_state_nothing_is_lost_or_repeated(program, images, tmp_path, place):
    watched = tmp_path / "watched"
    watched.mkdir()
    (image,) = images(1)
    image.save_as(watched / "x.dcm")
    running = program("--watch", watched, killed_at=place)
    assert running.process.wait(PATIENT_S) == -signal.SIGKILL, running.said.read_text()
    result = tmp_path / "out" / "results" / "0001" / "result.json"
    before = result.stat().st_mtime_ns if result.exists() else None
    assert (before is not None) == (place in ("spool.Spool.finish", "outlets.LineFile.append"))
    running = program("--watch", watched).ready()
    (line,) = running.wait_for(1)
    assert right(line) and line["number"] == 1
    assert before in (None, result.stat().st_mtime_ns)
    assert running.end() == 0
    assert len(list((tmp_path / "out" / "received").iterdir())) == 1
    assert [each.name for each in (tmp_path / "out" / "results").iterdir()] == ["0001"]


def messages(connection: socket.socket) -> Iterator[tuple[str, str, bytes]]:
    """Type, device and body of messages of OpenIGTLink."""

    def read(count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = connection.recv(count - len(content))
            if not part:
                raise ConnectionError
            content += part
        return content

    while True:
        _, *names, _, _, size, _ = struct.unpack(">H12s20sIIQQ", read(58))
        kind, device = (each.rstrip(b"\0").decode() for each in names)
        yield kind, device, read(size)


@pytest.mark.slow
def test_slicer_has_the_pose_before_files_are_written_and_the_archive_the_overlay_after(
    program, images, tmp_path
):
    """Killed while the archive is away; nothing is lost, and nothing comes twice."""
    port, igtl, archive = (free_port() for _ in range(3))
    options = ("--port", port, "--igtl", igtl, "--send", f"127.0.0.1:{archive}", "--retry-s", 0.2)
    (image,) = images(1)
    image.StudyInstanceUID = generate_uid()
    running = program(*options).ready()
    with socket.create_connection(("127.0.0.1", igtl), timeout=PATIENT_S) as connection:
        said = messages(connection)
        assert next(said)[:2] == ("STATUS", "isoclinic_status")
        assert sent(port, image) == [0x0000]
        kind, device, body = next(said)
        written = (running.output / "results" / "0001").exists()
        assert (kind, device, written) == ("TRANSFORM", "isoclinic", False)
    (line,) = running.wait_for(1)
    matrix = np.frombuffer(body, ">f4").reshape(4, 3).T
    assert right(line) and np.allclose(matrix, np.array(line["camera_from_world"])[:3], rtol=0, atol=1e-4)
    running.until(lambda: any("send" in each for each in running.asked()["problems"]))
    running.end(signal.SIGKILL)
    got: list[pydicom.Dataset] = []

    def store(event) -> int:
        got.append(event.dataset)
        return 0x0000

    entity = pynetdicom.AE(ae_title="ANY-SCP")
    entity.add_supported_context(SecondaryCaptureImageStorage)
    server = entity.start_server(
        ("127.0.0.1", archive), block=False, evt_handlers=[(pynetdicom.evt.EVT_C_STORE, store)]
    )
    try:
        running = program(*options).ready()
        running.until(lambda: got)
        running.until(lambda: running.asked()["status"] == "ok")
        # Who connects to 3D Slicer's port now gets the pose that was found before.
        with socket.create_connection(("127.0.0.1", igtl), timeout=PATIENT_S) as connection:
            assert next(messages(connection)) == (kind, device, body)
        assert running.end() == 0
        running = program(*options).ready()
        running.until(lambda: running.asked()["status"] == "ok")
        assert running.end() == 0
    finally:
        server.shutdown()
    (overlay,) = got
    assert overlay.PatientName == "Doe^Jane" and overlay.StudyInstanceUID == image.StudyInstanceUID
    assert "converged" in overlay.ImageComments and "Doe" not in running.said.read_text()


@pytest.mark.slow
def test_a_flood_while_it_is_killed_again_and_again(program, images):
    port, waiting, count = free_port(), images(50), 50
    options = ("--port", port, "--retry-s", 1)
    seen: dict[str, int] = {}
    for kill in (True, True, False):
        running = program(*options).ready()

        def flood() -> None:
            # Like a C-arm: what was not acknowledged is sent again later.
            while waiting:
                try:
                    (status,) = sent(port, waiting[0])
                except (AssertionError, RuntimeError):
                    return
                if status != 0x0000:
                    return
                waiting.pop(0)

        sender = threading.Thread(target=flood)
        sender.start()
        if kill:
            running.wait_for(len(seen) + 3)
            running.end(signal.SIGKILL)
            sender.join()
        else:
            sender.join()
            lines = running.wait_for(count)
        results = (running.output / "results").glob("*/result.json")
        now = {str(path): path.stat().st_mtime_ns for path in results}
        assert seen.items() <= now.items()
        seen = now
    assert not waiting
    assert sorted(each["number"] for each in lines) == list(range(1, count + 1))
    assert len({each["sha256"] for each in lines}) == count and all(map(right, lines))
    assert running.asked()["done"] == count and running.end() == 0


@pytest.mark.slow
def test_what_makes_no_sense_is_refused(run, files, tmp_path):
    usual = ("listen", "--volume", files.ct, "--output", tmp_path / "out")
    run(*usual).refused(2, "options.incomplete", "--port", "--watch")
    run(*usual, "--port", 11112, "--host", "0.0.0.0").refused(2, "options.incomplete", "--allow")
    run(*usual, "--port", 11112, "--send", "archive").refused(2, "reception.invalid-value", "--send")
    run(*usual, "--port", 11112, "--igtl-name", "a b").refused(2, "reception.invalid-value", "--igtl-name")
    run(*usual, "--watch", tmp_path).refused(2, "options.conflict", "--output", "--watch")
    run(*usual, "--watch", tmp_path / "none").refused(1, "input.unreadable", "--watch", tmp_path / "none")


@pytest.mark.slow
def test_a_port_that_is_taken(run, files, tmp_path):
    usual = ("listen", "--volume", files.ct, "--output", tmp_path / "out")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run(*usual, "--port", port).refused(1, "reception.cannot-listen", "--port", port)


@pytest.mark.slow
def test_without_its_package_it_names_the_extra(run, files, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    ran = run("listen", "--volume", files.ct, "--output", tmp_path / "out", "--port", 11112)
    ran.refused(2, "installation.package-missing", "isoclinic[listen]")
