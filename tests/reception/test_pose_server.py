"""3D Slicer is told each pose, never a doubtful one under the name it navigates by, and delays nobody."""

from __future__ import annotations

import socket
import struct
import threading
import time
from datetime import datetime

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from isoclinic import Camera
from isoclinic.errors import InputError
from isoclinic.exchange import write_slicer_transform
from isoclinic.geometry import gantry_view, se3
from isoclinic.reception import ReceptionConfig, openigtlink, pose_server
from isoclinic.reception.pose_server import PoseServer
from raising import raises

from .senders import free_port

PATIENCE_S = 20
RECEIVED_AT = "2026-01-02T03:04:05.250+00:00"
POSE = torch.eye(4, dtype=torch.float64).tolist()


def done(number: int, pose=POSE, doubts=()) -> dict:
    """The line of an image that is done."""
    return {
        "number": number,
        "state": "done",
        "received_at": RECEIVED_AT,
        "status": "doubtful" if doubts else "converged",
        "doubts": list(doubts),
        "expected_error_mm": None if doubts else 1.25,
        "camera_from_world": pose,
    }


def failed(number: int) -> dict:
    error = {"code": "xray.geometry-missing", "message": "Doe^Jane has no sdd_mm"}
    return {"number": number, "state": "failed", "received_at": RECEIVED_AT, "error": error}


def shifted(mm: float) -> list[list[float]]:
    pose = torch.eye(4, dtype=torch.float64)
    pose[0, 3] = mm
    return pose.tolist()


