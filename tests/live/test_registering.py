"""What the page registers and saves is what `isoclinic register` registers and saves."""

from __future__ import annotations

import json
import re
import shlex
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from isoclinic.cli import main
from isoclinic.live import registering
from isoclinic.registration._progress import Progress

from ..cli.conftest import off, true_pose
from .conftest import Served


def documents(folder: Path) -> dict[str, Any]:
    """The files of a result: JSON and transforms by their content, pictures and pages by being there."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            found[name] = None
            if path.suffix == ".json":
                found[name] = json.loads(path.read_text())
                found[name].pop("command")
            elif path.suffix == ".tfm":
                found[name] = path.read_text()
    return found


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Alike, but for the part of a covariance that sums in an order that torch leaves open."""
    assert one.keys() == other.keys()
    for name in one:
        first, second = one[name], other[name]
        if isinstance(first, dict) and first.get("covariance") is not None:
            covariances = first.pop("covariance"), second.pop("covariance")
            np.testing.assert_allclose(*covariances, rtol=1e-3, atol=1e-9)
            assert first.pop("expected_error_mm") == pytest.approx(second.pop("expected_error_mm"), rel=1e-3)
        assert first == second, name


def across_mm(pose: Any) -> float:
    """How far a pose is from the truth, across the beam."""
    return float((torch.tensor(pose, dtype=torch.float64) - true_pose())[:2, 3].norm())


def again(served: Served, number: int, capsys: pytest.CaptureFixture[str]) -> Path:
    """What the command that a result names writes."""
    folder = served.page.workspace.journal.folder
    document = json.loads((folder / "results" / f"{number:04}" / "pose.json").read_text())
    program, *words = shlex.split(document["command"])
    assert program == "isoclinic"
    assert main([*words, "--accept-doubtful"]) == 0, capsys.readouterr().err
    return folder / "again"


@pytest.mark.slow
def test_from_a_pose_that_was_set_by_hand(served: Served, capsys):
    wrong = off(true_pose(), -4.0)
    served.change("pose", pose=wrong.tolist())
    state = served.register()
    assert state["running"]["error"] is None
    (result,) = state["results"]
    assert result["status"] == "converged" and across_mm(wrong.tolist()) > 2 > 1 > across_mm(state["pose"])
    assert state["pose"] == result["camera_from_world"] and state["steps"][-1] == "registered, result 1"
    own = served.page.workspace.journal.folder / "results" / "0001"
    assert {"pose.json", "transform.tfm", "overlay.png", "report.html"} == set(documents(own))
    assert json.loads((own / "pose.json").read_text())["camera_from_world"] == state["pose"]
    assert_same(documents(own), documents(again(served, 1, capsys)))


@pytest.mark.slow
def test_with_a_mask_bones_and_options(serve, files, capsys):
    served = serve(
        *(files.ct, files.xray, "--init", files.init, "--config", files.config, "--labels", files.labels),
        *("--same-patient", "--moving.candidates", "4", "--moving.starts", "1", "--moving.rounds", "1"),
    )
    served.change(
        "shapes", xray=0, shapes=[{"kind": "polygon", "points": [[0, 0], [20, 0], [20, 20], [0, 20]]}]
    )
    served.change("reading", reading={"source_isocentre_mm": 640.0})
    served.change("bones", mode="each", bones=["bone"])
    state = served.register()
    assert state["running"]["error"] is None
    own = served.page.workspace.journal.folder / "results" / "0001"
    assert "structures/bone/pose.json" in documents(own)
    inputs = json.loads((own / "pose.json").read_text())["inputs"]
    assert {"exclude", "labels", "config", "init"} <= set(inputs)
    assert_same(documents(own), documents(again(served, 1, capsys)))
    # Bones instead of the whole CT.
    served.change("bones", mode="as-one", bones=["bone"])
    state = served.register()
    assert [each["number"] for each in state["results"]] == [1, 2]
    second = served.page.workspace.journal.folder / "results" / "0002" / "pose.json"
    assert "--structures bone" in json.loads(second.read_text())["command"]


@pytest.mark.slow
def test_from_a_view_it_searches_as_far_as_register_does(serve, files, capsys):
    """A start by its name stays one: it is rough, and the search begins further away."""
    served = serve(files.ct, files.xray, "--config", files.config, "--init", "ap")
    state = served.register()
    own = served.page.workspace.journal.folder / "results" / "0001"
    command = json.loads((own / "pose.json").read_text())["command"]
    assert re.search(r"--init ap\b", command) and state["results"][0]["rows"][-1][1] == "preset ap"
    assert_same(documents(own), documents(again(served, 1, capsys)))


