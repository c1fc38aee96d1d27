"""`isoclinic batch` as users run it: what it writes, says and refuses, and how it goes on after Ctrl-C."""

from __future__ import annotations

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pydicom
import pytest
from PIL import Image

import warm
from isoclinic.batches import runner, worker
from isoclinic.geometry import gantry_view, se3
from isoclinic.registration import PoseFile
from isoclinic.volumes import Volume
from warm import Warm

from .conftest import off, phantom, true_pose, write_xray

COUNT = 3


@pytest.fixture(scope="module")
def patients(files, tmp_path_factory) -> Path:
    """Three X-rays, each with a start, their CT, and a table of them."""
    folder = tmp_path_factory.mktemp("patients")
    shutil.copy(files.ct, folder / "ct.nii.gz")
    for index in range(COUNT):
        pose = off(true_pose(), 3.0 * index)
        write_xray(folder / f"p{index}.dcm", phantom(), pose)
        (folder / f"start{index}.json").write_text(json.dumps(off(pose, 5.0).tolist()))
    rows = [f"p{index}.dcm,ct.nii.gz,start{index}.json,<b>Patient {index}</b>" for index in range(COUNT)]
    (folder / "table.csv").write_text("\n".join(["xray,ct,init,who", *rows]))
    return folder


@pytest.fixture
def work(patients, tmp_path, monkeypatch) -> Path:
    """A copy to work in."""
    shutil.copytree(patients, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


@pytest.fixture
def batch(run, files, work):
    """Run the command on these arguments, with a quick schedule."""

    def command(*arguments: object):
        return run("batch", *arguments, "--output", "out", "--config", files.config)

    return command


def summary(folder: Path = Path("out")) -> list[dict[str, str]]:
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def add_rows(*rows: str) -> None:
    with Path("table.csv").open("a") as file:
        file.write("".join(f"\n{row}" for row in rows))


def contents(folder: Path, *, but: tuple[str, ...] = ()) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in but
    }


@pytest.mark.slow
def test_from_a_table_to_its_page(batch, run, files, work):
    ran = batch("table.csv")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == f"{COUNT} of {COUNT} X-rays passed all checks -> out/report.html"
    assert sorted(each.name for each in Path("out").iterdir()) == [
        *("batch.json", "report.html", "results", "rows", "summary.csv", "summary.json")
    ]
    rows = summary()
    assert [row["name"] for row in rows] == ["p0", "p1", "p2"]
    assert [row["who"] for row in rows] == [f"<b>Patient {index}</b>" for index in range(COUNT)]
    document = json.loads(Path("out/summary.json").read_text(encoding="utf-8"))
    assert document["passed"] == document["rows"] == COUNT and document["failed"] == 0
    for index, (row, entry) in enumerate(zip(rows, document["results"], strict=True)):
        assert row["status"] == entry["status"] == "converged" and row["error"] == row["doubts"] == ""
        truth = off(true_pose(), 3.0 * index).numpy() @ [*phantom().isocentre_world, 1]
        found = np.array(entry["camera_from_world"]) @ [*phantom().isocentre_world, 1]
        np.testing.assert_allclose(found[:2], truth[:2], atol=1.0)
        pose = PoseFile.read(Path("out", entry["folder"], "pose.json"))
        assert pose.camera_from_world.tolist() == entry["camera_from_world"]
        assert float(row["expected_error_mm"]) == pytest.approx(pose.expected_error_mm, abs=1e-3)
        with Image.open(Path("out/rows", f"p{index}.jpg")) as picture:
            assert picture.size == (320, 320)
            red, _, blue = np.moveaxis(np.asarray(picture.convert("RGB")).astype(int), -1, 0)
            assert 100 < (red - blue > 80).sum() < 0.3 * picture.size[0] ** 2  # edges, in orange
    page = Path("out/report.html").read_text(encoding="utf-8")
    links = re.findall(r'<h3><a href="([^"]+)">', page)
    assert len(links) == COUNT and all(Path("out", unquote(unescape(link))).exists() for link in links)
    assert page.count("data:image/jpeg") == COUNT and "<b>Patient" not in page and "&lt;b&gt;Patient" in page


