"""One workspace for all browsers: what is kept, what is refused, and what is never mixed."""

from __future__ import annotations

import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from isoclinic.errors import InputError, UsageError
from isoclinic.live.journal import JOURNAL, Journal
from raising import raises

from ..cli.conftest import off, true_pose
from .conftest import Served


def turned(pose: list[list[float]], shift_mm: float) -> list[list[float]]:
    moved = np.array(pose)
    moved[0, 3] += shift_mm
    return moved.tolist()


def test_what_was_read_is_told(served: Served):
    state = served.state
    ct, xray = state["inputs"]
    assert dict((name, value) for name, value, _ in ct["rows"])["grid"].startswith(
        "64 x 48 x 64 voxels of 3 x 3 x 3 mm"
    )
    said = {name: (value, source) for name, value, source in xray["rows"]}
    assert said["sdd_mm"] == ("1000", "DistanceSourceToDetector (0018,1110)")
    assert ct["problem"] is None and xray["problem"] is None
    assert np.allclose(state["pose"], off(true_pose(), 5.0))


def test_a_pose_is_kept_and_can_be_undone(served: Served):
    start = served.state["pose"]
    for shift in (1.0, 2.0):
        assert served.change("pose", pose=turned(start, shift)).status == 200
    state = served.state
    assert (state["current"], len(state["steps"])) == (2, 3)
    assert served.change("goto", step=0).document["state"]["pose"] == start
    assert served.change("goto", step=2).document["state"]["pose"] == turned(start, 2.0)
    served.change("goto", step=1)
    # What was undone gives way to what is done instead.
    state = served.change("pose", pose=turned(start, 7.0)).document["state"]
    assert (state["current"], len(state["steps"])) == (2, 3)
    assert served.change("goto", step=3).status == 422


def test_the_history_is_limited(serve, files):
    served = serve(files.ct, files.xray, "--init", files.init, "--steps", 3)
    start = served.state["pose"]
    for shift in range(1, 6):
        served.change("pose", pose=turned(start, shift))
    state = served.state
    assert len(state["steps"]) == 3 and state["pose"] == turned(start, 5)


def test_the_same_pose_again_is_no_step(served: Served):
    served.change("pose", pose=served.state["pose"])
    assert len(served.state["steps"]) == 1


@pytest.mark.parametrize(
    ("pose", "code"),
    [
        ([[1, 0, 0, 0]] * 3, "view.invalid-request"),
        ([[float("nan")] * 4] * 4, "view.invalid-request"),
        ([[2, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 600], [0, 0, 0, 1]], None),
        ([[1, 0, 0, 9000], [0, 1, 0, 0], [0, 0, 1, 600], [0, 0, 0, 1]], "start.ct-not-seen"),
        ("ap", "view.invalid-request"),
    ],
)
def test_a_pose_that_is_none_is_refused(served: Served, pose, code):
    before = served.state
    answer = served.change("pose", pose=pose)
    assert answer.status == 422 and (code is None or answer.document["code"] == code)
    assert served.state == before


def test_standard_views_are_starts(served: Served):
    assert served.state["starts"] == ["ap", "pa", "left", "right", "any"]
    pose = torch.tensor(served.change("start", init="left").document["state"]["pose"], dtype=torch.float64)
    # The detector is at the patient's left: the beam, the third axis, runs to RAS -x.
    assert pose[2, :3].tolist() == pytest.approx([-1, 0, 0], abs=1e-12)
    assert served.change("start", init="dicom").document["code"] == "start.unknown-name"


def test_two_windows_are_never_mixed(served: Served):
    """A change that was made for an older state is refused, and the newer state is told."""
    revision, start = served.state["revision"], served.state["pose"]
    assert served.change("pose", revision, pose=turned(start, 1.0)).status == 200
    answer = served.change("pose", revision, pose=turned(start, 2.0))
    assert (answer.status, answer.document["code"]) == (409, "view.conflict")
    assert served.state["pose"] == turned(start, 1.0)


