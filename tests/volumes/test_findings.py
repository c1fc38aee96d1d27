"""Findings and the warnings that tell of them."""

import warnings

import pytest

from isoclinic.volumes import Finding, gathered, tell
from isoclinic.volumes._warnings import GeometryWarning
from isoclinic.volumes.findings import still_open

ODD = Finding(level="warning", subject="X-ray", message="odd", remedy="`frame`", settled_by=("frame",))


def test_text_names_the_remedy_once() -> None:
    assert ODD.text == "odd (`frame` overrides)"
    assert Finding(level="note", subject="CT", message="use `frame`", remedy="`frame`").text == "use `frame`"
    assert Finding(level="note", subject="CT", message="fine").text == "fine"


def test_of_message_finds_the_options() -> None:
    found = Finding.of_message("warning", "CT", "`hu_scale` or `hu_offset`, with `hu_scale`")
    assert found.remedy == "`hu_scale`, `hu_offset`"
    assert Finding.of_message("error", "CT", "broken", "copy it").remedy == "copy it"


def test_notes_are_not_told() -> None:
    note = Finding(level="note", subject="CT", message="fine")
    with pytest.warns(GeometryWarning) as told:
        tell([note, ODD], "file.dcm")
    (warning,) = told
    assert str(warning.message) == "file.dcm: odd (`frame` overrides)" and warning.message.finding is ODD
    assert warning.filename == __file__


def test_gathered_warnings_go_on() -> None:
    with pytest.warns() as told, gathered("CT") as found:
        warnings.warn("plain `option`", GeometryWarning, stacklevel=1)
        warnings.warn("of another package", UserWarning, stacklevel=1)
        tell([ODD])
    assert [each.message for each in found] == ["plain `option`", "odd"]
    assert found[0].subject == "CT" and found[1] is ODD
    assert [str(each.message) for each in told] == [
        "plain `option`",
        "of another package",
        "odd (`frame` overrides)",
    ]


def test_warnings_before_an_error_are_not_lost() -> None:
    with (
        pytest.warns(GeometryWarning, match="odd"),
        pytest.raises(ValueError, match="broken"),
        gathered("CT"),
    ):
        tell([ODD])
        raise ValueError("broken")


def test_settled_by_any_of_its_options() -> None:
    either = Finding(level="warning", subject="CT", message="x", settled_by=("a", "b"))
    assert still_open([ODD, either], ["b"]) == (ODD,)
    assert still_open([ODD, either], []) == (ODD, either)