@pytest.mark.slow
def test_a_row_is_what_register_makes_of_it(batch, run, files, work):
    assert batch("table.csv").code == 0
    arguments = ["p1.dcm", "--volume", "ct.nii.gz", "--init", "start1.json", "--config", files.config]
    assert run("register", *arguments, "--output", "alone").code == 0
    alone, ours = Path("alone"), Path("out/results/p1")
    assert sorted(contents(alone)) == sorted(contents(ours))
    for name in ("transform.tfm", "overlay.png"):
        assert (alone / name).read_bytes() == (ours / name).read_bytes(), name
    poses = [json.loads((folder / "pose.json").read_text()) for folder in (alone, ours)]
    for pose in poses:
        assert "isoclinic" in pose.pop("command")
    same(poses[0], poses[1])


def same(one, other, path: str = "") -> None:
    """Check that two documents say the same, but for times.

    Poses must be equal. Expected errors were seen to differ from one run to the next by up to 2e-4 of their
    value, on equal poses; the check of the geometry is what they come from.
    """
    assert type(one) is type(other), path
    if isinstance(one, dict):
        assert one.keys() == other.keys(), path
        for name in one.keys() - {"seconds"}:
            same(one[name], other[name], f"{path}.{name}")
    elif isinstance(one, list):
        assert len(one) == len(other), path
        for index, (mine, its) in enumerate(zip(one, other, strict=True)):
            same(mine, its, f"{path}.{index}")
    elif isinstance(one, float):
        exact = "camera_from_world" in path or path.endswith("similarity")
        assert one == (other if exact else pytest.approx(other, rel=1e-3, abs=1e-9)), path
    else:
        assert one == other, path


def stop_at(name: str):
    """What registers rows, until it is interrupted within one."""

    def row(task):
        if task.row.name == name:
            raise KeyboardInterrupt
        return worker.run_row(task)

    return row


@pytest.mark.slow
def test_interrupted_and_resumed_is_as_if_nothing_had_been(batch, work, monkeypatch):
    assert batch("table.csv").code == 0
    Path("out").rename("whole")
    with monkeypatch.context() as patch:
        patch.setattr(runner, "run_row", stop_at("p1"))
        ran = batch("table.csv")
    ran.refused(130, "batch.interrupted", "1 of 3", "out")
    assert [row["status"] for row in summary()] == ["converged", "pending", "pending"]
    assert "Not registered yet" in Path("out/report.html").read_text(encoding="utf-8")
    first = {path: path.stat().st_mtime_ns for path in Path("out/results/p0").iterdir()}
    assert batch("table.csv").code == 0
    assert {path: path.stat().st_mtime_ns for path in Path("out/results/p0").iterdir()} == first
    whole, ours = (contents(Path(folder), but=("report.html", "summary.csv")) for folder in ("whole", "out"))
    assert whole.keys() == ours.keys()
    for name, content in whole.items():
        if name.endswith(".json"):
            same(json.loads(content), json.loads(ours[name]), name)
        else:
            assert content == ours[name], name
    texts = ("name", "status", "xray", "ct", "init", "start", "doubts", "error", "warnings", "report", "who")
    whole_rows, our_rows = (
        [{name: row[name] for name in texts} for row in summary(Path(folder))] for folder in ("whole", "out")
    )
    assert whole_rows == our_rows


