"""What people read names the options that they type; what programs read names parameters."""

from __future__ import annotations

import json

import pytest

from isoclinic import UsageError, XRayOptions
from isoclinic.cli._wording import as_options
from raising import raises


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
