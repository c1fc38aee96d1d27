"""One table, three ways: what is written is read back."""

from __future__ import annotations

import csv
import io
import math

from isoclinic.errors import UsageError
from isoclinic.evaluation._summaries import rows
from isoclinic.evaluation.config import StatisticsConfig
from isoclinic.evaluation.statistics import Interval
from isoclinic.evaluation.tables import (
    STANDARD,
    Column,
    Estimate,
    Table,
    latex_escaped,
    summary_columns,
    summary_table,
)
from raising import raises

from .measured import measurement

TABLE = Table(
    title="50 % & more_of it",
    columns=(
        Column(name="method", title="a|b"),
        Column(name="cases", title="cases"),
        Column(name="rate", title="rate [%]", digits=0, scale=100),
        Column(name="error", title="error [mm]"),
    ),
    rows=(
        ("x_1", 3, Estimate(2 / 3, Interval(0.25, 1.0)), Estimate(1.23456, Interval(1.0, math.inf))),
        ("y|z", 4, Estimate(0.0), Estimate(math.nan)),
    ),
)


def test_markdown():
    assert TABLE.markdown().splitlines() == [
        "### 50 % & more_of it",
        "",
        r"| a\|b | cases | rate [%] | error [mm] |",
        "| --- | ---: | ---: | ---: |",
        "| x_1 | 3 | 67 (25 to 100) | 1.23 (1.00 to inf) |",
        r"| y\|z | 4 | 0 | unknown |",
    ]


def test_latex():
    text = TABLE.latex()
    assert r"\caption{50 \% \& more\_of it}" in text
    assert r"\begin{tabular}{lrrr}" in text
    body = text[text.index(r"\midrule") : text.index(r"\bottomrule")].splitlines()[1:-1]
    assert [line.strip() for line in body] == [
        r"x\_1 & 3 & 67 (25--100) & 1.23 (1.00--inf) \\",
        r"y|z & 4 & 0 & unknown \\",
    ]
    assert text.count(r"\begin{") == text.count(r"\end{") == 2


def test_every_special_character_of_latex_is_escaped():
    assert latex_escaped(r"\{}$&#_%^~<>") == (
        r"\textbackslash{}\{\}\$\&\#\_\%\textasciicircum{}\textasciitilde{}\textless{}\textgreater{}"
    )


def test_csv_has_full_precision_and_the_ends_of_intervals():
    first, second = csv.DictReader(io.StringIO(TABLE.csv()))
    assert (first["method"], first["cases"]) == ("x_1", "3")
    assert float(first["rate"]) == 2 / 3 and float(first["rate_low"]) == 0.25
    assert float(first["error"]) == 1.23456 and float(first["error_high"]) == math.inf
    assert math.isnan(float(second["error"])) and second["method"] == "y|z"


def test_columns_are_chosen_by_name_and_all_exist():
    found = rows([measurement("a/0"), measurement("a/1")], StatisticsConfig(resamples=100))
    chosen = summary_table(found, "t", ["run_time_s_p50", "cases"])
    names = [column.name for column in chosen.columns]
    assert names == ["dataset", "method", "start", "group", "run_time_s_p50", "cases"]
    assert chosen.rows[0][:4] == ("cases", "isoclinic", "15", "a")
    assert chosen.rows[0][4:] == (Estimate(1.5, Interval(1.5, 1.5)), 2)
    assert len(summary_table(found, "t").columns) == 4 + len(summary_columns())
    assert all(name in summary_columns() for names in STANDARD.values() for name in names)
    with raises(UsageError, "evaluation.unknown-name", "mtre", "success_below_mm_1"):
        summary_table(found, "t", ["mtre"])