@pytest.mark.slow
def test_a_finished_row_is_not_repeated_and_a_new_one_is_added(batch, work, monkeypatch):
    assert batch("table.csv").code == 0
    shutil.copy("p0.dcm", "p9.dcm")
    add_rows("p9.dcm,ct.nii.gz,start0.json,new")
    done = []
    monkeypatch.setattr(runner, "run_row", lambda task: done.append(task.row.name) or worker.run_row(task))
    assert batch("table.csv").code == 0
    assert done == ["p9"] and len(summary()) == COUNT + 1
    # A row that is taken out again stays in the folder, and the summary says so.
    Path("table.csv").write_text("xray,ct,init\np0.dcm,ct.nii.gz,start0.json\n")
    assert batch("table.csv").code == 0
    assert done == ["p9"] and [row["name"] for row in summary()] == ["p0"]
    (note,) = json.loads(Path("out/summary.json").read_text())["notes"]
    assert "3 results of no row" in note and "p9" in note


@pytest.mark.slow
def test_what_was_lost_is_registered_again(batch, work, monkeypatch):
    assert batch("table.csv").code == 0
    shutil.rmtree("out/results/p0")
    Path("out/rows/p1.json").unlink()
    Path("out/results/.p1.77.new").mkdir()
    Path("out/rows/.77.p1.json").touch()
    done = []
    monkeypatch.setattr(runner, "run_row", lambda task: done.append(task.row.name) or worker.run_row(task))
    assert batch("table.csv").code == 0
    assert done == ["p0", "p1"] and not list(Path("out").rglob(".*"))


@pytest.mark.slow
def test_bad_rows_do_not_stop_the_others(batch, work):
    Path("bad.dcm").write_bytes(b"nothing")
    Path("bad.nii").write_bytes(b"nothing")
    Path("bad.json").write_text("{")
    add_rows(
        *("none.dcm,ct.nii.gz,,", "bad.dcm,ct.nii.gz,,", "p0.dcm,none.nii,,", "p1.dcm,bad.nii,,"),
        *("p0.dcm,ct.nii.gz,bad.json,", "p0.dcm,ct.nii.gz,upwards,", "p0.dcm,ct.nii.gz,start0.json,last"),
    )
    lines = Path("table.csv").read_text().splitlines()
    named = [f"{line},{f'row{index}' if index else 'name'}" for index, line in enumerate(lines)]
    Path("table.csv").write_text("\n".join(named))
    ran = batch("table.csv")
    ran.refused(1, "batch.incomplete", "6 of 10", "row4", "none.dcm")
    assert ran.out.startswith("INCOMPLETE: 4 of 10 X-rays passed all checks, 6 failed; row4: ")
    rows = {row["name"]: row for row in summary()}
    codes = {name: row["error_code"] for name, row in rows.items() if row["status"] == "failed"}
    assert codes == {
        "row4": "input.unreadable",
        "row5": "xray.unknown-format",
        "row6": "input.unreadable",
        "row7": "ct.unreadable",
        "row8": "pose-file.unreadable",
        "row9": "start.unknown-name",
    }
    for name, file in (("row4", "none.dcm"), ("row5", "bad.dcm"), ("row6", "none.nii"), ("row7", "bad.nii")):
        assert file in rows[name]["error"] and not Path("out/results", name).exists()
    assert rows["row10"]["status"] == "converged" and rows["row10"]["who"] == "last"
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert page.count('<li class="tile" data-row="failed">') == 6 and "none.dcm" in page
    # They are tried again, and what has come meanwhile is registered.
    shutil.copy("p2.dcm", "none.dcm")
    batch("table.csv", "--init", "start2.json").refused(1, "batch.incomplete", "5 of 10")


