"""Files that are uploaded: names, sizes, and what is half sent."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from .conftest import Served, serving


@pytest.fixture
def empty(serve) -> Served:
    return serve()


@pytest.fixture(scope="module")
def desk(tmp_path_factory) -> Iterator[Served]:
    """A page without files, for tests that leave none."""
    with serving(tmp_path_factory.mktemp("desk")) as serve:
        yield serve()


def received(served: Served) -> list[str]:
    folder = served.page.workspace.journal.folder / "received"
    return sorted(each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file())


def test_from_nothing_to_a_pose(empty: Served, files):
    state = empty.state
    assert not state["ready"] and state["inputs"] == [] and state["starts"] == []
    empty.change("open", kind="ct", batch=empty.upload(files.ct))
    empty.change("open", kind="xray", batch=empty.upload(files.xray))
    state = empty.state
    assert state["ready"] and state["steps"] == ["start: ap"]
    assert [each["name"] for each in state["inputs"]] == ["ct.nii.gz", "xray.dcm"]
    empty.change("close", kind="xray", xray=0)
    assert not empty.state["ready"] and empty.state["steps"] == []


def test_a_picture_and_its_geometry_belong_together(empty: Served, tmp_path):
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(tmp_path / "Knie rechts.png")
    (tmp_path / "Knie rechts.json").write_text('{"sdd_mm": 1000, "pixel_spacing_mm": [3, 3]}')
    paths = tmp_path / "Knie rechts.json", tmp_path / "Knie rechts.png"
    batch = empty.upload(*paths, names={each: quote(each.name) for each in paths})
    assert empty.change("open", kind="xray", batch=batch).status == 200
    (xray,) = empty.state["inputs"]
    assert xray["name"] == "Knie rechts.png" and xray["problem"] is None
    assert {"sdd_mm", "pixel_spacing_mm"} <= {name for name, *_ in xray["rows"]}


def test_a_picture_without_geometry_is_told_and_can_be_mended(empty: Served, files, tmp_path):
    Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(tmp_path / "x.png")
    empty.change("open", kind="ct", batch=empty.upload(files.ct))
    empty.change("open", kind="xray", batch=empty.upload(tmp_path / "x.png"))
    state = empty.state
    problem = state["inputs"][1]["problem"]
    assert problem["code"] == "xray.geometry-missing" and "--sdd-mm" in problem["message"]
    assert not state["ready"]
    assert empty.change("reading", reading={"sdd_mm": -5}).document["code"] == "xray.invalid-value"
    empty.change("reading", reading={"sdd_mm": 1000, "pixel_spacing_mm": [3, 3], "polarity": "bright_air"})
    state = empty.state
    assert state["ready"] and state["inputs"][1]["problem"] is None


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("x.dcm", b"nothing", None),
        ("x.png", b"\x89PNG\r\n\x1a\nbroken", None),
        ("x.jpg", b"\xff\xd8\xff\xe0" + b"0" * 600, "xray.unsupported"),
        ("x.pdf", b"%PDF-1.7" + b"0" * 600, "xray.unsupported"),
        ("x.dcm", b"", "xray.no-pixels"),
        ("x.zip", b"PK\x03\x04" + b"0" * 600, "xray.unsupported"),
    ],
)
def test_a_bad_xray_is_a_message_on_the_page(desk: Served, tmp_path, name, content, code):
    (tmp_path / name).write_bytes(content)
    answer = desk.change("open", kind="xray", batch=desk.upload(tmp_path / name))
    assert answer.status == 200
    (xray,) = answer.document["state"]["inputs"]
    assert xray["problem"]["message"] and (code is None or xray["problem"]["code"] == code)
    assert desk.change("close", kind="xray", xray=0).document["state"]["inputs"] == []


def test_a_bad_ct_is_a_message_on_the_page(empty: Served, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((4, 4), np.int16), np.eye(4)), tmp_path / "flat.nii.gz")
    state = empty.change("open", kind="ct", batch=empty.upload(tmp_path / "flat.nii.gz")).document["state"]
    assert state["inputs"][0]["problem"]["code"].startswith("ct.") and not state["ready"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("../../evil.json", "..\\..\\evil.png", "/etc/passwd", ".", "..", "con.dcm", "a" * 400 + ".dcm"),
        "\x00.png",
        "émile.nii.gz",
    ],
)
def test_no_name_leads_out(desk: Served, tmp_path, name):
    batch = desk.ask("batch", {}).document["batch"]
    before = {each for each in tmp_path.parent.rglob("*") if each.name.startswith(("evil", "passwd"))}
    answer = desk.ask(f"batch/{batch}?name={quote(name)}", b"x", method="PUT")
    assert answer.status == 200
    (place,) = [each for each in received(desk) if each.startswith(batch)]
    _, _, file = place.partition("/")
    assert file and file[0].isalnum() | (file[0] == "_") and len(file) < 80
    assert set(file) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
    after = {each for each in tmp_path.parent.rglob("*") if each.name.startswith(("evil", "passwd"))}
    assert {each.parent.name for each in after - before} <= {batch}


def test_two_files_of_one_name_are_two(empty: Served):
    batch = empty.ask("batch", {}).document["batch"]
    for folder in ("a", "b"):
        empty.ask(f"batch/{batch}?name={quote(f'{folder}/slice.dcm')}", folder.encode(), method="PUT")
    assert received(empty) == [f"{batch}/slice-2.dcm", f"{batch}/slice.dcm"]


@pytest.mark.parametrize("batch", ["9999", "..", "%2e%2e", "0099%2f..", ""])
def test_no_batch_but_those_that_were_begun(desk: Served, batch):
    before = received(desk)
    assert desk.ask(f"batch/{batch}?name=x.dcm", b"x", method="PUT").status in (404, 405, 422)
    assert received(desk) == before


def test_what_is_too_large_is_refused_while_it_comes_and_leaves_nothing(serve):
    served = serve("--largest-mb", 0.01, "--largest-total-mb", 0.015)
    batch = served.ask("batch", {}).document["batch"]
    answer = served.ask(f"batch/{batch}?name=x.dcm", b"x" * 10_001, method="PUT")
    assert (answer.status, answer.document["code"]) == (422, "view.too-large")
    assert "--largest-mb" in answer.document["message"]
    assert received(served) == []
    assert served.ask(f"batch/{batch}?name=x.dcm", b"x" * 10_000, method="PUT").status == 200
    answer = served.ask(f"batch/{batch}?name=y.dcm", b"x" * 6_000, method="PUT")
    assert answer.document["code"] == "view.too-large" and "--largest-total-mb" in answer.document["message"]
    assert received(served) == [f"{batch}/x.dcm"]


def test_a_browser_that_vanishes_leaves_nothing_half(empty: Served):
    batch = empty.ask("batch", {}).document["batch"]
    host, _, port = empty.host.partition(":")
    with socket.create_connection((host, int(port))) as sender:
        head = f"PUT {empty.path}batch/{batch}?name=x.dcm HTTP/1.1\r\nHost: {empty.host}\r\n"
        sender.sendall(f"{head}Content-Length: 1000000\r\n\r\n".encode() + b"x" * 70_000)
        end = time.monotonic() + 10
        while not received(empty) and time.monotonic() < end:
            time.sleep(0.02)
    end = time.monotonic() + 10
    while received(empty) and time.monotonic() < end:
        time.sleep(0.02)
    assert received(empty) == []
    assert empty.change("open", kind="ct", batch=batch).document["code"] == "view.invalid-request"


@pytest.mark.slow
def test_all_slices_of_a_ct_are_one(empty: Served, shared_data: Path):
    series = shared_data / "ct_dicom_series"
    slices = sorted(each for each in series.rglob("*") if each.is_file())
    if not slices:
        pytest.skip("needs a CT in DICOM")
    batch = empty.upload(*slices)
    state = empty.change("open", kind="ct", batch=batch).document["state"]
    assert state["inputs"][0]["problem"] is None, state["inputs"][0]["problem"]
    assert state["inputs"][0]["name"] == f"{len(slices)} files"


def test_masks_poses_landmarks_and_views_are_read(served: Served, files, tmp_path):
    mask = np.zeros((64, 64), np.uint8)
    mask[:20, :30] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    state = served.change("open", kind="mask", xray=0, batch=served.upload(tmp_path / "mask.png")).document[
        "state"
    ]
    assert [each["name"] for each in state["shapes"][0]] == ["mask.png"]
    counts = np.frombuffer(served.ask("counts/0").content, np.uint8).reshape(64, 64)
    assert not counts[:20, :30].any() and counts[25:, 35:].any()
    # One of another size is refused, and leaves what was.
    Image.fromarray(mask[:32]).save(tmp_path / "small.png")
    answer = served.change("open", kind="mask", xray=0, batch=served.upload(tmp_path / "small.png"))
    assert answer.document["code"] == "xray.unusable-mask"
    assert len(served.state["shapes"][0]) == 1

    answer = served.change("open", kind="pose", batch=served.upload(files.init))
    assert answer.status == 200 and served.state["steps"][-1] == "start: init.json"
    (tmp_path / "no.json").write_text("{}")
    assert served.change("open", kind="pose", batch=served.upload(tmp_path / "no.json")).status == 422

    marks = {"format": "isoclinic.landmarks", "version": 1, "pixel_points": {"tip": [3, 4]}}
    (tmp_path / "marks.json").write_text(json.dumps(marks))
    served.change("open", kind="landmarks", batch=served.upload(tmp_path / "marks.json"))
    (mark,) = served.state["landmarks"]
    assert (mark["name"], mark["stored_px"], mark["point_world"]) == ("tip", [3, 4], None)
    assert served.change("open", kind="landmarks", batch=served.upload(tmp_path / "no.json")).status == 422


def test_several_xrays_need_to_know_how_they_lie(served: Served, files, tmp_path):
    shutil.copy(files.xray, tmp_path / "second.dcm")
    state = served.change("open", kind="xray", batch=served.upload(tmp_path / "second.dcm")).document["state"]
    problems = {each["key"]: each["problem"] for each in state["inputs"]}
    assert problems["views"]["code"] == "views.geometry-missing" and not state["ready"]
    matrix = [[0, 0, -1, 650], [0, 1, 0, 0], [1, 0, 0, 650], [0, 0, 0, 1]]
    (tmp_path / "views.json").write_text(json.dumps({"view_from_first": [matrix]}))
    state = served.change("open", kind="views", batch=served.upload(tmp_path / "views.json")).document[
        "state"
    ]
    assert state["ready"] and state["views"][1]["view_from_first"] == matrix
    state = served.change("close", kind="xray", xray=1).document["state"]
    assert state["ready"] and len(state["views"]) == 1
