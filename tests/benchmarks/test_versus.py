"""Learned against classical: what the table counts, on rows whose answers are plain."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import pytest

SPEC = importlib.util.spec_from_file_location(
    "_versus", Path(__file__).resolve().parents[2] / "benchmarks" / "_versus.py"
)
assert SPEC is not None and SPEC.loader is not None
MODULE = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MODULE)
CLASSICAL, LEARNED = MODULE.CLASSICAL, MODULE.LEARNED


@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    kind: str = "dark"
    ct: str = "chest"
    method: str
    error_mm: float
    seconds: float = 1.0
    flagged: bool = False
    asked: bool = False
    rescued: bool = False


def pair(name: str, before: float, after: float, **learned) -> list[Row]:
    return [
        Row(name=name, method=CLASSICAL, error_mm=before, kind=learned.get("kind", "dark")),
        Row(name=name, method=LEARNED, error_mm=after, **{"asked": True, "seconds": 3.0, **learned}),
    ]


def cells(rows: list[Row]) -> dict[tuple[str, str], list[str]]:
    columns = [list(column.cells) for column in MODULE.versus(rows).columns]
    return {(kind, ct): list(rest) for kind, ct, *rest in zip(*columns, strict=True)}


def test_what_is_counted():
    rows = [
        *pair("found", 90.0, 0.5, rescued=True),
        *pair("lost twice", 90.0, 80.0, flagged=True),
        *pair("spoiled", 1.5, 30.0, rescued=True),
        *pair("right", 0.4, 0.4, asked=False, seconds=1.0),
        *pair("elsewhere", 0.2, 0.2, asked=False, seconds=1.0, kind="bright"),
    ]
    found = cells(rows)
    assert found["dark", "chest"] == [
        *("4", "50 -> 50", "45.75 -> 15.25", "1.0 -> 2.5"),
        *("3", "2", "2", "1", "2 -> 1"),
    ]
    assert found["bright", "chest"][:2] == ["1", "100 -> 100"]
    assert found["all", "all"][0] == "5"


@pytest.mark.parametrize("left_out", [0, 1])
def test_an_x_ray_counts_once_both_are_there(left_out):
    rows = [*pair("both", 1.0, 1.0), pair("one", 5.0, 5.0)[left_out]]
    assert cells(rows)["all", "all"][0] == "1"
