"""A C-arm sends X-rays: what is taken, what is refused, and that nothing is left of what was half sent."""

from __future__ import annotations

import errno
import gc
import logging
import os
import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import (
    CTImageStorage,
    EnhancedXAImageStorage,
    ImplicitVRLittleEndian,
    RLELossless,
    RTImageStorage,
    SecondaryCaptureImageStorage,
)

from isoclinic.errors import InputError, UsageError
from isoclinic.reception import ReceptionConfig
from isoclinic.reception import spool as spool_module
from isoclinic.reception.storage import StorageService
from raising import raises

from .conftest import content, image, stored
from .senders import VERIFICATION, associated, context_of, free_port, sent

# pynetdicom leaves the sockets of failed connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning"
)


@pytest.fixture(autouse=True)
def collected():
    yield
    gc.collect()


@pytest.fixture
def service(spool):
    """Start a service with these settings."""
    started = []

    def start(**settings: object) -> StorageService:
        config = ReceptionConfig(**{"port": free_port(), **settings})
        started.append(StorageService(spool, config))
        started[-1].start()
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.mark.slow
def test_it_answers_an_echo(service):
    association = associated(service().port, [(VERIFICATION, ["1.2.840.10008.1.2"])])
    assert association.send_c_echo().Status == 0
    association.release()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "syntax"),
    [
        (None, None),
        (None, ImplicitVRLittleEndian),
        (None, RLELossless),
        (EnhancedXAImageStorage, None),
        (SecondaryCaptureImageStorage, None),
        (RTImageStorage, None),
    ],
)
def test_an_xray_arrives_as_it_was_sent(service, spool, kind, syntax):
    dataset = image()
    if kind is not None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = kind
    if syntax == RLELossless:
        dataset.compress(syntax)
    elif syntax is not None:
        dataset.file_meta.TransferSyntaxUID = syntax
    assert sent(service().port, dataset) == [0x0000]
    taken = spool.next()
    assert taken.source == "dicom:ARM"
    read = pydicom.dcmread(taken.path)
    assert read.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert (read.pixel_array == dataset.pixel_array).all() and read == dataset


@pytest.mark.slow
def test_the_image_of_the_network_is_that_of_the_exported_file(service, spool):
    dataset = image()
    assert sent(service().port, dataset, dataset) == [0x0000, 0x0000]
    assert spool.store(content(dataset), source="folder")[1] is False
    assert len(stored(spool)) == 1


@pytest.mark.slow
def test_only_titles_that_are_allowed_may_send(service, spool):
    port = service(allow=("ARM", "ARM 2")).port
    assert associated(port, [context_of(image())], title="STRANGER").is_rejected
    assert associated(port, [context_of(image())], called="OTHER").is_rejected
    assert sent(port, image(), title="ARM 2") == [0x0000]
    assert spool.counts()["received"] == 1


@pytest.mark.slow
def test_other_sop_classes_are_refused(service, spool):
    port = service().port
    association = associated(port, [(CTImageStorage, [ImplicitVRLittleEndian])])
    assert not association.is_established and not association.accepted_contexts
    association = associated(port, [(CTImageStorage, [ImplicitVRLittleEndian]), context_of(image())])
    assert [each.abstract_syntax for each in association.accepted_contexts] == [image().SOPClassUID]
    association.release()
    assert stored(spool) == []


