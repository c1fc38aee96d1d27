"""Defaults, then the file, then the command line; and a file that is wrong says where."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest

from isoclinic import InputError, UsageError
from isoclinic.cli._options import FLAT, RegistrationOptions, parse_options
from isoclinic.registration import RegistrationConfig
from raising import raises


@dataclass(frozen=True, kw_only=True)
class Inner:
    """Inner.

    Attributes:
        size_mm: size [mm].
        on: on.
    """

    size_mm: float = 1.0
    on: bool = True


@dataclass(frozen=True, kw_only=True)
class Item:
    """An element of an array of tables.

    Attributes:
        pixels: pixels.
        inner: nested.
    """

    pixels: int
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.pixels < 1:
            raise UsageError("pixels must be positive", code="options.invalid-value")


@dataclass(frozen=True, kw_only=True)
class Group:
    """A group without a prefix.

    Attributes:
        mode: mode.
        pair_mm: pair [mm].
        names: names.
        inner: nested, with another default than its class.
        items: as data.
    """

    mode: Literal["fast", "slow"] = "fast"
    pair_mm: tuple[float, float] | None = None
    names: tuple[int | str, ...] | None = None
    inner: Inner = field(default_factory=lambda: Inner(size_mm=7.0))
    items: tuple[Item, ...] = (Item(pixels=1), Item(pixels=2))


@dataclass(frozen=True, kw_only=True)
class Whole:
    """Options of a command.

    Attributes:
        output: where to.
        count: how many.
        config: file.
        group: flat.
    """

    output: Path
    count: int = 3
    config: Path | None = None
    group: Annotated[Group, FLAT] = field(default_factory=Group)


def parse(tmp_path: Path, toml: str | None = None, *arguments: str) -> Whole:
    given = list(arguments)
    if toml is not None:
        (tmp_path / "file.toml").write_text(toml)
        given += ["--config", str(tmp_path / "file.toml")]
    return parse_options(Whole, "test", given)


def test_defaults_are_those_of_the_classes(tmp_path: Path):
    assert parse(tmp_path, None, "--output", "o") == Whole(output=Path("o"))


def test_the_file_overrides_defaults_and_the_command_line_the_file(tmp_path: Path):
    toml = """
    output = "from-file"
    count = 5
    mode = "slow"
    pair-mm = [1, 2.5]
    names = [4, "hip"]
    [inner]
    on = false
    [[items]]
    pixels = 64
    inner.size_mm = 0.5
    """
    options = parse(tmp_path, toml)
    assert options == Whole(
        output=Path("from-file"),
        count=5,
        config=tmp_path / "file.toml",
        group=Group(
            mode="slow",
            pair_mm=(1, 2.5),
            names=(4, "hip"),
            inner=Inner(size_mm=7.0, on=False),
            items=(Item(pixels=64, inner=Inner(size_mm=0.5)),),
        ),
    )
    overridden = parse(
        tmp_path,
        toml,
        "--count",
        "6",
        "--pair-mm",
        "3",
        "4",
        "--inner.size-mm",
        "9",
        "--items.0.pixels",
        "32",
    )
    assert (overridden.count, overridden.group.mode) == (6, "slow")
    assert overridden.group.pair_mm == (3.0, 4.0)
    assert overridden.group.inner == Inner(size_mm=9.0, on=False)
    assert overridden.group.items == (Item(pixels=32, inner=Inner(size_mm=0.5)),)


def test_the_file_may_be_joined_by_an_equals_sign(tmp_path: Path):
    (tmp_path / "a.toml").write_text("count = 9")
    given = ["--output", "o", f"--config={tmp_path / 'a.toml'}"]
    assert parse_options(Whole, "test", given).count == 9


@pytest.mark.parametrize(("flag", "on"), [("--inner.on", True), ("--inner.no-on", False)])
@pytest.mark.parametrize("toml", ["", "inner.on = true", "inner.on = false"])
def test_a_flag_overrides_the_file_whatever_that_says(tmp_path: Path, toml, flag, on):
    """Also where both say the same, or where the file has turned the default round."""
    assert parse(tmp_path, toml, "--output", "o", flag).group.inner.on == on


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_:
        parse_options(Whole, "test", list(arguments))
    assert exit_.value.code == 0
    return capsys.readouterr().out


def test_help_is_short_and_says_which_groups_it_leaves_out(capsys):
    brief, full = shown(capsys, "--help"), shown(capsys, "--help-all")
    for option in ("--output", "--count", "--mode", "--pair-mm", "--names"):
        assert option in brief and option in full
    for option in ("--inner.size-mm", "--inner.on", "--items.0.pixels", "--items.1.inner.size-mm"):
        assert option not in brief and option in full
    assert "isoclinic test --help-all" in brief and "--help-all" not in full
    assert re.search(r"--inner\.\* +Inner\.", brief)
    assert re.search(r"--items\.\* +An element of an array of tables\.", brief)
    assert shown(capsys, "-h") == brief


def test_help_shows_the_defaults_of_the_file(tmp_path: Path, capsys):
    (tmp_path / "a.toml").write_text("count = 77\nmode = 'slow'")
    text = shown(capsys, "--config", str(tmp_path / "a.toml"), "--help")
    assert "(default: 77)" in text and "(default: slow)" in text


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        ("counts = 1", ("config-file.unknown-key", "file.toml", "counts", "count")),
        ("pairs_mm = 1", ("config-file.unknown-key", "file.toml", "pairs_mm", "pair_mm")),
        ("colour = 1", ("config-file.unknown-key", "file.toml", "colour")),
        ("pair-mm = [1, 2]\npair_mm = [1, 2]", ("config-file.invalid", "pair-mm", "pair_mm")),
        ("[inner]\nsize-mm = 1\nsize_mm = 1", ("config-file.invalid", "inner.size-mm", "size_mm")),
        ("count = true", ("config-file.invalid", "count", "True")),
        ("pair_mm = [1, true]", ("config-file.invalid", "pair_mm", "(1, True)")),
        ("inner.on = 1", ("config-file.invalid", "inner.on", "1")),
        (f"count = {2**63}", ("config-file.invalid", "count", "9223372036854775808", "2^63")),
        (f"inner.size-mm = {'9' * 400}", ("config-file.invalid", "inner.size_mm")),
        ("group = 1", ("config-file.unknown-key", "file.toml", "group")),
        ("[inner]\nsize = 1", ("config-file.unknown-key", "file.toml", "inner.size")),
        (
            "[[items]]\npixels = 1\n[[items]]\npixels = 2\nvoxels = 3",
            ("config-file.unknown-key", "file.toml", "items.1.voxels"),
        ),
        ("[[items]]\n", ("config-file.invalid", "file.toml", "items.0.pixels")),
        ("[[items]]\npixels = 'a'", ("config-file.invalid", "items.0.pixels", "'a'")),
        ("[[items]]\npixels = 0", ("options.invalid-value", "pixels")),
        ("items = 3", ("config-file.invalid", "items", "[[items]]")),
        ("inner = 3", ("config-file.invalid", "inner")),
        ("count = 'many'", ("config-file.invalid", "count", "'many'", "int")),
        ("mode = 'medium'", ("config-file.invalid", "mode", "'medium'", "'fast', 'slow'")),
        ("pair_mm = [1.0]", ("config-file.invalid", "pair_mm", "(1.0,)")),
        ("names = ['a', 1.5]", ("config-file.invalid", "names")),
    ],
)
def test_what_is_wrong_in_the_file_is_named(tmp_path: Path, toml, fault):
    with raises(UsageError, *fault):
        parse(tmp_path, toml, "--output", "o")


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        ("count =", ("config-file.invalid", "TOML")),
        (None, ("config-file.unreadable", "No such file")),
        (f"count = {'[' * 100_000}", ("config-file.unreadable", "nested")),
        (f"count = {'9' * 5000}", ("config-file.invalid", "5000")),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, toml, fault):
    path = tmp_path / "file.toml"
    if toml is not None:
        path.write_text(toml)
    with raises(InputError, *fault, "--config", path):
        parse_options(Whole, "test", ["--output", "o", "--config", str(path)])


def test_registration_options_are_the_configuration():
    """Same fields, same defaults; only where the stages can be set differs."""
    assert {**vars(RegistrationOptions())} == {**vars(RegistrationConfig())}