@pytest.mark.slow
def test_a_fault_of_the_program_is_an_error_of_its_row_alone(batch, work, monkeypatch):
    real = worker.write_result

    def broken(folder, *arguments, **named):
        if folder.name == "p1":
            raise RuntimeError("a fault")
        real(folder, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(worker, "write_result", broken)
        batch("table.csv").refused(1, "batch.incomplete", "1 of 3", "p1", "RuntimeError", "out/rows/p1.txt")
    assert [row["status"] for row in summary()] == ["converged", "failed", "converged"]
    assert "in broken" in Path("out/rows/p1.txt").read_text()
    assert batch("table.csv").code == 0 and not Path("out/rows/p1.txt").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks of this kind")
def test_two_processes_do_not_share_a_folder(batch, work, monkeypatch):
    inner = []

    def twice(task):
        if not inner:
            inner.append(batch("table.csv"))
        return worker.run_row(task)

    monkeypatch.setattr(runner, "run_row", twice)
    assert batch("table.csv").code == 0
    inner[0].refused(2, "batch.busy", "out", "--output")
    assert batch("table.csv").code == 0


@pytest.mark.slow
def test_inputs_that_are_gone_for_a_while_cost_no_result(batch, work):
    assert batch("table.csv").code == 0
    before = contents(Path("out/results"))
    Path("ct.nii.gz").rename("away.nii.gz")
    assert batch("table.csv").code == 1
    assert {row["status"] for row in summary()} == {"failed"} and contents(Path("out/results")) == before
    Path("away.nii.gz").rename("ct.nii.gz")
    assert batch("table.csv").code == 0 and contents(Path("out/results")) == before


def change_nothing() -> None:
    pass


def change_xray() -> None:
    shutil.copy("p1.dcm", "p0.dcm")


def change_ct() -> None:
    shutil.copy("ct.nii.gz", "other.nii.gz")
    volume = phantom()
    volume.hu[0, 0, 0] += 1
    import nibabel as nib

    nib.save(nib.Nifti1Image(volume.hu, volume.world_from_voxel), "ct.nii.gz")


def change_start() -> None:
    shutil.copy("start1.json", "start0.json")


def change_sidecar() -> None:
    Path("p0.isoclinic.json").write_text("{}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "options", "what"),
    [
        (change_nothing, ["--length-mm", "70"], "other settings of the registration"),
        (change_nothing, ["--sdd-mm", "1010"], "other settings of how X-rays are read"),
        (change_nothing, ["--model", "none"], "another model"),
        (change_xray, [], "another X-ray"),
        (change_sidecar, [], "another X-ray"),
        (change_ct, [], "another CT"),
        (change_start, [], "another start"),
    ],
)
def test_results_of_something_else_are_refused_by_name(batch, work, change, options, what):
    assert batch("table.csv").code == 0
    before = contents(Path("out"))
    change()
    ran = batch("table.csv", *options)
    ran.refused(2, "output.of-other-settings", what, "p0", "--overwrite", "--output")
    assert contents(Path("out")) == before


@pytest.mark.slow
def test_another_mask_in_the_same_file_is_another_setting(batch, work):
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[:4] = 255
    Image.fromarray(mask).save("mask.png")
    assert batch("table.csv", "--exclude", "mask.png").code == 0
    Image.fromarray(mask.T).save("mask.png")
    ran = batch("table.csv", "--exclude", "mask.png")
    ran.refused(2, "output.of-other-settings", "other settings of how X-rays are read")


@pytest.mark.slow
def test_overwrite_replaces_what_differs_alone(batch, work, monkeypatch):
    assert batch("table.csv").code == 0
    change_xray()
    done = []
    monkeypatch.setattr(runner, "run_row", lambda task: done.append(task.row.name) or worker.run_row(task))
    assert batch("table.csv", "--overwrite").code == 0
    assert done == ["p0"]
    # An older result does not stand for a row that fails now.
    Path("p0.dcm").write_bytes(b"nothing")
    assert batch("table.csv", "--overwrite").code == 1
    assert not Path("out/results/p0").exists() and not Path("out/rows/p0.json").exists()
    assert [row["status"] for row in summary()] == ["failed", "converged", "converged"]


@pytest.mark.slow
def test_doubtful_results_are_counted_and_end_with_3(batch, work):
    image = pydicom.dcmread("p1.dcm")
    pixels = np.random.default_rng(1).integers(1000, 30000, (image.Rows, image.Columns), dtype=np.uint16)
    image.PixelData = pixels.tobytes()
    image.save_as("p1.dcm")
    ran = batch("table.csv")
    assert ran.code == 3, ran
    assert ran.out.startswith("DOUBTFUL: 2 of 3 X-rays passed all checks, 1 doubtful; p1: ")
    row = summary()[1]
    assert row["status"] == "doubtful" and row["doubts"] and row["expected_error_mm"] == ""
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert (
        page.count('<li class="tile" data-row="doubtful">') == 1 and '<body data-status="doubtful">' in page
    )
    # The rows are done, and stay doubtful.
    assert batch("table.csv").code == 3
    assert batch("table.csv", "--accept-doubtful").code == 0
    # A row that fails counts for more.
    add_rows("none.dcm,ct.nii.gz,,")
    ran = batch("table.csv", "--accept-doubtful")
    assert ran.code == 1
    assert ran.out.startswith("INCOMPLETE: 2 of 4 X-rays passed all checks, 1 doubtful, 1 failed; none: ")


@pytest.mark.slow
def test_each_ct_is_read_once(batch, work, monkeypatch):
    shutil.copy("ct.nii.gz", "second.nii.gz")
    for index in range(COUNT):
        shutil.copy(f"p{index}.dcm", f"q{index}.dcm")
    rows = [
        f"{name}{index}.dcm,{ct},start{index}.json"
        for index in range(COUNT)
        for name, ct in (("p", "ct.nii.gz"), ("q", "second.nii.gz"))
    ]
    Path("table.csv").write_text("\n".join(["xray,ct,init", *rows]))
    read, real = [], Volume.read
    monkeypatch.setattr(
        Volume, "read", lambda path, **named: read.append(Path(path).name) or real(path, **named)
    )
    assert batch("table.csv").code == 0
    assert read == ["ct.nii.gz", "second.nii.gz"]
    assert [row["name"] for row in summary()] == ["p0", "q0", "p1", "q1", "p2", "q2"]


def test_a_ct_that_cannot_be_read_is_tried_once(batch, work, monkeypatch):
    Path("ct.nii.gz").write_bytes(b"nothing")
    read, real = [], Volume.read
    monkeypatch.setattr(Volume, "read", lambda path, **named: read.append(path) or real(path, **named))
    batch("table.csv").refused(1, "batch.incomplete", "3 of 3", "ct.nii.gz")
    assert len(read) == 1


@pytest.mark.slow
def test_a_folder_of_x_rays_of_one_ct(batch, work):
    Path("xrays").mkdir()
    for index in range(2):
        shutil.copy(f"p{index}.dcm", f"xrays/p{index}.dcm")
    batch("xrays").refused(2, "options.incomplete", "xrays", "--volume")
    ran = batch("xrays", "--volume", "ct.nii.gz", "--init", "start0.json")
    assert ran.code == 0, ran.err
    assert [(row["name"], row["init"]) for row in summary()] == [("p0", "start0.json"), ("p1", "start0.json")]


def test_an_output_among_the_inputs_is_refused(run, work):
    Path("xrays").mkdir()
    shutil.copy("p0.dcm", "xrays")
    inside = ("batch", "xrays", "--volume", "ct.nii.gz", "--output", "xrays/out")
    run(*inside).refused(2, "output.is-an-input", "xrays/out", "xrays")
    Path("table.csv").write_text("xray,ct\np0.dcm,xrays\n")
    run("batch", "table.csv", "--output", "xrays/out").refused(2, "output.is-an-input", "xrays")
    assert [each.name for each in Path("xrays").iterdir()] == ["p0.dcm"]


def test_a_folder_with_something_else_is_left_alone(batch, work):
    Path("out").mkdir()
    Path("out/mine.txt").write_text("mine")
    batch("table.csv", "--overwrite").refused(2, "output.foreign-files", "out")
    shutil.rmtree("out")
    Path("out").write_text("a file")
    batch("table.csv").refused(2, "output.not-a-folder", "out")


@pytest.mark.slow
def test_a_record_that_is_damaged_is_named(batch, work):
    assert batch("table.csv").code == 0
    Path("out/rows/p1.json").write_text("{")
    batch("table.csv").refused(1, "batch.unreadable", "out/rows/p1.json")
    Path("out/rows/p1.json").write_text('{"key": {}}')
    batch("table.csv").refused(1, "batch.unreadable", "out/rows/p1.json")
    Path("out/rows/p1.json").unlink()
    assert batch("table.csv").code == 0


@pytest.mark.slow
def test_the_summary_as_json(batch, work):
    document = json.loads(batch("table.csv", "--json").out)
    assert next(iter(document)) == "verdict" and document["verdict"].endswith("out/report.html")
    assert [each["further"]["who"] for each in document["results"]] == [
        f"<b>Patient {index}</b>" for index in range(COUNT)
    ]


@pytest.mark.slow
def test_what_is_odd_about_a_table_is_told(batch, work):
    Path("table.csv").write_text("xray,ct,inti\np0.dcm,ct.nii.gz,start0.json\n")
    ran = batch("table.csv", "--init", "start0.json")
    assert ran.code == 0 and "'inti'" in ran.err and "did you mean 'init'" in ran.err
    assert json.loads(Path("out/summary.json").read_text())["notes"]


@pytest.mark.parametrize("name", ["table.csv", "table.xlsx"])
def test_register_names_this_command(run, work, name):
    ran = run("register", name, "--volume", "ct.nii.gz", "--output", "alone")
    ran.refused(2, "batch.other-command", name, "isoclinic batch")
    Path("both").mkdir()
    for index in range(2):
        shutil.copy(f"p{index}.dcm", "both")
    ran = run("register", "both", "--volume", "ct.nii.gz", "--output", "alone")
    ran.refused(1, "xray.several-files", "both", "isoclinic batch")


def test_a_spreadsheet_or_no_table(batch, work):
    Path("table.xlsx").write_bytes(b"PK")
    batch("table.xlsx").refused(2, "batch.unreadable", "table.xlsx", "CSV")
    batch("none.csv").refused(1, "batch.unreadable", "none.csv")
    assert not Path("out").exists()


@pytest.mark.slow
def test_processes_and_a_real_ctrl_c(files, work):
    """Two processes are interrupted while they register; the rest is done by a second run."""
    for index in range(3, 14):
        shutil.copy(f"p{index % 3}.dcm", f"p{index}.dcm")
    add_rows(*(f"p{index}.dcm,ct.nii.gz,start{index % 3}.json," for index in range(3, 14)))
    command = [sys.executable, "-m", "isoclinic", "batch", "table.csv", "--output", "out"]
    command += ["--config", str(files.config), "--processes", "2"]
    process = Warm(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(list(Path("out").glob("rows/*.json"))) < 3 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "[batch.interrupted]" in err, err
    assert not list(Path("out").rglob(".*"))
    rows = summary()
    done = [row["name"] for row in rows if row["status"] == "converged"]
    assert 3 <= len(done) < 14 and {row["status"] for row in rows} == {"converged", "pending"}
    times = {name: Path("out/results", name, "pose.json").stat().st_mtime_ns for name in done}
    again = warm.run(command)
    assert again.returncode == 0, again.stderr
    assert {name: Path("out/results", name, "pose.json").stat().st_mtime_ns for name in done} == times
    rows = summary()
    assert {row["status"] for row in rows} == {"converged"} and len(rows) == 14
    # Whichever process registered it, an X-ray has one pose.
    for index in range(3, 14):
        assert rows[index]["similarity"] == rows[index % 3]["similarity"]


@pytest.mark.slow
def test_several_views_of_a_row_give_one_pose(batch, run, work):
    """Two X-rays at a right angle show the depth, which one of them hardly does."""
    truth = true_pose()
    side = gantry_view(90.0, 0.0, 650.0) @ se3.inverse(gantry_view(180.0, 0.0, 650.0))
    write_xray(work / "side.dcm", phantom(), side @ truth)
    (work / "lie.json").write_text(json.dumps({"view_from_first": [side.tolist()]}))
    rows = ["xray,ct,init,xray2,views", "p0.dcm,ct.nii.gz,start0.json,side.dcm,lie.json"]
    (work / "pair.csv").write_text("\n".join([*rows, "p1.dcm,ct.nii.gz,start1.json,,"]))
    assert batch("pair.csv").code == 0
    pair, single = summary()
    assert pair["further_xrays"].endswith("side.dcm") and pair["views"].endswith("lie.json")
    assert single["further_xrays"] == single["views"] == ""
    first, second = (PoseFile.read(f"out/results/p0/pose{suffix}.json") for suffix in ("", "-2"))
    off_mm = (first.camera_from_world - truth)[:3, 3]
    assert float(off_mm.norm()) < 1.0
    assert np.allclose(second.camera_from_world, side @ first.camera_from_world, atol=1e-6)
    assert first.xray.path.endswith("p0.dcm") and second.xray.path.endswith("side.dcm")
    assert "p0.dcm, side.dcm in ct.nii.gz" in unescape(Path("out/report.html").read_text())
    # Another geometry is another row; nothing is registered again where it is the same.
    assert batch("pair.csv").code == 0
    (work / "lie.json").write_text(json.dumps({"view_from_first": [truth.tolist()]}))
    batch("pair.csv").refused(2, "output.of-other-settings", "another X-ray")


@pytest.mark.slow
def test_structures_are_found_one_by_one_and_doubted_with_their_row(batch, files, work):
    quick = ["--moving.candidates", "4", "--moving.starts", "1", "--moving.rounds", "1"]
    usual = ("--labels", files.labels, "--each-structure", "bone", "--accept-doubtful", *quick)
    (work / "one.csv").write_text("xray,ct,init\np0.dcm,ct.nii.gz,start0.json")
    assert batch("one.csv", *usual).code == 0
    (row,) = summary()
    document = json.loads(Path("out/summary.json").read_text())["results"][0]
    found = document["structures"]["bone"]
    assert row["structures"].startswith(f"bone: {found['status']}")
    pose = PoseFile.read("out/results/p0/structures/bone/pose.json")
    assert pose.camera_from_world.tolist() == found["camera_from_world"]
    assert all(f"bone: {doubt}" in row["doubts"] for doubt in found["doubts"])
    assert (row["status"] == "doubtful") is bool(found["doubts"] or document["confidence"]["doubts"])
    # Without structures, or with other settings of theirs, it is another result.
    batch("one.csv", "--labels", files.labels).refused(2, "output.of-other-settings", "settings")


def test_options_that_rows_cannot_have(batch, files, work):
    batch("table.csv", "--each-structure", "bone").refused(2, "labels.missing", "--each-structure", "p0")
    both = ("--labels", files.labels, "--each-structure", "bone", "--structures", "bone")
    batch("table.csv", *both).refused(2, "options.conflict", "--structures")
    (work / "pair.csv").write_text("xray,ct,xray2\np0.dcm,ct.nii.gz,p1.dcm")
    angles = ("--primary-angle-deg", 0, "--secondary-angle-deg", 0)
    batch("pair.csv", *angles).refused(2, "options.conflict", "--primary-angle-deg", "p0")
    # An unknown structure is a matter of its row's label map.
    unknown = ("--labels", files.labels, "--each-structure", "femur")
    batch("table.csv", *unknown).refused(1, "batch.incomplete", "femur")
