"""The loop: one image after another, whatever one of them does, and a clean end at any moment."""

from __future__ import annotations

import errno
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from isoclinic.errors import InputError, IsoclinicError
from isoclinic.reception import Listener, ReceptionConfig, Spool
from isoclinic.reception.registrar import LINE, Found, line_of
from raising import raises

from .conftest import VOLUME, content, image


class Scripted:
    """In the place of a registrar: does what is said for an image when it is found or written, by its number.

    Attributes:
        seen: images that were registered, in their order.
        steps: what was done, in its order.
    """

    def __init__(self, script=None, writing=None, doubtful=()) -> None:
        self.script = script or {}
        self.writing = writing or {}
        self.doubtful = doubtful
        self.seen: list[int] = []
        self.steps: list[str] = []
        self.restored = None

    def find(self, received, folder: Path) -> Found:
        self.seen.append(received.number)
        self.steps.append(f"find {received.number}")
        self._play(self.script, received.number)
        doubts = ["it is off"] if received.number in self.doubtful else []
        line = {
            **line_of(received, "done", received.received_at),
            "status": "doubtful" if doubts else "converged",
            "doubts": doubts,
            "expected_error_mm": None if doubts else 1.0,
            "camera_from_world": pose_of(received.number),
            "output": str(folder),
        }
        state = {"after": received.number}
        return Found(image=received, folder=folder, result=None, said=[], line=line, state=state)

    def write(self, found: Found) -> Iterator[None]:
        self.steps.append(f"write {found.image.number}")
        half = found.folder.with_name(f".{found.folder.name}.new")
        half.mkdir(parents=True)
        try:
            yield
            self._play(self.writing, found.image.number)
        finally:
            half.rmdir()
        found.folder.mkdir(parents=True)  # its parent is there, but not in `crashed`
        (found.folder / LINE).write_text(json.dumps(found.line))

    def _play(self, script, number: int) -> None:
        step = script.get(number)
        if isinstance(step, list):
            step = step.pop(0) if step else None
        if step is not None:
            raise step

    def restore(self, state) -> bool:
        self.restored = state
        return state is not None


def pose_of(number: int) -> list[list[float]]:
    """A pose by which images can be told apart."""
    return [[1.0, 0.0, 0.0, float(number)], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]]


@pytest.fixture
def listen(tmp_path, monkeypatch):
    """Run a listener until every image is done or failed, then interrupt it; or until it ends by itself."""

    def run(registrar, *, count: int = 0, **settings: object) -> Spool:
        spool = Spool(tmp_path / "out", VOLUME)
        for number in range(count):
            spool.store(content(image(number, SOPInstanceUID=f"1.2.{number + 1}")), source="dicom:ARM")
        real = spool.wait

        def wait(timeout_s: float) -> None:
            counts = spool.counts()
            if not counts["received"] + counts["registering"]:
                raise KeyboardInterrupt
            real(timeout_s)

        monkeypatch.setattr(spool, "wait", wait)
        settings = {"port": None, "retry_s": 0.01, **settings}
        with pytest.raises(KeyboardInterrupt):
            Listener(spool, registrar, ReceptionConfig(**settings)).run()
        return Spool(tmp_path / "out", VOLUME)  # the listener has closed the other one

    opened: list[Spool] = []

    def kept(*arguments, **named) -> Spool:
        for each in opened:
            each.close()
        opened.append(run(*arguments, **named))
        return opened[-1]

    yield kept
    for each in opened:
        each.close()


def told(spool: Spool) -> list[dict]:
    return json_lines(spool.folder)


def json_lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_images_are_registered_in_their_order(listen):
    registrar = Scripted()
    spool = listen(registrar, count=5)
    assert registrar.seen == [1, 2, 3, 4, 5] and registrar.restored is None
    assert told(spool) == spool.lines()
    assert [(line["number"], line["state"]) for line in told(spool)] == [(n, "done") for n in range(1, 6)]
    assert spool.about("session") == {"after": 5}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("no geometry", code="xray.geometry-missing"), "xray.geometry-missing"),
        (IsoclinicError("diverged", code="registration.diverged"), "registration.diverged"),
        (ZeroDivisionError("a bug, of Doe^Jane"), "reception.unexpected"),
        (MemoryError(), "reception.unexpected"),
    ],
)
def test_one_failure_does_not_stop_the_rest(listen, caplog, error, code):
    caplog.set_level(logging.DEBUG, "isoclinic")
    spool = listen(Scripted({2: error}), count=3)
    lines = sorted(told(spool), key=lambda line: line["number"])
    assert [line["state"] for line in lines] == ["done", "failed", "done"]
    assert lines[1]["error"]["code"] == code and str(error) in lines[1]["error"]["message"]
    assert code in caplog.text and "Doe" not in caplog.text


