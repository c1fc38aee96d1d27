"""The spool loses nothing that was acknowledged and repeats nothing that was finished, however it ends."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading

import pytest

from isoclinic.errors import InputError, UsageError
from isoclinic.reception import Spool
from isoclinic.reception import spool as spool_module
from isoclinic.reception.spool import LEDGER
from raising import raises

from .conftest import VOLUME, content, image, stored


def test_an_image_from_its_arrival_to_its_end(spool):
    whole = content(image())
    digest, new = spool.store(whole, source="dicom:ARM")
    assert new and spool.counts() == {"received": 1, "registering": 0, "done": 0, "failed": 0}
    taken = spool.next()
    assert (taken.number, taken.digest, taken.source, taken.attempts) == (1, digest, "dicom:ARM", 1)
    assert taken.path.read_bytes() == whole and taken.path.suffix == ".dcm"
    assert spool.counts()["registering"] == 1 and spool.next() is None
    spool.finish(taken, "done", {"number": 1}, {"pose": [1, 2]})
    assert spool.lines() == [{"number": 1}] and spool.about("pose") == [1, 2]
    assert spool.counts()["done"] == 1 and spool.next() is None


def test_the_same_image_is_kept_once_whatever_has_become_of_it(spool):
    whole = content(image())
    spool.store(whole, source="folder")
    assert spool.store(whole, source="folder")[1] is False
    spool.finish(spool.next(), "failed", {"number": 1})
    assert spool.store(whole, source="dicom:ARM")[1] is False
    assert spool.next() is None and len(stored(spool)) == 1


def test_images_come_in_the_order_of_their_arrival(spool):
    for number in range(3):
        spool.store(content(image(number)), source="folder")
    first = spool.next()
    spool.put_back(first)
    assert [spool.next().number for _ in range(3)] == [1, 2, 3]


def test_attempts_count_unless_they_are_taken_back(spool):
    spool.store(content(image()), source="folder")
    spool.put_back(spool.next())
    assert spool.next().attempts == 1
    spool.put_back(spool.registering()[0], counts=True)
    assert spool.next().attempts == 2


def test_failed_images_can_be_tried_again(spool):
    for number in range(2):
        spool.store(content(image(number)), source="folder")
    spool.finish(spool.next(), "failed", {"number": 1})
    spool.finish(spool.next(), "done", {"number": 2})
    assert spool.retry_failed() == 1
    assert spool.lines() == [{"number": 2}]
    again = spool.next()
    assert (again.number, again.attempts) == (1, 1)
    spool.finish(again, "done", {"number": 1})
    assert spool.lines() == [{"number": 2}, {"number": 1}]


def test_sidecars_lie_beside_their_image(spool):
    spool.store(b"picture", source="folder", suffix=".png", sidecars={".json": b"{}"})
    path = spool.next().path
    assert path.suffix == ".png" and path.with_suffix(".json").read_bytes() == b"{}"


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_on_a_full_disk_nothing_stays(spool, monkeypatch, call):
    whole = content(image())
    with monkeypatch.context() as patch, raises(InputError, "output.unwritable", spool.folder / "received"):
        patch.setattr(spool_module.os, call, full)
        spool.store(whole, source="folder")
    assert stored(spool) == [] and spool.counts()["received"] == 0
    assert spool.store(whole, source="folder")[1] is True


def test_on_a_disk_too_full_for_the_ledger_nothing_stays(spool):
    # SQLite's own limit on the size of a file raises what a full disk does.
    pages = spool._db.execute("PRAGMA page_count").fetchone()[0]
    spool._db.execute(f"PRAGMA max_page_count = {pages}")
    kept = []
    with raises(InputError, "output.unwritable", spool.folder / "received"):
        for number in range(1000):
            kept.append(spool.store(content(image(number)), source="folder")[0])
    assert kept and {each.stem for each in stored(spool)} == set(kept)
    with raises(InputError, "output.unwritable", spool.folder):
        spool.finish(spool.next(), "done", {"text": "x" * 10**6}, {"state": 1})
    spool._db.execute("PRAGMA max_page_count = 1000000")
    (begun,) = spool.registering()
    spool.finish(begun, "done", {"number": begun.number}, {"state": 1})
    assert spool.about("state") == 1


def test_what_was_never_acknowledged_is_gone_at_the_next_start(tmp_path):
    first = Spool(tmp_path / "out", VOLUME)
    digest, _ = first.store(content(image()), source="folder")
    first.close()
    folder = tmp_path / "out" / "received"
    (folder / f"{'1' * 64}.dcm").write_bytes(b"renamed, but not in the ledger")
    (folder / f".{'2' * 64}.dcm.part").write_bytes(b"half")
    second = Spool(tmp_path / "out", VOLUME)
    assert [each.stem for each in stored(second)] == [digest]
    second.close()


def test_one_process_at_a_time(spool):
    with raises(UsageError, "reception.in-use"):
        Spool(spool.folder, VOLUME)


def test_another_ct_is_refused(tmp_path):
    Spool(tmp_path / "out", VOLUME).close()
    with raises(UsageError, "output.of-other-settings"):
        Spool(tmp_path / "out", "1" * 64)
    Spool(tmp_path / "out", VOLUME).close()


def test_folders_of_something_else_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with raises(UsageError, "output.not-a-folder"):
        Spool(tmp_path / "file", VOLUME)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.docx").write_text("x")
    with raises(UsageError, "output.foreign-files"):
        Spool(tmp_path / "other", VOLUME)
    assert [each.name for each in (tmp_path / "other").iterdir()] == ["thesis.docx"]


def test_images_without_their_ledger_are_never_removed(tmp_path):
    first = Spool(tmp_path / "out", VOLUME)
    first.store(content(image()), source="folder")
    first.close()
    ledger = tmp_path / "out" / LEDGER
    ledger.rename(tmp_path / "away")
    with raises(InputError, "reception.damaged"):
        Spool(tmp_path / "out", VOLUME)
    ledger.write_bytes(b"no database" * 100)
    with raises(InputError, "reception.damaged"):
        Spool(tmp_path / "out", VOLUME)
    assert len(list((tmp_path / "out" / "received").iterdir())) == 1


def test_a_closed_spool_acknowledges_nothing(spool):
    spool.close()
    with raises(InputError, "reception.damaged"):
        spool.store(content(image()), source="folder")
    assert stored(spool) == []


def test_many_senders_at_a_time(spool):
    # Two thirds are sent by two of them.
    numbers = [(start * 5 + each) % 40 for start in range(8) for each in range(10)]
    told: list[tuple[int, str, bool]] = []
    whole = {number: content(image(number, SOPInstanceUID=f"1.2.{number + 1}")) for number in set(numbers)}

    def send(part: list[int]) -> None:
        for number in part:
            told.append((number, *spool.store(whole[number], source="folder")))

    threads = [threading.Thread(target=send, args=(numbers[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == len(numbers)
    assert sum(new for _, _, new in told) == len(whole) == spool.counts()["received"]
    assert len({digest for _, digest, _ in told}) == len(whole) == len(stored(spool))


# A sender in a process of its own: it prints each digest after it was stored, until it is killed.
SENDER = """
import sys
from pathlib import Path
from isoclinic.reception import Spool
spool = Spool(Path(sys.argv[1]), "0" * 64)
number = int(sys.argv[2])
while True:
    number += 1
    print(spool.store(b"image %d" % number, source="folder")[0], flush=True)
    if number % 2:
        taken = spool.next()
        print("next", taken.digest, flush=True)
        spool.finish(taken, "done", {"digest": taken.digest})
        print("done", taken.digest, flush=True)
"""


@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL")
@pytest.mark.slow
def test_killed_at_any_moment_it_keeps_what_it_has_said(tmp_path):
    folder, said = tmp_path / "out", []
    for turn in range(6):
        program = subprocess.Popen(
            [sys.executable, "-c", SENDER, str(folder), str(turn * 10000)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(7 + turn):  # at another place each time
            said.append(program.stdout.readline().split())
        program.send_signal(signal.SIGKILL)
        said += [line.split() for line in program.stdout.read().splitlines()]
        program.stdout.close()
        program.wait()
        spool = Spool(folder, VOLUME)
        acknowledged = {words[0] for words in said if len(words) == 1}
        done = {words[1] for words in said if words[0] == "done"}
        there = {each.stem for each in stored(spool)}
        assert acknowledged <= there
        finished = [line["digest"] for line in spool.lines()]
        assert len(finished) == len(set(finished)) and done <= set(finished)
        assert sum(spool.counts().values()) == len(there)
        assert len(spool.registering()) <= 1
        for each in spool.registering():
            spool.put_back(each)
        spool.close()
    with sqlite3.connect(folder / LEDGER) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    db.close()