class Client:
    """Reads messages with nothing but `struct`."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)

    def next(self) -> tuple[str, str, object]:
        """Type, device, and the matrix or (code, sub code, error, text) of the next message."""
        version, kind, name, *_, size, crc = struct.unpack(">H12s20sIIQQ", self._read(58))
        body = self._read(size)
        assert version == 1 and crc == openigtlink.crc64(body)
        kind, name = (each.split(b"\0")[0].decode() for each in (kind, name))
        if kind == "TRANSFORM":
            matrix = np.eye(4)
            matrix[:3] = np.frombuffer(body, ">f4").reshape(4, 3).T
            return kind, name, matrix
        code, number, error = struct.unpack(">Hq20s", body[:30])
        assert body[-1] == 0
        return kind, name, (code, number, error.split(b"\0")[0].decode(), body[30:-1].decode())

    def status(self) -> tuple[int, int, str, str]:
        kind, name, said = self.next()
        assert (kind, name) == ("STATUS", "isoclinic_status")
        return said

    def transform(self) -> tuple[str, np.ndarray]:
        kind, name, matrix = self.next()
        assert kind == "TRANSFORM"
        return name, matrix

    def _read(self, count: int) -> bytes:
        content = b""
        while len(content) < count:
            part = self.socket.recv(count - len(content))
            if not part:
                raise ConnectionError
            content += part
        return content


@pytest.fixture
def serve():
    started, clients = [], []

    def start(**settings: object) -> tuple[PoseServer, Client]:
        server = PoseServer(ReceptionConfig(**{"igtl": free_port(), **settings}))
        started.append(server)
        return server, join(server)

    def join(server: PoseServer) -> Client:
        clients.append(Client(server.port))
        return clients[-1]

    start.join = join
    yield start
    for each in started:
        each.stop()
    for each in clients:
        each.socket.close()


def test_before_the_first_xray_there_is_a_status_only(serve):
    _, client = serve()
    assert client.status() == (openigtlink.NOT_READY, 0, "no X-ray", "no X-ray so far")


def test_a_pose_without_doubts(serve):
    server, client = serve()
    client.status()
    server.tell(done(1, shifted(3.5)))
    name, matrix = client.transform()
    assert name == "isoclinic" and matrix[0, 3] == 3.5
    assert client.status() == (1, 1, "converged", "image 1: converged, expected error 1.25 mm")


def test_a_doubtful_pose_has_another_name_and_comes_after_its_status(serve):
    server, client = serve(igtl_name="arm")
    client.next()
    server.tell(done(1, shifted(1)))
    client.next(), client.next()
    server.tell(done(2, shifted(2), ["its edges do not match"]))
    kind, name, said = client.next()
    assert (kind, name) == ("STATUS", "arm_status")
    assert said[:3] == (openigtlink.UNKNOWN_ERROR, 2, "doubtful")
    assert "edges do not match" in said[3] and "arm is still that of image 1" in said[3]
    name, matrix = client.transform()
    assert name == "arm_doubtful" and matrix[0, 3] == 2


def test_a_failure_leaves_the_transform_and_names_no_patient(serve):
    server, client = serve()
    client.status()
    server.tell(failed(1))
    code, number, error, text = client.status()
    assert (code, number, error) == (openigtlink.UNKNOWN_ERROR, 1, "failed")
    assert "xray.geometry-missing" in text and "no transform isoclinic yet" in text and "Doe" not in text


def test_who_comes_later_gets_the_last_of_each_at_once(serve):
    server, first = serve()
    server.tell(done(1, shifted(1)))
    server.tell(done(2, shifted(2), ["a doubt"]))
    while first.next()[1] != "isoclinic_doubtful":
        pass
    later = serve.join(server)
    name, matrix = later.transform()
    assert name == "isoclinic" and matrix[0, 3] == 1
    assert later.status()[1] == 2
    assert later.transform()[0] == "isoclinic_doubtful"
    # After a pose without doubts, the doubtful one is of the past.
    server.tell(done(3, shifted(3)))
    assert later.transform()[1][0, 3] == 3 and later.status()[0] == openigtlink.OK
    last = serve.join(server)
    assert last.transform()[1][0, 3] == 3 and last.status()[1] == 3
    server.tell(failed(4))
    assert last.status()[1] == 4


@pytest.mark.slow
def test_who_reads_nothing_delays_nobody_and_gets_the_newest(serve, monkeypatch):
    monkeypatch.setattr(pose_server, "_SYSTEM_BUFFER", 4096)
    server, quick = serve()
    slow = serve.join(server)
    slow.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    quick.status(), slow.status()
    count = 5000
    began = time.monotonic()
    for number in range(1, count + 1):
        server.tell(done(number, shifted(number)))
    assert time.monotonic() - began < PATIENCE_S
    for client in (quick, slow):
        seen = []
        while not seen or seen[-1] != count:
            kind, _, said = client.next()
            seen.append(int(said[0, 3]) if kind == "TRANSFORM" else said[1])
        assert seen == sorted(seen)
        # Every transform comes with its status.
        assert client.status()[1] == count
    assert len(seen) < 2 * count  # of the slow one


@pytest.mark.slow
def test_who_reads_nothing_for_long_is_cut_off(serve, monkeypatch, caplog):
    monkeypatch.setattr(pose_server, "_SYSTEM_BUFFER", 4096)
    server, silent = serve(timeout_s=0.2)
    deadline = time.monotonic() + PATIENCE_S
    number = 0
    while "cut off" not in caplog.text:
        assert time.monotonic() < deadline
        number += 1
        server.tell(done(number, doubts=["a long doubt " * 500]))
        time.sleep(0.001)
    assert silent.socket.fileno() >= 0 and server.problem == ""
    assert serve.join(server).next()[0] in ("STATUS", "TRANSFORM")


def test_who_goes_or_talks_disturbs_nobody(serve):
    server, client = serve()
    client.status()
    gone, talking = serve.join(server), serve.join(server)
    talking.status()
    gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    gone.socket.close()  # without a word
    talking.socket.sendall(bytes(100_000))
    server.tell(done(1))
    assert client.transform()[0] == "isoclinic"
    assert talking.transform()[0] == "isoclinic" and server.problem == ""


def test_there_are_not_more_clients_than_it_takes(serve, monkeypatch):
    monkeypatch.setattr(pose_server, "_CLIENTS", 2)
    server, first = serve()
    second = serve.join(server)
    first.status(), second.status()
    third = serve.join(server)
    with pytest.raises(ConnectionError):
        third.next()
    second.socket.close()
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            assert serve.join(server).status()[0] == openigtlink.NOT_READY
            break
        except ConnectionError:
            assert time.monotonic() < deadline


def test_its_end_is_told(serve):
    server = PoseServer(ReceptionConfig(igtl=free_port()))
    client = Client(server.port)
    client.status()
    server.tell(done(7))
    client.next(), client.next()
    server.stop()
    code, _, _, text = client.status()
    assert code == openigtlink.SHUT_DOWN and "still that of image 7" in text
    with pytest.raises(ConnectionError):
        client.next()
    client.socket.close()


def test_it_tells_from_several_threads(serve):
    server, client = serve()
    client.status()
    threads = [threading.Thread(target=server.tell, args=(done(1),)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert client.transform()[0] == "isoclinic" and client.status()[1] == 1


def test_a_port_that_is_taken():
    server = PoseServer(ReceptionConfig(igtl=free_port()))
    with raises(InputError, "reception.cannot-listen", "`igtl`"):
        PoseServer(ReceptionConfig(igtl=server.port))
    server.stop()
    assert server.problem != ""


@pytest.fixture
def received():
    """The transform that pyigtl, an independent reader, gets of a pose."""
    pyigtl = pytest.importorskip("pyigtl")

    def get(pose: torch.Tensor):
        server = PoseServer(ReceptionConfig(igtl=free_port()))
        client = pyigtl.OpenIGTLinkClient(host="127.0.0.1", port=server.port)
        try:
            server.tell(done(1, pose.tolist()))
            return client.wait_for_message("isoclinic", timeout=PATIENCE_S)
        finally:
            client.stop()
            server.stop()

    return get


def oblique() -> torch.Tensor:
    centre = torch.tensor([12.0, -34.0, 56.0], dtype=torch.float64)
    pose = gantry_view(150.0, 20.0, 700.0, centre)
    return se3.perturb(pose, torch.tensor([0.1, -0.2, 0.3, 4.0, 5.0, 6.0], dtype=torch.float64), centre)


@pytest.mark.parametrize("suffix", [".tfm", ".h5"])
def test_the_transform_is_that_of_the_file_for_slicer(received, tmp_path, suffix):
    """What SimpleITK reads from the file, turned into Slicer's ToParent as Slicer's documentation says."""
    pose = oblique()
    message = received(pose)
    assert message.timestamp == pytest.approx(datetime.fromisoformat(RECEIVED_AT).timestamp(), abs=1e-6)
    path = tmp_path / f"pose{suffix}"
    write_slicer_transform(path, pose)
    read = sitk.ReadTransform(str(path))
    from_parent = np.eye(4)
    origin = np.array(read.TransformPoint((0.0, 0.0, 0.0)))
    for axis in range(3):
        from_parent[:3, axis] = np.array(read.TransformPoint(tuple(np.eye(3)[axis]))) - origin
    from_parent[:3, 3] = origin
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    to_parent = np.linalg.inv(flip @ from_parent @ flip)
    # Single precision has 24 bits: translations are up to 1024 mm.
    np.testing.assert_allclose(message.matrix, to_parent, rtol=0, atol=1024 * 2.0**-24)


def test_a_voxel_lands_where_it_does_on_paper(received):
    """An upright AP view: isocentre (10, 20, 30), source 700 mm in front of it, detector 1000 mm from that.

    A voxel 35 mm to the patient's left of the isocentre, 14 mm above it and 70 mm behind it is at depth 770
    mm. Seen from the source, the patient's left is right, and up is up: x = 35, y = -14. On the detector
    that is (35, -14) * 1000 / 770 mm from the centre.
    """
    pose = torch.tensor(
        [[-1.0, 0, 0, 10], [0, 0, -1, 30], [0, -1, 0, 720], [0, 0, 0, 1]], dtype=torch.float64
    )
    matrix = received(pose).matrix
    world = np.array([10 - 35.0, 20 - 70.0, 30 + 14.0, 1.0])
    x, y, z, _ = matrix @ world
    assert (x, y, z) == pytest.approx((35, -14, 770), abs=1e-3)
    camera = Camera.from_pixel_spacing(width=201, height=201, pixel_spacing_mm=(2.0, 2.0), sdd_mm=1000.0)
    u, v = camera.fx * x / z + camera.cx, camera.fy * y / z + camera.cy
    assert (u, v) == pytest.approx((100 + 35000 / 770 / 2, 100 - 14000 / 770 / 2), abs=1e-3)
