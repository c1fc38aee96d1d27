"""What `isoclinic register` leaves to audit a result and to do it again."""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch

from isoclinic.cli.register import writing_beside
from isoclinic.geometry import se3
from isoclinic.registration import PoseFile


def command_in(report: Path) -> list[str]:
    (command,) = re.findall(r"<pre>(.*)</pre>", report.read_text(encoding="utf-8"), flags=re.DOTALL)
    return shlex.split(html.unescape(command))


@pytest.fixture
def awkward(files, tmp_path, monkeypatch) -> Path:
    """The phantom's files under names that a shell and HTML would take apart, in the current folder."""
    folder = tmp_path / 'it\'s <b>my "data" & more'
    folder.mkdir()
    shutil.copy(files.xray, folder / "x & 'ray'.dcm")
    for path in (files.ct, files.labels, files.labels.with_name("labels.json"), files.init):
        shutil.copy(path, folder / f"my {path.name}")
    shutil.copy(files.config, folder / "fast.toml")
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_the_command_in_the_report_does_it_again(run, awkward):
    """From the folder that the report names, while the first result is there, to the last bit."""
    arguments = [
        "x & 'ray'.dcm",
        "--volume",
        "my ct.nii.gz",
        "--output",
        "the result/",
        "--config",
        "fast.toml",
    ]
    arguments += ["--init", "my init.json", "--labels", "my labels.nii.gz", "--each-structure", "bone"]
    assert run("register", *arguments).code == 0
    program, *again = command_in(awkward / "the result" / "report.html")
    assert program == "isoclinic" and again != ["register", *arguments]
    ran = run(*again)
    assert ran.code == 0, ran.err
    for name in ("pose.json", "structures/bone/pose.json"):
        first, second = (
            PoseFile.read(awkward / folder / name) for folder in ("the result", "the result-again")
        )
        assert first.camera_from_world.tolist() == second.camera_from_world.tolist()
        assert shlex.split(first.command) == ["isoclinic", "register", *arguments]
        assert {name: file.path for name, file in first.files.items()} == {
            "init": "my init.json",
            "labels": "my labels.nii.gz",
            "config": "fast.toml",
        }
        for file in (first.volume, first.xray, *first.files.values()):
            assert file.sha256 == hashlib.sha256(Path(file.path).read_bytes()).hexdigest()
    page = (awkward / "the result" / "report.html").read_text(encoding="utf-8")
    (folder,) = re.findall(r"Run in <code>(.*?)</code>", page)
    assert html.unescape(folder) == str(awkward) and "<" not in folder


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["a.dcm", "--output", "r", "--bin", "2"], ["a.dcm", "--output", "r-again", "--bin", "2"]),
        (["--output=r", "a.dcm"], ["--output=r-again", "a.dcm"]),
        (["a.dcm", "--config", "c.toml"], ["a.dcm", "--config", "c.toml", "--output", "r-again"]),
    ],
)
def test_the_result_is_written_beside(arguments, expected):
    """Also where a TOML file names the place."""
    assert writing_beside(Path("r"), arguments) == expected


@pytest.mark.slow
def test_a_doubtful_result_says_why(run, files, tmp_path):
    """In the pose file, and in the report with what was found beside its limit."""
    output = tmp_path / "result"
    options = ["--volume", files.ct, "--output", output, "--config", files.config, "--init", files.init]
    assert run("register", files.xray, *options, "--confidence.edges-below", "1.1").code == 3
    (doubt,) = PoseFile.read(output / "pose.json").doubts
    found = re.search(r"edges correlate by ([\d.]+), below 1.1", doubt)
    page = (output / "report.html").read_text(encoding="utf-8")
    assert f'<td class="number">{found[1]}</td><td class="">below 1.1</td>' in page
    assert run("register", files.xray, *options, "--overwrite").code == 0
    assert PoseFile.read(output / "pose.json").doubts == ()


@pytest.mark.slow
def test_several_views_say_how_they_lie(run, awkward):
    """Relative to the first, and where that is known from; the second is the first turned by 10 deg here."""
    turn = se3.exp(torch.tensor([0.0, math.radians(10), 0.0, 0.0, 0.0, 0.0], dtype=torch.float64))
    (awkward / "views.json").write_text(json.dumps({"view_from_first": [turn.tolist()]}))
    xrays = ["x & 'ray'.dcm"] * 2
    options = [
        "--volume",
        "my ct.nii.gz",
        "--output",
        "two",
        "--config",
        "fast.toml",
        "--init",
        "my init.json",
    ]
    # The same X-ray twice does not fit: it is doubtful.
    assert run("register", *xrays, *options, "--views", "views.json").code == 3
    page = (awkward / "two" / "report.html").read_text(encoding="utf-8")
    row = page[page.index("view 2 from the first") :].partition("</tr>")[0]
    assert re.findall(r"<td[^>]*>([^<]*)", row) == ["turned by 10.00 deg", "views.json"]
    assert PoseFile.read(awkward / "two" / "pose-2.json").files.keys() == {"init", "views", "config"}
