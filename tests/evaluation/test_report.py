"""The table and the picture, read back and counted by hand."""

from __future__ import annotations

import csv
import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imread

from isoclinic.errors import InputError
from isoclinic.evaluation._summaries import summaries
from isoclinic.evaluation.config import StatisticsConfig
from isoclinic.evaluation.figures import paired_figure, summary_figure, time_figure
from isoclinic.evaluation.report import ReportConfig, summary_document, write_report
from isoclinic.evaluation.statistics import wilson_interval
from raising import raises

from .measured import measurement

CONFIG = ReportConfig(statistics=StatisticsConfig(resamples=100))
FILES = {"measurements.csv", "summary.csv", "summary.json", "summary.md", "summary.tex", "report.html"} | {
    *("summary.png", "time.png", "calibration.png")
}


MEASURED = [
    measurement("chest/00", "15", 0.5, initial_mtre_mm=14.0),
    measurement("chest/01", "15", 3.0, initial_mtre_mm=16.0),
    measurement("pelvis/00", "15", 1.5, initial_mtre_mm=15.0),
    measurement("pelvis/00", "60", math.inf, initial_mtre_mm=62.0, mpd_mm=math.nan),
]


def test_one_row_for_every_start_and_group():
    table = summaries(MEASURED)
    assert [key[2:] for key in table] == [
        ("15", "chest"),
        ("15", "pelvis"),
        ("15", "all"),
        ("60", "pelvis"),
        ("60", "all"),
    ]
    assert [each.cases for each in table.values()] == [2, 1, 3, 1, 1]
    everything = table["cases", "isoclinic", "15", "all"]
    assert everything.percentiles["mtre_mm"][50] == 1.5
    assert everything.percentiles["initial_mtre_mm"][50] == 15.0
    assert everything.submillimetre_success_rate == pytest.approx(1 / 3)
    assert everything.success_rates == {2.0: pytest.approx(2 / 3), 5.0: 1.0, 10.0: 1.0}
    assert table["cases", "isoclinic", "60", "all"].success_rates == {2.0: 0.0, 5.0: 0.0, 10.0: 0.0}


def test_one_group_needs_no_total():
    assert list(summaries(MEASURED[:2])) == [("cases", "isoclinic", "15", "chest")]


