"""`isoclinic compare` on two evaluations: the report, where its links lead, and what is refused."""

from __future__ import annotations

import csv
import json
import os
import re

import pytest

from isoclinic.evaluation.config import StatisticsConfig
from isoclinic.evaluation.measurement import Measurement
from isoclinic.evaluation.report import REPORT_FILES, summary_document

FAST = ("--resamples", "100")


def measured(case: str, mtre_mm: float, **changes) -> Measurement:
    errors = dict.fromkeys(("mtre_mm", "mpd_mm", "mrpd_mm", "rotation_deg"), mtre_mm)
    names = {"dataset": "cases", "case": case, "group": "a", "method": "isoclinic", "start": "mtre:30"}
    values = names | errors | {"landmarks": "abc", "status": "converged", "translation_mm": (0.0, 0.0, 1.0)}
    numbers = {"initial_mtre_mm": 30.0, "similarity": 0.5, "expected_error_mm": 1.0, "seconds": 1.0}
    return Measurement(**values | numbers | changes)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Evaluations x and y, with one case more in y."""
    monkeypatch.chdir(tmp_path)
    for name, errors in (("x", (0.5, 3.0)), ("y", (1.0, 1.5, 9.0))):
        write(tmp_path / name, [measured(f"a/{index}", error) for index, error in enumerate(errors)])
    return tmp_path


def write(folder, measurements, **changes) -> None:
    folder.mkdir(exist_ok=True)
    document = summary_document(measurements, StatisticsConfig(resamples=100)) | changes
    (folder / "summary.json").write_text(json.dumps(document))


@pytest.mark.slow
def test_a_report_of_both(run, folders):
    ran = run("compare", "x", "y", "--output", "deep/out", *FAST)
    assert (ran.code, ran.err) == (0, "")
    out = folders / "deep" / "out"
    assert {path.name for path in out.iterdir()} == REPORT_FILES
    with (out / "comparisons.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["method_a"], row["method_b"]) == ("isoclinic (x)", "isoclinic (y)")
    assert (row["pairs"], row["only_a"], row["only_b"]) == ("2", "0", "1")
    assert "isoclinic (x) | isoclinic (y) | 2 | 0 | 1" in ran.out
    text = (out / "report.html").read_text()
    assert "isoclinic compare x y --output deep/out" in text
    links = re.findall(r'href="(\.\.[^"]*)"', text)
    assert os.path.normpath(out / links[0]) == str(folders / "y/cases/a/2/mtre-30/isoclinic")


@pytest.mark.slow
def test_a_report_is_replaced_only_when_asked(run, folders):
    assert run("compare", "x", "y", "--output", "out", *FAST).code == 0
    ran = run("compare", "x", "y", "--output", "out", *FAST)
    ran.refused(2, "output.exists", "out", "--overwrite")
    assert run("compare", "x", "--output", "out", "--overwrite", *FAST).code == 0
    assert not (folders / "out" / "paired.png").exists()


@pytest.mark.slow
def test_another_metric_and_columns(run, folders):
    chosen = ("--metric", "rotation_deg", "--columns", "mpd_mm_p50")
    ran = run("compare", "x", "y", "--output", "out", *chosen, *FAST)
    assert ran.code == 0 and "rotation median a [deg]" in ran.out
    assert "| group | mPD median [mm] |" in (folders / "out" / "summary.md").read_text()


@pytest.mark.parametrize(
    ("changes", "arguments", "status", "fault"),
    [
        ({}, ["x", "nowhere"], 1, ("evaluation.unreadable", "nowhere", "summary.json")),
        ({}, ["x", "x"], 1, ("evaluation.ambiguous", "x")),
        ({}, ["x", "y", "--columns", "mtre"], 2, ("options.unknown-name", "'mtre'")),
        ({}, ["x", "y", "--level", "2"], 2, ("evaluation.invalid-value", "level")),
        (
            {"metrics": "mTRE on the detector"},
            ["x", "y"],
            1,
            ("evaluation.invalid-value", "y/summary.json", "mTRE on the detector"),
        ),
        (
            {"landmarks": "fff"},
            ["x", "y"],
            1,
            ("evaluation.not-comparable", "a/0", "landmarks", "y (fff)", "x (abc)"),
        ),
        ({"dataset": "other"}, ["x", "y"], 1, ("evaluation.not-comparable", "y", "'other'", "x", "'cases'")),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(run, folders, changes, arguments, status, fault):
    marker = {key: value for key, value in changes.items() if key == "metrics"}
    write(folders / "y", [measured("a/0", 1.0, **changes if not marker else {})], **marker)
    before = set(folders.rglob("*"))
    ran = run("compare", *arguments, "--output", "out", *FAST)
    ran.refused(status, *fault)
    assert set(folders.rglob("*")) == before