@pytest.mark.slow
def test_a_data_set_of_another_class_than_the_request_is_refused(service, spool):
    port, dataset = service().port, image()
    association = associated(port, [context_of(dataset)])
    # The sender's library asks with the class that the data set names, so that is changed on its way.
    from pynetdicom import dsutils

    real = dsutils.encode

    def other(data, *arguments, **named):
        if "PixelData" in data:
            data = pydicom.Dataset(data)
            data.SOPClassUID = CTImageStorage
        return real(data, *arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pynetdicom.association.encode", other)
        assert association.send_c_store(dataset).Status == 0xA900
    association.release()
    assert stored(spool) == []


@pytest.mark.slow
def test_a_data_set_without_an_image_is_refused(service, spool):
    dataset = image()
    del dataset.Rows
    assert sent(service().port, dataset) == [0xC000]
    assert stored(spool) == []


@pytest.mark.slow
def test_a_full_disk_is_told_to_the_sender_who_may_try_again(service, spool, monkeypatch):
    storage = service()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(spool_module.os, "fsync", full)
        assert sent(storage.port, image(1, SOPInstanceUID="1.2.3")) == [0xA700]
    assert stored(spool) == [] and "disk full" in storage.problem
    assert sent(storage.port, image(1, SOPInstanceUID="1.2.3")) == [0x0000]
    assert len(stored(spool)) == 1 and storage.problem == ""


@pytest.mark.slow
def test_an_image_that_is_too_large_is_refused(service, spool):
    dataset = image()
    dataset.add_new(0x00091010, "OB", bytes(200_000))
    assert sent(service(largest_mb=0.1).port, dataset) == [0xA700]
    assert stored(spool) == []


@pytest.mark.slow
def test_a_sender_of_much_too_much_is_cut_off_before_it_fills_the_memory(service, spool):
    storage = service(largest_mb=0.1)
    dataset = image()
    dataset.add_new(0x00091010, "OB", bytes(30_000_000))
    assert sent(storage.port, dataset) == [None]
    assert stored(spool) == []
    assert sent(storage.port, image()) == [0x0000]


@pytest.mark.slow
def test_half_an_image_leaves_nothing(service, spool):
    storage, dataset = service(), image()
    dataset.add_new(0x00091010, "OB", bytes(5_000_000))
    association = associated(storage.port, [context_of(dataset)])
    connection = association.dul.socket.socket
    real, count = connection.sendall, []

    class Cut:
        """The cable is pulled out within the data set."""

        def __getattr__(self, name):
            return getattr(connection, name)

        def _send(self, data):
            count.append(len(data))
            if sum(count) > 1_000_000:
                connection.shutdown(socket.SHUT_RDWR)
                raise OSError(errno.EPIPE, "pulled out")
            real(data)
            return len(data)

        send = sendall = _send

    association.dul.socket.socket = Cut()
    assert association.send_c_store(dataset).get("Status") is None
    assert sum(count) > 1_000_000
    deadline = time.monotonic() + 10
    while storage._entity.active_associations and time.monotonic() < deadline:
        time.sleep(0.05)
    assert stored(spool) == [] and spool.counts()["received"] == 0 and storage._received == {}
    assert sent(storage.port, image()) == [0x0000]


@pytest.mark.slow
def test_whoever_connects_and_says_nothing_is_cut_off(service):
    storage = service(timeout_s=0.5)
    with socket.create_connection(("127.0.0.1", storage.port), timeout=20) as silent:
        assert silent.recv(100) == b""


@pytest.mark.slow
@pytest.mark.parametrize(
    "beginning", [b"\x01", b"\x01\x00\x00\x00\x00\xff", b"\x01\x00\x00\x00\x00\xff\x00\x01"]
)
def test_whoever_stops_within_a_message_is_cut_off(service, beginning):
    """Connections are few: one that waits for ever would take a place of the C-arm."""
    storage = service(timeout_s=0.5, connections=1)
    with socket.create_connection(("127.0.0.1", storage.port), timeout=20) as silent:
        silent.sendall(beginning)
        while silent.recv(100):  # an A-ABORT may come first
            pass
    deadline = time.monotonic() + 10
    while storage._entity.active_associations and time.monotonic() < deadline:
        time.sleep(0.05)
    assert sent(storage.port, image()) == [0x0000]


@pytest.mark.slow
def test_a_message_that_would_fill_the_memory_is_not_read(service):
    """A P-DATA-TF PDU that says that it has 2 GB (PS3.8 section 9.3.5), and goes on."""
    storage = service()
    with socket.create_connection(("127.0.0.1", storage.port), timeout=20) as stranger:
        stranger.sendall(b"\x04\x00\x7f\xff\xff\xff")
        with pytest.raises(OSError):  # cut off by the other side
            for _ in range(400):
                stranger.sendall(bytes(1_000_000))
    assert sent(storage.port, image()) == [0x0000]


@pytest.mark.slow
@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs Linux")
def test_connections_that_fail_leave_nothing_open(service):
    storage = service(timeout_s=1, connections=100)

    def fail() -> None:
        for noise in (b"", b"\x01", b"GET / HTTP/1.1\r\n\r\n", b"\x04\x00\x7f\xff\xff\xff"):
            with socket.create_connection(("127.0.0.1", storage.port), timeout=20) as stranger:
                stranger.sendall(noise)
        sent(storage.port, image())

    def settled() -> tuple[int, int]:
        deadline = time.monotonic() + 20
        while storage._entity.active_associations and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.2)
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd"))

    fail()
    before = settled()
    for _ in range(5):
        fail()
    after = settled()
    assert after[0] <= before[0] + 1 and after[1] <= before[1] + 2, (before, after)
    assert storage._received == {}