def test_no_measurement_is_an_error(tmp_path: Path):
    with raises(InputError, "evaluation.unknown-name", "measurement"):
        write_report(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_files_agree(tmp_path: Path):
    write_report(tmp_path, MEASURED, CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == FILES
    document = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert document == json.loads(json.dumps(summary_document(MEASURED, CONFIG.statistics)))
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, entry in zip(rows, document["summaries"], strict=True):
        assert (row["start"], row["group"], int(row["cases"])) == (
            entry["start"],
            entry["group"],
            entry["cases"],
        )
        for metric in ("initial_mtre_mm", "mtre_mm", "mpd_mm", "mrpd_mm", "rotation_deg", "run_time_s"):
            for percent in (25, 50, 75, 95):
                in_json = entry[metric][f"p{percent}"]
                in_csv = float(row[f"{metric}_p{percent}"])
                assert in_csv == (math.inf if in_json is None else in_json)
        assert float(row["success_below_mm_2"]) == entry["success_below_mm"]["2"]
    with (tmp_path / "measurements.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["case"] for row in rows] == [each.case for each in MEASURED]
    assert [float(row["mtre_mm"]) for row in rows] == [each.mtre_mm for each in MEASURED]
    assert [float(rows[0][f"translation_mm_{axis}"]) for axis in ("x", "y", "depth")] == [-1.0, 0.5, 2.0]
    for picture in ("summary.png", "time.png", "calibration.png"):
        assert imread(tmp_path / picture).std() > 10


def test_what_json_cannot_hold_is_null():
    last = summary_document(MEASURED)["measurements"][-1]
    assert last["mtre_mm"] is None and last["mpd_mm"] is None


def test_the_curves_count_cases():
    """At each error the curve is at the fraction of cases up to there; what failed is beyond the picture."""
    distribution, success = summary_figure(MEASURED).axes
    curves = {line.get_label(): line for line in distribution.get_lines()}
    assert list(curves) == ["start 15, 3 cases", "start 60, 1 cases"]
    x, y = curves["start 15, 3 cases"].get_data()
    np.testing.assert_allclose(x[1:-1], [0.5, 1.5, 3.0])
    np.testing.assert_allclose(y, [0, 1 / 3, 2 / 3, 1, 1])
    assert curves["start 60, 1 cases"].get_xdata()[1] == distribution.get_xlim()[1]
    rates = {bars.get_label(): bars for bars in success.containers}
    # Starts of 10 to 20 and of 60 to 70 mm.
    for bound, rate in (("1", 1 / 3), ("2", 2 / 3), ("5", 1.0)):
        line, _, (bars,) = rates[f"mTRE < {bound} mm"]
        centres, found = line.get_data()
        np.testing.assert_allclose(centres, [15, 65], atol=1)  # beside each other
        np.testing.assert_allclose(found, [rate, 0])
        ends = [segment[:, 1] for segment in bars.get_segments()]
        np.testing.assert_allclose(ends[1], wilson_interval(0, 1, level=0.95), atol=1e-12)


TWO = [replace(each, method=method) for method in ("isoclinic", "x<y") for each in MEASURED]


@pytest.mark.slow
def test_two_methods(tmp_path: Path):
    """Every file; then again with one method, which leaves none of the comparison."""
    write_report(tmp_path, TWO, CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == FILES | {"comparisons.csv", "paired.png"}
    document = json.loads((tmp_path / "summary.json").read_text())
    assert [each["pairs"] for each in document["comparisons"]] == [3, 1]
    write_report(tmp_path, MEASURED, CONFIG)
    assert {path.name for path in tmp_path.iterdir()} == FILES


@pytest.mark.slow
def test_the_page_is_complete_in_itself_and_links_to_the_poses(tmp_path: Path):
    config = replace(CONFIG, title="T & <b>", command="isoclinic evaluate <x>")
    write_report(tmp_path, TWO, config)
    text = (tmp_path / "report.html").read_text()
    assert "<h1>T &amp; &lt;b&gt;</h1>" in text and "isoclinic evaluate &lt;x&gt;" in text
    assert "x<y" not in text and "x&lt;y" in text
    assert not re.findall(r"(?:src|href)=.(?:https?:|//)", text)
    assert text.count("<svg ") == 4
    links = re.findall(r'href="(cases/[^"]*)"', text)
    assert links[0] == "cases/pelvis/00/60/isoclinic/"  # infinite, so the worst
    assert len(links) == len(TWO) and "cases/chest/00/15/x%3Cy/" in links


@pytest.mark.slow
def test_columns_of_choice(tmp_path: Path):
    write_report(tmp_path, MEASURED, replace(CONFIG, columns=("mtre_mm_p50",)))
    header = (tmp_path / "summary.md").read_text().splitlines()[2]
    assert header == "| data set | method | start | group | mTRE median [mm] |"
    assert "mtre_mm_p95" in (tmp_path / "summary.csv").read_text()


def test_measurements_that_must_not_be_mixed_are_not_reported(tmp_path: Path):
    with raises(InputError, "evaluation.not-comparable", "chest/00", "landmarks"):
        write_report(tmp_path, [*MEASURED, replace(MEASURED[0], start="1", landmarks="f")], CONFIG)
    assert list(tmp_path.iterdir()) == []


def test_pairs_and_times_are_all_drawn():
    panels = paired_figure(TWO).axes
    points = np.concatenate([each.get_offsets() for each in panels[0].collections])
    np.testing.assert_allclose(sorted(points[:, 0]), [0.5, 1.5, 3, 1000])
    np.testing.assert_allclose(points[:, 0], points[:, 1])
    (axes,) = time_figure(TWO).axes
    assert [len(each.get_offsets()) for each in axes.collections] == [4, 4]
    with raises(InputError, "evaluation.not-comparable", "methods"):
        paired_figure(MEASURED)