def test_poses_are_found_before_files_are_written(listen):
    registrar = Scripted({2: ZeroDivisionError()})
    spool = listen(registrar, count=4)
    finds, writes = [f"find {n}" for n in (1, 2, 3, 4)], [f"write {n}" for n in (1, 3, 4)]
    assert registrar.steps == [*finds, *writes]
    # The one that failed was finished first.
    assert [line["number"] for line in told(spool)] == [2, 1, 3, 4]
    assert spool.about("session") == {"after": 4}


def test_an_image_that_arrives_while_files_are_written_does_not_wait_for_them(tmp_path):
    """A second image arrives after the first step of the writing of the first one."""
    spool, registrar = Spool(tmp_path / "out", VOLUME), Scripted()
    spool.store(content(image(1, SOPInstanceUID="1.2.1")), source="folder")
    real = registrar.write

    def write(found: Found) -> Iterator[None]:
        for step in real(found):
            spool.store(content(image(2, SOPInstanceUID="1.2.2")), source="folder")
            yield step

    def wait(_: float) -> None:
        raise KeyboardInterrupt

    registrar.write, spool.wait = write, wait
    with pytest.raises(KeyboardInterrupt):
        Listener(spool, registrar, ReceptionConfig()).run()
    assert registrar.steps == ["find 1", "write 1", "find 2", "write 2"]
    assert [line["number"] for line in json_lines(tmp_path / "out")] == [1, 2]


def test_files_are_written_before_too_many_wait(listen):
    registrar = Scripted()
    listen(registrar, count=10)
    assert registrar.steps[:10] == [*(f"find {n}" for n in range(1, 9)), "write 1", "find 9"]


def test_files_that_cannot_be_made_are_a_failure_of_that_image(listen):
    registrar = Scripted(writing={2: ZeroDivisionError("of Doe^Jane")})
    spool = listen(registrar, count=3)
    assert [(line["number"], line["state"]) for line in told(spool)] == [
        *((1, "done"), (2, "failed"), (3, "done")),
    ]
    assert spool.about("session") == {"after": 3}


def test_on_a_full_disk_what_is_found_is_not_found_again(listen):
    full = InputError("no space", code="output.unwritable")
    registrar = Scripted(writing={1: [full, full], 2: [full]})
    spool = listen(registrar, count=3)
    assert registrar.seen == [1, 2, 3]
    assert [line["state"] for line in told(spool)] == ["done"] * 3


def test_interrupted_before_files_are_written_it_begins_with_the_same_state(listen, tmp_path):
    spool = Spool(tmp_path / "out", VOLUME)
    for number in range(3):
        spool.store(content(image(number, SOPInstanceUID=f"1.2.{number + 1}")), source="folder")
    with pytest.raises(KeyboardInterrupt):
        Listener(spool, Scripted(writing={2: KeyboardInterrupt()}), ReceptionConfig()).run()
    registrar = Scripted()
    spool = listen(registrar)
    assert registrar.restored == {"after": 1}
    assert registrar.seen == [2, 3]
    assert [line["number"] for line in told(spool)] == [1, 2, 3]


@pytest.mark.parametrize("attempts", [1, 3])
def test_images_that_waited_for_their_files_are_not_blamed_for_an_end_of_the_program(
    listen, tmp_path, attempts
):
    """Image 3 ends the program each time; images 1 and 2 were found, but not written, at the first end."""
    folder = tmp_path / "out"
    spool = Spool(folder, VOLUME)
    for number in range(3):
        spool.store(content(image(number, SOPInstanceUID=f"1.2.{number + 1}")), source="folder")
    for _ in range(attempts):
        registrar = Scripted({3: SystemExit()})
        listener = Listener(spool, registrar, ReceptionConfig(attempts=attempts))
        listener._leave = lambda: None  # as it is killed
        with pytest.raises(SystemExit):
            listener.run()
        spool.close()
        spool = Spool(folder, VOLUME)
    spool.close()
    lines = told(listen(Scripted(), attempts=attempts))
    assert [(line["number"], line["state"]) for line in lines] == [
        *((1, "done"), (2, "done"), (3, "failed")),
    ]
    assert lines[2]["error"]["code"] == "reception.ended"


def test_an_interrupted_image_waits_and_its_attempt_does_not_count(listen, tmp_path):
    spool = Spool(tmp_path / "out", VOLUME)
    spool.store(content(image()), source="folder")
    with pytest.raises(KeyboardInterrupt):
        Listener(spool, Scripted({1: KeyboardInterrupt()}), ReceptionConfig()).run()
    registrar = Scripted()
    spool = listen(registrar, attempts=1)
    assert registrar.seen == [1] and told(spool)[0]["state"] == "done"


def test_a_full_disk_is_waited_for(listen):
    full = InputError("no space", code="output.unwritable")
    registrar = Scripted({1: [full, full, full, full]})
    spool = listen(registrar, count=2, attempts=2)
    assert registrar.seen == [1, 1, 1, 1, 1, 2]
    assert [line["state"] for line in told(spool)] == ["done", "done"]


