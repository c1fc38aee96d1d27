"""Evaluations read back, and everything that must not be mixed."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from isoclinic.errors import InputError
from isoclinic.evaluation.config import StatisticsConfig
from isoclinic.evaluation.records import EvaluationRecord, check_comparable, combined, read_evaluation
from isoclinic.evaluation.report import summary_document
from raising import raises

from .measured import measurement

MEASURED = [measurement("a/0"), measurement("a/1", mtre_mm=2.0), measurement("b/0", mtre_mm=math.inf)]


def written(folder: Path, **changes) -> Path:
    folder.mkdir()
    document = summary_document(MEASURED, StatisticsConfig(resamples=100)) | changes
    (folder / "summary.json").write_text(json.dumps(document))
    return folder


def record(name: str, *measurements) -> EvaluationRecord:
    return EvaluationRecord(name=name, folder=Path(name), measurements=measurements)


def test_what_was_written_is_read(tmp_path):
    found = read_evaluation(written(tmp_path / "x")).measurements
    assert list(found[:2]) == MEASURED[:2]
    assert math.isnan(found[2].mtre_mm) and found[2].case == "b/0"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (None, ("evaluation.unreadable", "summary.json", "No such file")),
        ("{", ("evaluation.unreadable", "summary.json", "JSON")),
        ("[]", ("evaluation.missing", "summary.json")),
        ("{}", ("evaluation.missing", "summary.json")),
        ('{"measurements": []}', ("evaluation.missing", "summary.json")),
        (
            '{"measurements": [1]}',
            ("evaluation.invalid-value", "summary.json"),
        ),
    ],
)
def test_files_that_are_no_evaluation(tmp_path, text, fault):
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    with raises(InputError, *fault):
        read_evaluation(tmp_path)


def test_other_metrics_are_refused(tmp_path):
    folder = written(tmp_path / "x", metrics="mTRE on the detector [mm]")
    with raises(InputError, "evaluation.invalid-value", "mTRE on the detector [mm]"):
        read_evaluation(folder)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        (7, ("evaluation.malformed-record", "measurement 0", "version")),
        ({"more": 1}, ("evaluation.malformed-record", "measurement 0", "version")),
        ({"translation_mm": [1, 2]}, ("evaluation.malformed-record", "measurement 0", "version")),
        ({"translation_mm": None}, ("evaluation.malformed-record", "measurement 0", "version")),
        ({"mtre_mm": "small"}, ("evaluation.malformed-record", "measurement 0", "number")),
        ({"case": None}, ("evaluation.malformed-record", "measurement 0", "name")),
    ],
)
def test_entries_that_are_no_measurement(tmp_path, entry, fault):
    good = summary_document(MEASURED[:1], StatisticsConfig(resamples=100))["measurements"][0]
    bad = good | entry if isinstance(entry, dict) else entry
    with raises(InputError, *fault):
        read_evaluation(written(tmp_path / "x", **{"measurements": [bad]}))


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"dataset": "ljubljana"}, ("data set", "ljubljana", "cases", "a/0")),
        (
            {"landmarks": "ffff"},
            ("a/0", "landmarks", "ffff", "0123456789ab"),
        ),
        ({"group": "c"}, ("a/0", "subject", "(c)", "(a)")),
    ],
)
def test_what_must_not_be_mixed(change, names):
    with raises(InputError, "evaluation.not-comparable", "A", "B", *names):
        check_comparable({"A": MEASURED, "B": [replace(MEASURED[0], **change)]})
    with raises(InputError, "evaluation.not-comparable", "A", *names):
        check_comparable({"A": [*MEASURED, replace(MEASURED[0], start="other", **change)]})


def test_twice_in_one_source():
    with raises(InputError, "evaluation.ambiguous", "A", "a/0", "15"):
        check_comparable({"A": [MEASURED[0], replace(MEASURED[0], mtre_mm=3.0)]})
    check_comparable({"A": MEASURED, "B": MEASURED})


def test_equal_methods_are_told_apart_by_folder():
    other = measurement("a/0", method="xvr")
    measurements, origins = combined([record("p/x", MEASURED[0], other), record("p/y", MEASURED[0])])
    assert [each.method for each in measurements] == ["isoclinic (x)", "xvr", "isoclinic (y)"]
    assert {name: (str(each.folder), each.method) for name, each in origins.items()} == {
        "isoclinic (x)": ("p/x", "isoclinic"),
        "xvr": ("p/x", "xvr"),
        "isoclinic (y)": ("p/y", "isoclinic"),
    }
    measurements, _ = combined([record("p/x", MEASURED[0]), record("q/x", MEASURED[0])])
    assert [each.method for each in measurements] == ["isoclinic (p/x)", "isoclinic (q/x)"]


def test_a_folder_twice():
    with raises(InputError, "evaluation.ambiguous", "p/x"):
        combined([record("p/x", MEASURED[0]), record("p/../p/x", MEASURED[0])])
