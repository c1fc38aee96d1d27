"""What must arrive somewhere does, whenever the program or the other side ends."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from isoclinic.reception import Spool
from isoclinic.reception.deliveries import Delivery, NotNowError, RefusedError
from isoclinic.reception.registrar import line_of

from .conftest import VOLUME, content, image

PATIENCE_S = 20


class Place:
    """Where lines arrive; does what is said for the next attempts."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.got: list[int] = []
        self.attempts: list[int] = []

    def __call__(self, line) -> None:
        self.attempts.append(line["number"])
        step = self.script.pop(0) if self.script else None
        if step is not None:
            raise step
        self.got.append(line["number"])


def finished(spool: Spool, *numbers: int, state: str = "done") -> None:
    """Let images arrive and be done."""
    for number in numbers:
        spool.store(content(image(number, SOPInstanceUID=f"1.2.{number}")), source="folder")
        taken = spool.next()
        spool.finish(taken, state, {**line_of(taken, state, taken.received_at), "umlaut": "ä", "x": 0.1})


@pytest.fixture
def deliver(spool):
    started = []

    def start(place: Place, **named: float) -> Delivery:
        settings = {"retry_s": 0.01, "patience_s": 5.0, **named}
        started.append(Delivery(spool, "webhook", place, **settings))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def until(true) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_what_is_finished_arrives_once_in_its_order(spool, deliver):
    finished(spool, 1, 2)
    place = Place()
    delivery = deliver(place)
    until(lambda: place.got == [1, 2])
    finished(spool, 3, state="failed")
    delivery.wake()
    until(lambda: place.got == [1, 2, 3])
    delivery.wake()
    until(lambda: spool.undelivered("webhook") == [])
    delivery.stop()
    assert place.attempts == [1, 2, 3]


def test_while_nobody_answers_it_is_tried_again(spool, deliver, caplog):
    caplog.set_level(logging.INFO, "isoclinic")
    finished(spool, 1, 2)
    place = Place(*[NotNowError("does not answer")] * 3)
    delivery = deliver(place, retry_s=0.05)
    until(lambda: delivery.problem)
    assert delivery.problem == "webhook: does not answer"
    until(lambda: place.got == [1, 2])
    until(lambda: not delivery.problem)
    assert place.attempts == [1, 1, 1, 1, 2]
    # Once, however often it was tried.
    assert caplog.text.count("does not answer; it is tried again") == 1
    assert caplog.text.count("answers again") == 1


def test_what_is_refused_holds_up_nothing_and_is_tried_at_the_next_start(spool, deliver, caplog):
    finished(spool, 1, 2)
    place = Place(RefusedError("status 400"))
    delivery = deliver(place)
    until(lambda: place.got == [2])
    finished(spool, 3)
    delivery.wake()
    until(lambda: place.got == [2, 3])
    until(lambda: delivery.problem == "webhook: 1 refused")
    delivery.stop()
    assert place.attempts == [1, 2, 3] and "image 1 is refused: status 400" in caplog.text
    again = Place()
    deliver(again)
    until(lambda: again.got == [1])


def test_an_error_that_nobody_foresaw_holds_up_nothing(spool, deliver, caplog):
    finished(spool, 1, 2)
    place = Place(ZeroDivisionError("of Doe^Jane"))
    delivery = deliver(place)
    until(lambda: place.got == [2] and delivery.problem)
    assert "ZeroDivisionError at" in caplog.text and "Doe" not in caplog.text
    assert [line["number"] for line in spool.undelivered("webhook")] == [1]


def test_what_has_not_arrived_is_sent_after_the_next_start(tmp_path):
    spool = Spool(tmp_path / "out", VOLUME)
    finished(spool, 1, 2, 3)
    place = Place(None, *[NotNowError("gone")] * 1000)
    delivery = Delivery(spool, "send", place, retry_s=0.01, patience_s=5)
    until(lambda: len(place.attempts) > 3)
    delivery.stop()
    spool.close()
    spool = Spool(tmp_path / "out", VOLUME)
    again, other = Place(), Place()
    deliveries = [Delivery(spool, "send", again, retry_s=1, patience_s=5)]
    deliveries.append(Delivery(spool, "webhook", other, retry_s=1, patience_s=5))
    until(lambda: again.got == [2, 3] and other.got == [1, 2, 3])
    for each in deliveries:
        each.stop()
    spool.close()


def test_ended_between_an_arrival_and_its_note_the_same_line_is_sent_again(tmp_path):
    sent = []

    def deliver(line) -> None:
        sent.append(line)

    spool = Spool(tmp_path / "out", VOLUME)
    finished(spool, 1)
    spool.delivered = lambda *_: time.sleep(1000)
    Delivery(spool, "webhook", deliver, retry_s=1, patience_s=0.01)
    until(lambda: sent)
    spool.close()
    spool = Spool(tmp_path / "out", VOLUME)
    delivery = Delivery(spool, "webhook", deliver, retry_s=1, patience_s=5)
    until(lambda: len(sent) == 2)
    assert sent[0] == sent[1]
    delivery.stop()
    spool.close()


def test_an_image_that_is_registered_again_is_told_again(spool, deliver):
    finished(spool, 1, state="failed")
    place = Place()
    delivery = deliver(place)
    until(lambda: spool.undelivered("webhook") == [] and place.got == [1])
    (old,) = spool.lines()
    assert spool.retry_failed() == 1 and spool.undelivered("webhook") == []
    # Its note comes late, when the line is none any more.
    spool.delivered("webhook", old)
    taken = spool.next()
    spool.finish(taken, "done", line_of(taken, "done", taken.received_at))
    delivery.wake()
    until(lambda: place.got == [1, 1])


def test_it_ends_while_it_waits(spool, deliver):
    finished(spool, 1)
    place = Place(*[NotNowError("gone")] * 5)
    delivery = deliver(place, retry_s=1000)
    until(lambda: place.attempts)
    began = time.monotonic()
    delivery.stop()
    assert time.monotonic() - began < 4 and "nothing is sent" in delivery.problem


def test_it_ends_although_an_attempt_goes_on(spool, deliver):
    finished(spool, 1)
    held = threading.Event()
    begun = threading.Event()

    def deliver_slowly(_) -> None:
        begun.set()
        held.wait(PATIENCE_S)

    delivery = deliver(deliver_slowly, patience_s=0.05)
    assert begun.wait(PATIENCE_S)
    delivery.stop()
    spool.close()
    held.set()  # and finds the ledger closed
    until(lambda: not delivery._thread.is_alive())


def test_the_ledger_of_an_older_version_gets_what_it_lacks(tmp_path: Path):
    spool = Spool(tmp_path / "out", VOLUME)
    finished(spool, 1)
    spool.close()
    with sqlite3.connect(tmp_path / "out" / "ledger.sqlite") as db:
        db.execute("DROP TABLE delivered")
        db.execute("DELETE FROM about WHERE name = 'identity'")
    db.close()
    spool = Spool(tmp_path / "out", VOLUME)
    identity = spool.identity
    assert [line["number"] for line in spool.undelivered("send")] == [1] and len(identity) == 32
    spool.close()
    spool = Spool(tmp_path / "out", VOLUME)
    assert spool.identity == identity
    spool.close()