def test_of_many_changes_at_once_one_is_made(served: Served):
    state = served.state
    revision, start = state["revision"], state["pose"]

    def one(shift: int) -> int:
        return served.change("pose", revision, pose=turned(start, shift)).status

    with ThreadPoolExecutor(8) as threads:
        statuses = list(threads.map(one, range(1, 17)))
    assert sorted(statuses) == [200] + [409] * 15
    shift = 1 + statuses.index(200)
    assert served.state["pose"] == turned(start, shift) and served.state["revision"] == revision + 1


@pytest.mark.slow
def test_what_was_done_is_there_after_an_end(serve, files, tmp_path):
    served = serve(files.ct, files.xray, "--init", files.init, "--labels", files.labels)
    start = served.state["pose"]
    served.change("pose", pose=turned(start, 3.0))
    served.change("landmarks", landmarks=[{"name": "a", "point_world": [1, 2, 3]}])
    served.change("shapes", xray=0, shapes=[{"kind": "polygon", "points": [[1, 1], [9, 1], [9, 9]]}])
    served.change("bones", mode="as-one", bones=["bone"])
    before = served.state
    served.end()
    # Without files: those that are known. A process that was killed has written as much: nothing waits.
    again = serve()
    after = again.state
    assert {name for name in before if before[name] != after[name]} <= {"revision"}
    again.end()
    # And the same files by name.
    assert serve(files.ct, files.xray).state["pose"] == turned(start, 3.0)


@pytest.mark.slow
def test_a_workspace_is_of_its_files_and_of_one_program(serve, files, tmp_path):
    served = serve(files.ct, files.xray)
    with raises(UsageError, "view.in-use", "out"):
        serve(files.ct, files.xray)
    served.end()
    with raises(UsageError, "output.of-other-settings", "out", "`output`"):
        serve(files.labels, files.xray)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with raises(UsageError, "output.foreign-files", "thesis.txt"):
        serve(files.ct, "--output", "mine")
    assert sorted(each.name for each in (tmp_path / "mine").iterdir()) == ["thesis.txt"]
    (tmp_path / "file").write_text("")
    with raises(UsageError, "output.not-a-folder", "file"):
        serve(files.ct, "--output", "file")


def test_a_bad_file_on_the_command_line_is_its_error(serve, files, tmp_path):
    (tmp_path / "bad.nii.gz").write_bytes(b"no CT")
    with pytest.raises(InputError) as caught:
        serve("bad.nii.gz", files.xray)
    assert "bad.nii.gz" in str(caught.value)


def test_a_damaged_record_is_told(tmp_path):
    journal = Journal(tmp_path / "out")
    journal.write({"revision": 1})
    journal.close()
    with sqlite3.connect(tmp_path / "out" / JOURNAL) as db:
        db.execute("UPDATE state SET document = 'x'")
    db.close()
    journal = Journal(tmp_path / "out")
    with raises(InputError, "view.damaged", str(tmp_path / "out" / JOURNAL)):
        journal.read()
    journal.close()
    (tmp_path / "out" / JOURNAL).write_bytes(
        b"no database, and long enough not to be taken for an empty one" * 20
    )
    with raises(InputError, "view.damaged", str(tmp_path / "out" / JOURNAL)):
        Journal(tmp_path / "out")


def test_a_record_of_something_else_is_told(serve, files, tmp_path):
    serve(files.ct, files.xray).end()
    journal = Journal(tmp_path / "out")
    document = journal.read()
    assert document is not None
    journal.write({**document, "steps": [{"camera_from_world": [[1]], "label": "x", "init": ""}]})
    journal.close()
    with raises(InputError, "view.damaged"):
        serve()


def test_the_token_is_in_the_address_only(served: Served, tmp_path):
    token = served.path.strip("/").encode()
    assert token not in json.dumps(served.state).encode()
    assert not any(token in each.read_bytes() for each in tmp_path.rglob("*") if each.is_file())
