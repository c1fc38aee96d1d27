"""Every error has a code that is listed, and every code that is listed is used."""

from __future__ import annotations

import ast
import pickle
import re
from pathlib import Path

import pytest

import isoclinic
from isoclinic.error_codes import CODES
from isoclinic.errors import InputError, IsoclinicError, UsageError, reworded

SOURCE = Path(isoclinic.__file__).parent
KINDS = {"InputError", "UsageError", "IsoclinicError", "Interrupted", "Unfit"}


def raised() -> dict[str, list[str]]:
    """Places where an error is made, by the code it is given; "" where there is none."""
    places: dict[str, list[str]] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            given = [each.value for each in node.keywords if each.arg == "code"]
            made = isinstance(node.func, ast.Name) and node.func.id in KINDS - {"Unfit"}
            if not (made or given):
                continue
            if given and not isinstance(given[0], ast.Constant):
                continue  # that of another error, passed on
            code = str(given[0].value) if given else ""  # type: ignore[attr-defined]
            places.setdefault(code, []).append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    return places


@pytest.mark.slow
def test_every_error_has_a_code_that_is_listed():
    unlisted = {code: places for code, places in raised().items() if code not in CODES}
    assert not unlisted


@pytest.mark.slow
def test_every_code_that_is_listed_is_used():
    # Faults that the readers of CTs find in X-rays and label maps (`of_kind`).
    shared = {code.removeprefix("ct") for code in raised() if code.startswith("ct.")}
    passed_on = {kind + fault for kind in ("xray", "labels") for fault in shared}
    assert sorted(set(CODES) - set(raised()) - passed_on) == []


def test_codes_are_lower_case_words_and_sorted():
    assert all(re.fullmatch(r"[a-z-]+\.[a-z0-9-]+", code) for code in CODES)
    assert list(CODES) == sorted(CODES)


def test_every_code_is_explained_by_a_sentence():
    assert all(text[0].isupper() and text.endswith(".") for text in CODES.values())


@pytest.mark.parametrize("kind", [IsoclinicError, InputError, UsageError])
def test_an_error_of_another_process_keeps_its_code(kind):
    error = pickle.loads(pickle.dumps(kind("`sdd_mm` must be positive", code="xray.invalid-value")))
    assert type(error) is kind
    assert (error.code, str(error)) == ("xray.invalid-value", "`sdd_mm` must be positive")


def test_an_error_names_its_parameters():
    error = UsageError("`sdd_mm` and `preprocess.floor` or `sdd_mm`", code="xray.invalid-value")
    assert error.parameters == ("sdd_mm", "preprocess.floor")
    assert InputError("nothing in `ticks with spaces`", code="ct.missing").parameters == ()


def test_a_message_can_name_options_instead():
    message = "`sdd_mm` must be positive; `ray start --head` stays"
    assert reworded(message, lambda name: f"--{name.replace('_', '-')}") == (
        "--sdd-mm must be positive; `ray start --head` stays"
    )


def test_the_page_of_the_documentation_is_up_to_date():
    docs = Path(__file__).parents[1] / "docs"
    page = (docs / "reference" / "errors.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"^\| `([a-z0-9.-]+)` \| (.+) \|$", page, re.MULTILINE))
    assert listed == dict(CODES), "run python docs/error_codes.py"