@pytest.mark.slow
def test_every_result_has_a_folder_of_its_own(served: Served):
    served.register()
    state = served.register()
    assert [each["number"] for each in state["results"]] == [1, 2]
    for number in (1, 2):
        assert served.ask(f"results/{number}/report.html").status == 200
        assert served.ask(f"results/{number}/pose.json").document["format"] == "isoclinic.pose"
    assert served.ask("results/3/report.html").status == 404
    # The report's own styles and pictures are allowed to it, and nothing else.
    policy = served.ask("results/1/report.html").headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy


@pytest.fixture
def held(monkeypatch) -> Any:
    """Registrations that wait in their first step until they are let go."""
    import threading

    reached, go = threading.Event(), threading.Event()
    real = registering.Registering._watch

    def watching(self: registering.Registering, began: float) -> Any:
        watch = real(self, began)

        def held_watch(progress: Progress) -> None:
            watch(progress)
            reached.set()
            assert go.wait(60)

        return held_watch

    monkeypatch.setattr(registering.Registering, "_watch", watching)
    yield reached, go
    go.set()


@pytest.mark.slow
def test_it_can_be_cancelled_and_nothing_is_left(served: Served, held):
    reached, go = held
    before = served.state
    served.ask("register", {"revision": before["revision"]})
    assert reached.wait(60)
    served.ask("cancel", {})
    go.set()
    served.page.registering.wait(60)
    state = served.state
    assert "cancelled" in state["running"]["error"]["message"] and not state["running"]["active"]
    assert (state["pose"], state["steps"], state["results"]) == (before["pose"], before["steps"], [])
    folder = served.page.workspace.journal.folder
    assert not any((folder / "results").iterdir())
    # And the next one is not cancelled with it.
    assert served.register()["results"]


@pytest.mark.slow
def test_while_it_runs_its_pose_is_shown_and_nothing_can_be_changed(served: Served, held):
    reached, go = held
    state = served.state
    served.ask("register", {"revision": state["revision"]})
    assert reached.wait(60)
    running = served.state["running"]
    assert running["active"] and running["stage"].startswith("refining") and running["count"] >= 1
    frame = served.ask("converging/0")
    assert frame.status == 200 and len(frame.content) == 2 * 128 * 128
    assert served.ask("converging/1").status == 204
    for answer in (
        served.change("pose", pose=state["pose"]),
        served.ask("register", {"revision": state["revision"]}),
    ):
        assert (answer.status, answer.document["code"]) == (409, "view.busy")
    asked = {"view": 0, "pose": state["pose"], "pixels": 64, "browser": "b", "number": 1}
    assert served.ask("frame", asked).status == 204
    go.set()
    served.page.registering.wait(60)
    assert len(served.state["results"]) == 1
    assert served.ask("frame", {**asked, "number": 2}).status == 200


@pytest.mark.slow
def test_news_are_told_while_it_runs(served: Served):
    """Server-sent events: the state that is, then stages, then the end."""
    import http.client

    connection = http.client.HTTPConnection(served.host, timeout=60)
    connection.request("GET", served.path + "events")
    response = connection.getresponse()
    assert response.getheader("content-type").startswith("text/event-stream")
    first = event(response)
    assert first["revision"] == served.state["revision"] and not first["running"]["active"]
    served.ask("register", {"revision": first["revision"]})
    seen = []
    end = time.monotonic() + 60
    while time.monotonic() < end:
        told = event(response)
        seen.append(told["running"]["stage"])
        if not told["running"]["active"] and told["revision"] > first["revision"]:
            break
    assert any(each.startswith("refining") for each in seen) and "saving" in seen
    connection.close()


def event(response: Any) -> dict[str, Any]:
    while True:
        line = response.readline().decode()
        if line.startswith("data: "):
            return json.loads(line.removeprefix("data: "))


@pytest.mark.slow
def test_what_fails_is_told_and_the_pose_stays(served: Served, tmp_path):
    before = served.state
    # Its place is taken by a file: nothing can be written there.
    folder = served.page.workspace.journal.folder / "results"
    folder.rmdir()
    folder.write_text("")
    state = served.register()
    assert state["running"]["error"]["code"]
    assert (state["pose"], state["results"]) == (before["pose"], [])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_of_the_program_is_no_silence(served: Served, monkeypatch):
    def fault(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(registering, "write_result", fault)
    state = served.register()
    assert "at fault" in state["running"]["error"]["message"] and not state["running"]["active"]
    monkeypatch.undo()
    assert served.register()["results"]


def test_without_a_ct_nothing_is_registered(serve, files):
    served = serve()
    answer = served.ask("register", {"revision": served.state["revision"]})
    assert (answer.status, answer.document["code"]) == (422, "view.incomplete")
