"""An archive gets each overlay once, however often either side ends, and what it refuses is said."""

from __future__ import annotations

import gc
import shutil
import subprocess
import time
from pathlib import Path

import pydicom
import pytest
from PIL import Image
from pydicom.uid import ImplicitVRLittleEndian, SecondaryCaptureImageStorage

from isoclinic.reception import ReceptionConfig, Spool
from isoclinic.reception.archive import Archive
from isoclinic.reception.deliveries import Delivery, NotNowError, RefusedError
from isoclinic.reception.registrar import line_of

from .conftest import content, image
from .senders import free_port, pynetdicom

# pynetdicom leaves the sockets of failed connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)
PATIENCE_S = 20


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()


class Store:
    """A DICOM archive that answers with these statuses, then with success."""

    def __init__(self, port: int, *statuses: int, kind=SecondaryCaptureImageStorage, title="PACS", **named):
        self.got: list[pydicom.Dataset] = []
        self.statuses = list(statuses)
        self.hold_s = 0.0
        entity = pynetdicom.AE(ae_title=title)
        entity.require_called_aet = True
        entity.add_supported_context(kind, named.get("syntax", pydicom.uid.ExplicitVRLittleEndian))
        handlers = [(pynetdicom.evt.EVT_C_STORE, self._store)]
        self.server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=handlers)

    def _store(self, event) -> int:
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.got.append(dataset)
        self.calling = event.assoc.requestor.ae_title
        time.sleep(self.hold_s)
        return self.statuses.pop(0) if self.statuses else 0x0000


@pytest.fixture
def store():
    started = []

    def start(port: int, *statuses: int, **named: object) -> Store:
        started.append(Store(port, *statuses, **named))
        return started[-1]

    yield start
    for each in started:
        each.server.shutdown()


def finished(spool: Spool, *numbers: int, **attributes: object) -> list[dict]:
    """Images that are done, with their overlays; their lines."""
    for number in numbers:
        named = {"SOPInstanceUID": f"1.2.{number}", "StudyInstanceUID": "1.2.840.5", **attributes}
        spool.store(content(image(number, **named)), source="folder")
        taken = spool.next()
        folder = spool.folder / "results" / f"{number}"
        folder.mkdir(parents=True)
        Image.new("RGB", (40, 30)).save(folder / "overlay.png")
        told = {"status": "converged", "doubts": [], "expected_error_mm": 1.0, "output": str(folder)}
        spool.finish(taken, "done", {**line_of(taken, "done", taken.received_at), **told})
    return spool.lines()


def archive(spool: Spool, port: int, **settings: object) -> Archive:
    return Archive(spool, ReceptionConfig(send=f"127.0.0.1:{port}", send_ae_title="PACS", **settings))


@pytest.mark.slow
@pytest.mark.parametrize("syntax", [pydicom.uid.ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_an_overlay_arrives(spool, store, syntax):
    (line,) = finished(spool, 1)
    there = store(port := free_port(), syntax=syntax)
    archive(spool, port, ae_title="THEATRE")(line)
    (got,) = there.got
    assert there.calling == "THEATRE" and got.PatientName == "Doe^Jane" and got.InstanceNumber == 1
    assert got.pixel_array.shape[2] == 3
    assert got.SourceImageSequence[0].ReferencedSOPInstanceUID == "1.2.1"


@pytest.mark.slow
def test_images_that_failed_have_nothing_to_send(spool):
    archive(spool, free_port())({"number": 1, "state": "failed"})


@pytest.mark.slow
def test_what_is_sent_twice_is_the_same(spool, store):
    (line,) = finished(spool, 1)
    there = store(port := free_port())
    for _ in range(2):
        archive(spool, port)(line)
    assert there.got[0] == there.got[1]


@pytest.mark.slow
@pytest.mark.parametrize("status", [0xB000, 0xB007])
def test_a_warning_is_an_arrival(spool, store, status):
    (line,) = finished(spool, 1)
    store(port := free_port(), status)
    archive(spool, port)(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "error"),
    [(0xA700, NotNowError), (0xA702, NotNowError), (0xA900, RefusedError), (0xC000, RefusedError)],
)
def test_what_is_not_stored_is_no_arrival(spool, store, status, error):
    (line,) = finished(spool, 1)
    store(port := free_port(), status)
    with pytest.raises(error, match=f"0x{status:04X}"):
        archive(spool, port)(line)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"title": "OTHER"}, "--send-ae-title"),
        ({"kind": pydicom.uid.CTImageStorage}, "Secondary Capture"),
    ],
)
def test_an_archive_with_other_settings(spool, store, named, why):
    (line,) = finished(spool, 1)
    there = store(port := free_port(), **named)
    with pytest.raises(NotNowError, match=why):
        archive(spool, port)(line)
    assert there.got == []


@pytest.mark.slow
def test_nobody_is_there(spool):
    (line,) = finished(spool, 1)
    with pytest.raises(NotNowError, match="does not answer"):
        archive(spool, free_port())(line)
    nowhere = Archive(spool, ReceptionConfig(send="no-such-host.invalid:104"))
    with pytest.raises(NotNowError, match="does not answer"):
        nowhere(line)


@pytest.mark.slow
def test_an_archive_that_says_nothing_is_given_up(spool, store):
    (line,) = finished(spool, 1)
    there = store(port := free_port())
    there.hold_s = 3.0
    with pytest.raises(NotNowError):
        archive(spool, port, timeout_s=0.3)(line)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["overlay", "study"])
def test_without_an_overlay_or_a_study_there_is_nothing_to_send(spool, store, change):
    (line,) = finished(spool, 1, **({"StudyInstanceUID": ""} if change == "study" else {}))
    if change == "overlay":
        (Path(line["output"]) / "overlay.png").unlink()
    there = store(port := free_port())
    with pytest.raises(RefusedError, match="StudyInstanceUID, or its overlay is gone"):
        archive(spool, port)(line)
    assert there.got == []


@pytest.mark.slow
def test_what_was_queued_while_the_archive_was_away_arrives_once(spool, store):
    finished(spool, 1, 2)
    port = free_port()
    delivery = Delivery(spool, "send", archive(spool, port), retry_s=0.05, patience_s=5)
    deadline = time.monotonic() + PATIENCE_S
    while not delivery.problem:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    there = store(port)
    while spool.undelivered("send"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    finished(spool, 3)
    delivery.wake()
    while spool.undelivered("send"):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    delivery.stop()
    assert [each.InstanceNumber for each in there.got] == [1, 2, 3]
    assert len({each.SeriesInstanceUID for each in there.got}) == 1


@pytest.mark.slow
def test_storescp_of_dcmtk_takes_it(spool, tmp_path):
    program = shutil.which("storescp")
    if program is None:
        pytest.skip("storescp of dcmtk is not installed")
    (line,) = finished(spool, 1)
    port, folder = free_port(), tmp_path / "stored"
    folder.mkdir()
    process = subprocess.Popen([program, "--output-directory", folder, "-aet", "PACS", str(port)])
    try:
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                archive(spool, port)(line)
                break
            except NotNowError:  # it is starting
                assert time.monotonic() < deadline
                time.sleep(0.05)
        (path,) = folder.iterdir()
        assert pydicom.dcmread(path).PatientName == "Doe^Jane"
    finally:
        process.kill()
        process.wait()
