"""The table and the picture, read back and counted by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imread

from isoclinic.errors import InputError
from isoclinic.evaluation import Measurement, summaries, summary_document, summary_figure, write_report


def measurement(case: str, init: str, initial_mtre_mm: float, mtre_mm: float, **changes) -> Measurement:
    values = {
        "case": case,
        "group": case.split("/")[0],
        "init": init,
        "initial_mtre_mm": initial_mtre_mm,
        "mtre_mm": mtre_mm,
        "mpd_mm": 2 * mtre_mm,
        "mrpd_mm": mtre_mm / 2,
        "rotation_deg": 0.5,
        "translation_mm": (-1.0, 0.5, 2.0),
        "status": "converged",
        "similarity": 0.9,
        "expected_error_mm": 0.4,
        "seconds": 1.5,
    }
    return Measurement(**values | changes)


MEASURED = [
    measurement("chest/00", "15", 14.0, 0.5),
    measurement("chest/01", "15", 16.0, 3.0),
    measurement("pelvis/00", "15", 15.0, 1.5),
    measurement("pelvis/00", "60", 62.0, math.inf, mpd_mm=math.nan),
]


def test_one_row_for_every_start_and_group():
    table = summaries(MEASURED)
    assert list(table) == [("15", "chest"), ("15", "pelvis"), ("15", "all"), ("60", "pelvis"), ("60", "all")]
    assert [each.cases for each in table.values()] == [2, 1, 3, 1, 1]
    everything = table["15", "all"]
    assert everything.percentiles["mtre_mm"][50] == 1.5
    assert everything.percentiles["initial_mtre_mm"][50] == 15.0
    assert everything.submillimetre_success_rate == pytest.approx(1 / 3)
    assert everything.success_rates == {2.0: pytest.approx(2 / 3), 5.0: 1.0, 10.0: 1.0}
    assert table["60", "all"].success_rates == {2.0: 0.0, 5.0: 0.0, 10.0: 0.0}


def test_one_group_needs_no_total():
    assert list(summaries(MEASURED[:2])) == [("15", "chest")]


def test_no_measurement_is_an_error(tmp_path: Path):
    with pytest.raises(InputError, match="no measurement"):
        write_report(tmp_path, [])
    assert list(tmp_path.iterdir()) == []


def test_the_files_agree(tmp_path: Path):
    write_report(tmp_path, MEASURED)
    assert {path.name for path in tmp_path.iterdir()} == {
        *("measurements.csv", "summary.csv", "summary.json", "summary.png", "calibration.png")
    }
    document = json.loads((tmp_path / "summary.json").read_text(), parse_constant=pytest.fail)
    assert document == json.loads(json.dumps(summary_document(MEASURED)))
    with (tmp_path / "summary.csv").open() as file:
        rows = list(csv.DictReader(file))
    for row, entry in zip(rows, document["summaries"], strict=True):
        assert (row["init"], row["group"], int(row["cases"])) == (
            entry["init"],
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
    for picture in ("summary.png", "calibration.png"):
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
    rates = {line.get_label(): line.get_data() for line in success.get_lines()}
    # Starts of 10 to 20 and of 60 to 70 mm.
    for bound, rate in (("1", 1 / 3), ("2", 2 / 3), ("5", 1.0)):
        centres, found = rates[f"mTRE < {bound} mm"]
        np.testing.assert_allclose(centres, [15, 65])
        np.testing.assert_allclose(found, [rate, 0])