@pytest.mark.slow
def test_whoever_says_nothing_to_tls_keeps_nobody_out(service, keys):
    cert = keys / "cert.pem"
    port = service(tls_certificate=cert, tls_key=keys / "key.pem", timeout_s=20).port
    trusting = ssl.create_default_context(cafile=str(cert))
    with socket.create_connection(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
        assert sent(port, image(), tls=trusting) == [0x0000]


@pytest.mark.slow
def test_noise_is_no_reason_to_end(service, spool):
    storage = service()
    for noise in (b"GET / HTTP/1.1\r\n\r\n", bytes(100), b"\x01\x00" + b"\xff" * 200, os.urandom(500)):
        with socket.create_connection(("127.0.0.1", storage.port), timeout=20) as stranger:
            stranger.sendall(noise)
    assert sent(storage.port, image()) == [0x0000]


@pytest.mark.slow
def test_logs_name_no_patient(service, caplog):
    caplog.set_level(logging.DEBUG)
    port = service(allow=("ARM",)).port
    broken = image(1)
    del broken.Rows
    sent(port, image(), broken)
    associated(port, [context_of(image())], title="STRANGER")
    said = caplog.text
    assert "ARM has sent image" in said and "0xC000" in said and "STRANGER" in said
    of_us = [each.getMessage() for each in caplog.records if each.name.startswith("isoclinic")]
    assert of_us and not any("Doe" in each or "Jane" in each for each in of_us)
    received = [each for each in caplog.records if each.name.startswith("pynetdicom.service")]
    assert not any("Jane" in each.getMessage() for each in received)


@pytest.mark.slow
def test_a_port_that_is_taken(service):
    port = service().port
    with raises(InputError, "reception.cannot-listen", "`port`"):
        service(port=port)


@pytest.mark.slow
def test_without_its_package_it_names_the_extra(spool, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynetdicom", None)
    with raises(UsageError, "installation.package-missing", "pynetdicom", "isoclinic[listen]"):
        StorageService(spool, ReceptionConfig(port=11112))


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Path:
    """A key and a certificate, self-signed, for "localhost"."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    folder = tmp_path_factory.mktemp("keys")
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext"
    made = [*command.split(), "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"]
    subprocess.run(made, cwd=folder, check=True, capture_output=True)
    return folder


@pytest.mark.slow
def test_over_tls(service, spool, keys):
    cert, key = keys / "cert.pem", keys / "key.pem"
    trusting = ssl.create_default_context(cafile=str(cert))
    port = service(tls_certificate=cert, tls_key=key).port
    assert sent(port, image(1), tls=trusting) == [0x0000]
    assert not associated(port, [context_of(image())]).is_established
    mutual = service(tls_certificate=cert, tls_key=key, tls_ca=cert).port
    assert not associated(mutual, [context_of(image())], tls=trusting).is_established
    known = ssl.create_default_context(cafile=str(cert))
    known.load_cert_chain(cert, key)
    assert sent(mutual, image(2), tls=known) == [0x0000]
    assert spool.counts()["received"] == 2


@pytest.mark.slow
def test_files_for_tls_that_cannot_be_used(service, keys, tmp_path):
    (tmp_path / "no.pem").write_text("nothing")
    for cert, key in (("gone.pem", "gone.pem"), (tmp_path / "no.pem", keys / "key.pem")):
        with raises(InputError, "reception.cannot-listen"):
            service(tls_certificate=Path(cert), tls_key=Path(key))


needs_dcmtk = pytest.mark.skipif(shutil.which("storescu") is None, reason="dcmtk's storescu is not installed")


@pytest.mark.slow
@needs_dcmtk
def test_dcmtk_sends_too(service, spool, tmp_path):
    """Another implementation of the sender."""
    port, file = str(service(allow=("ARM",)).port), tmp_path / "x.dcm"
    file.write_bytes(content(image()))
    usual = ["-aec", "ISOCLINIC", "-aet", "ARM", "localhost", port]
    assert subprocess.run(["echoscu", *usual], timeout=60).returncode == 0
    assert subprocess.run(["storescu", *usual, str(file)], timeout=60).returncode == 0
    stranger = ["storescu", "-aec", "ISOCLINIC", "-aet", "STRANGER", "localhost", port, str(file)]
    assert subprocess.run(stranger, timeout=60).returncode != 0
    assert spool.counts()["received"] == 1
