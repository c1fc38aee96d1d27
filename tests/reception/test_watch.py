"""Files of a watched folder are taken once they are complete, and once."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil

import pytest
from PIL import Image

from isoclinic.errors import InputError
from isoclinic.reception import ReceptionConfig
from isoclinic.reception import spool as spool_module
from isoclinic.reception.watch import FolderWatch
from raising import raises

from .conftest import content, image, stored


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "exports"
    made.mkdir()
    return made


@pytest.fixture
def watch(spool, folder):
    """A watch whose clock is that of the test: it is called with the time."""
    config = ReceptionConfig(watch=folder, settle_s=1, patience_s=10, largest_mb=1)
    return FolderWatch(spool, config)


def test_a_file_is_taken_when_it_rests_and_then_no_more(spool, folder, watch):
    (folder / "x.dcm").write_bytes(content(image()))
    watch.scan(0.0)
    watch.scan(0.9)
    assert spool.counts()["received"] == 0
    watch.scan(1.0)
    taken = spool.next()
    assert taken.source == "folder" and taken.path.read_bytes() == (folder / "x.dcm").read_bytes()
    for now_s in (2.0, 20.0):
        watch.scan(now_s)
    assert spool.next() is None


def test_a_growing_file_is_waited_for(spool, folder, watch):
    whole = content(image())
    growing = folder / "x.dcm"
    for step in range(1, 5):
        growing.write_bytes(whole[: step * len(whole) // 5])
        watch.scan(float(step))
        watch.scan(step + 0.9)
    # The copy stalls for longer than a file must rest: it cannot be read yet.
    watch.scan(9.0)
    assert spool.counts()["received"] == 0 and stored(spool) == []
    growing.write_bytes(whole)
    watch.scan(10.0)
    watch.scan(11.0)
    assert spool.next().path.read_bytes() == whole


def test_a_file_that_stays_unreadable_is_taken_so_that_its_failure_is_told(spool, folder, watch):
    (folder / "x.dcm").write_bytes(content(image())[:-50])
    watch.scan(0.0)
    watch.scan(9.9)
    assert spool.counts()["received"] == 0
    watch.scan(10.0)
    assert spool.counts()["received"] == 1


def test_the_same_image_under_two_names_is_one(spool, folder, watch):
    (folder / "sub" / "deeper").mkdir(parents=True)
    for name in ("a.dcm", "sub/b.dcm", "sub/deeper/1.2.840.5"):
        (folder / name).write_bytes(content(image(SOPInstanceUID="1.2.3")))
    (folder / "c.dcm").write_bytes(content(image(SOPInstanceUID="1.2.4")))
    watch.scan(0.0)
    watch.scan(1.0)
    assert spool.counts()["received"] == 2


def test_a_file_that_is_replaced_is_another_image(spool, folder, watch):
    for number, now_s in ((0, 0.0), (1, 5.0)):
        (folder / "latest.dcm").write_bytes(content(image(number)))
        watch.scan(now_s)
        watch.scan(now_s + 1)
    assert spool.counts()["received"] == 2


def test_what_is_no_image_is_left_alone(spool, folder, watch):
    for name in ("DICOMDIR", ".hidden.dcm", "x.dcm.part", "x.tmp", "notes.txt", "x.dcm.filepart"):
        (folder / name).write_bytes(content(image()))
    (folder / "empty.dcm").touch()
    (folder / ".trash").mkdir()
    (folder / ".trash" / "x.dcm").write_bytes(content(image()))
    for now_s in (0.0, 1.0, 100.0):
        watch.scan(now_s)
    assert stored(spool) == []


def test_a_picture_comes_with_what_describes_it(spool, folder, watch):
    Image.new("I;16", (32, 32), 900).save(folder / "Doe Jane.PNG")
    watch.scan(0.0)
    described = json.dumps({"sdd_mm": 1000, "pixel_spacing_mm": [1, 1]})
    (folder / "Doe Jane.json").write_text(described)
    watch.scan(1.0)  # something has changed
    assert spool.counts()["received"] == 0
    watch.scan(2.0)
    path = spool.next().path
    assert path.suffix == ".png" and path.with_suffix(".json").read_text() == described
    assert "Doe" not in path.name


def test_names_that_end_in_anything_do_not_go_further(spool, folder, watch):
    (folder / "Meier.Jane").write_bytes(b"no image")
    watch.scan(0.0)
    watch.scan(10.0)
    assert [each.suffix for each in stored(spool)] == [".dcm"]


def test_files_that_are_too_large_are_left_out_and_logged(spool, folder, watch, caplog):
    dataset = image()
    dataset.add_new(0x00091010, "OB", bytes(1_100_000))
    (folder / "Doe.dcm").write_bytes(content(dataset))
    for now_s in (0.0, 1.0, 2.0):
        watch.scan(now_s)
    assert stored(spool) == []
    assert [each.levelno for each in caplog.records] == [logging.WARNING] and "Doe" not in caplog.text


def test_on_a_full_disk_a_file_is_tried_again(spool, folder, watch, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (folder / "x.dcm").write_bytes(content(image()))
    watch.scan(0.0)
    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "fsync", full)
        watch.scan(1.0)
    assert stored(spool) == [] and "disk full" in watch._problem
    watch.scan(2.0)
    assert spool.counts()["received"] == 1 and watch._problem == ""


def test_a_share_that_goes_away_comes_back(spool, folder, watch):
    shutil.move(folder, folder.with_name("away"))
    watch.scan(0.0)
    assert "cannot be read" in watch._problem
    shutil.move(folder.with_name("away"), folder)
    (folder / "x.dcm").write_bytes(content(image()))
    watch.scan(1.0)
    watch.scan(2.0)
    assert spool.counts()["received"] == 1 and watch._problem == ""


def test_logs_name_no_patient(spool, folder, watch, caplog):
    caplog.set_level(logging.DEBUG, "isoclinic")
    (folder / "Doe^Jane.dcm").write_bytes(content(image()))
    watch.scan(0.0)
    watch.scan(1.0)
    said = [each.getMessage() for each in caplog.records if each.name == "isoclinic.reception"]
    assert len(said) == 1 and "Doe" not in said[0]


def test_a_folder_that_there_is_not(spool, tmp_path):
    with raises(InputError, "input.unreadable", "`watch`", tmp_path / "nowhere"):
        FolderWatch(spool, ReceptionConfig(watch=tmp_path / "nowhere"))


def test_it_looks_by_itself(spool, folder):
    watch = FolderWatch(spool, ReceptionConfig(watch=folder, settle_s=0.05, poll_s=0.02))
    assert watch.problem
    watch.start()
    (folder / "x.dcm").write_bytes(content(image()))
    spool.wait(20)
    assert spool.counts()["received"] == 1 and watch.problem == ""
    watch.stop()
    assert watch.problem