def test_a_ledger_that_cannot_be_written_after_a_result_repeats_nothing(listen, monkeypatch):
    real, failures = Spool.finish, [InputError("full", code="output.unwritable")] * 2

    def finish(self, *arguments, **named):
        if failures:
            raise failures.pop()
        real(self, *arguments, **named)

    monkeypatch.setattr(Spool, "finish", finish)
    registrar = Scripted()
    spool = listen(registrar, count=2)
    assert registrar.seen == [1, 2]
    assert [line["number"] for line in told(spool)] == [1, 2]


def crashed(folder: Path, *, result: bool) -> None:
    """What is left when the program is killed while it registers, or just after it has written the result."""
    spool = Spool(folder, VOLUME)
    spool.store(content(image()), source="folder")
    taken = spool.next()
    if result:
        registrar = Scripted()
        for _ in registrar.write(registrar.find(taken, folder / "results" / "0001")):
            pass
    spool.close()


def test_killed_while_it_registers_it_registers_again(listen, tmp_path):
    crashed(tmp_path / "out", result=False)
    registrar = Scripted()
    spool = listen(registrar)
    assert registrar.seen == [1] and len(told(spool)) == 1


def test_killed_after_a_result_it_repeats_nothing(listen, tmp_path):
    crashed(tmp_path / "out", result=True)
    registrar = Scripted()
    spool = listen(registrar)
    assert registrar.seen == [] and [line["state"] for line in told(spool)] == ["done"]
    assert spool.counts()["done"] == 1


def test_what_was_written_by_half_is_gone_at_the_next_start(listen, tmp_path):
    crashed(tmp_path / "out", result=False)
    for name in ("results/.0001.123.new", "results/.0001.123.new/structures"):
        (tmp_path / "out" / name).mkdir(parents=True, exist_ok=True)
    (tmp_path / "out" / ".123.results.jsonl").write_text("{")
    listen(Scripted())
    names = sorted(each.name for each in (tmp_path / "out").iterdir())
    assert names == ["ledger.sqlite", "received", "results", "results.jsonl"]
    assert [each.name for each in (tmp_path / "out" / "results").iterdir()] == ["0001"]


def test_killed_before_its_line_was_written_it_writes_it(listen, tmp_path):
    first = listen(Scripted(), count=2)
    lines = told(first)
    (tmp_path / "out" / "results.jsonl").write_text(json.dumps(lines[0]) + '\n{"numb')
    first.close()
    registrar = Scripted()
    assert told(listen(registrar)) == lines
    assert registrar.seen == [] and registrar.restored == {"after": 2}


def test_an_image_that_kills_the_program_each_time_fails_in_the_end(listen, tmp_path):
    folder = tmp_path / "out"
    crashed(folder, result=False)
    spool = Spool(folder, VOLUME)
    spool.put_back(spool.registering()[0], counts=True)
    assert spool.next().attempts == 2
    spool.close()
    registrar = Scripted()
    spool = listen(registrar, attempts=2)
    assert registrar.seen == []
    (line,) = told(spool)
    assert line["state"] == "failed" and line["error"]["code"] == "reception.ended"


def test_a_result_of_another_image_is_not_taken(tmp_path):
    crashed(tmp_path / "out", result=True)
    path = tmp_path / "out" / "results" / "0001" / LINE
    path.write_text(path.read_text().replace('"sha256": "', '"sha256": "0'))
    spool = Spool(tmp_path / "out", VOLUME)
    with raises(InputError, "reception.damaged"):
        Listener(spool, Scripted(), ReceptionConfig()).run()


def test_lines_that_could_not_be_written_are_there_with_the_next(listen, monkeypatch):
    from isoclinic.reception import outlets

    real, failures = outlets.LineFile.append, [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))]

    def append(self, line):
        if failures:
            self.stale = True
            failures.pop()
            raise InputError("full", code="output.unwritable")
        real(self, line)

    monkeypatch.setattr(outlets.LineFile, "append", append)
    assert [line["number"] for line in told(listen(Scripted(), count=3))] == [1, 2, 3]


def test_its_health_says_what_is_wrong(tmp_path):
    spool = Spool(tmp_path / "out", VOLUME)
    spool.store(content(image()), source="folder")
    watched = tmp_path / "watched"
    watched.mkdir()
    full = InputError("no space", code="output.unwritable")
    config = ReceptionConfig(watch=watched, retry_s=0.2)
    listener = Listener(spool, Scripted({1: [full]}), config)
    found = []

    def look() -> None:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found.append(listener.health())
            was_full = any("disk full" in str(each["problems"]) for each in found)
            if was_full and found[-1]["status"] == "ok":
                return
            time.sleep(0.01)

    before = listener.health()
    assert before["status"] == "failing" and "not looked through" in before["problems"][0]
    looking = threading.Thread(target=look)
    real = spool.wait

    def wait(timeout_s: float) -> None:
        if not looking.is_alive():
            raise KeyboardInterrupt
        real(0.05)

    spool.wait = wait
    looking.start()
    with pytest.raises(KeyboardInterrupt):
        listener.run()
    assert any("disk full" in str(each["problems"]) for each in found)
    assert found[-1]["status"] == "ok" and found[-1]["problems"] == []
