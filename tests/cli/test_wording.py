"""What people read names the options that they type; what programs read names parameters."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

import isoclinic
from isoclinic import UsageError, XRayOptions
from isoclinic.cli._wording import as_options
from raising import raises

SOURCE = Path(isoclinic.__file__).parent


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("`sdd_mm` must be positive", "--sdd-mm must be positive"),
        ("choose parts by `learned.initialize`", "choose parts by --learned.initialize"),
        ("a pose file needs no `from_`", "a pose file needs no --from"),
        ("nothing to name", "nothing to name"),
        ("`ray start --head` starts one", "`ray start --head` starts one"),
    ],
)
def test_parameters_become_options(message, shown):
    assert as_options(message) == shown


def test_an_error_of_the_library_names_the_option_on_the_command_line(run, files, tmp_path):
    with raises(UsageError, "xray.invalid-value", "`sdd_mm`") as refused:
        XRayOptions(sdd_mm=-1)
    assert refused.value.parameters == ("sdd_mm",)
    ran = run("register", files.xray, "--volume", files.ct, "--output", tmp_path / "r", "--sdd-mm", "-1")
    ran.refused(2, "xray.invalid-value", "--sdd-mm")
    assert "`" not in ran.err


def test_where_values_come_from_is_told_by_options(run, files):
    ran = run("inspect", files.ct, files.xray, "--sdd-mm", "1000", "--json")
    read = {each["name"]: each["source"] for each in json.loads(ran.out)["X-ray"]["readings"]}
    assert read["sdd_mm"] == "option --sdd-mm"
    assert "option --sdd-mm" in run("inspect", files.ct, files.xray, "--sdd-mm", "1000").out


def test_entries_of_the_help_are_not_broken():
    """The help keeps the break before a line of a docstring that begins with what is no letter."""
    broken = []
    for file in (*SOURCE.glob("cli/_*options.py"), *SOURCE.rglob("*config.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                entries = (ast.get_docstring(node) or "").partition("Attributes:\n")[2].splitlines()
                # A line that continues an entry is indented twice.
                broken += [f"{file.name}: {line}" for line in entries if re.match(r" {8}[^A-Za-z]", line)]
    assert not broken
