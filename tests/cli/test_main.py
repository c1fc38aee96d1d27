"""What every command shares: help, version, exit codes, errors and warnings as single lines."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import pytest

from isoclinic import InputError, UsageError, cli

COMMANDS = tuple(cli._COMMANDS)


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = "import sys; from isoclinic.cli import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True)


def test_help_in_a_process():
    done = in_a_process("--help")
    assert done.returncode == 0 and done.stderr == ""
    for command in COMMANDS:
        assert f"  {command} " in done.stdout


def test_version_in_a_process():
    done = in_a_process("--version")
    assert (done.returncode, done.stdout.strip()) == (0, f"isoclinic {version('isoclinic')}")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_is_explained(run, command):
    """Between an option's name and its default stand words."""
    ran = run(command, "--help-all")
    assert ran.code == 0
    assert f"usage: isoclinic {command}" in ran.out
    text = re.sub(r"^[│ ]*", "", ran.out, flags=re.MULTILINE)
    entries = re.findall(r"^(--\w\S+)(.*?)(?=^--\w|\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(entries) >= 3
    for name, entry in entries:
        words = re.sub(r"\{.*?\}", "", entry.split("(default")[0].split("(required")[0])
        assert len(re.findall(r"\b[a-z]{2,}\b", words)) >= 2, name


@pytest.mark.parametrize(
    "arguments",
    [[], ["paint"], ["register", "x.dcm", "--no-such-option"], ["demo"], ["render", "--width", "a"]],
)
def test_options_that_cannot_be_read(run, arguments):
    ran = run(*arguments)
    assert ran.code == 2
    assert ran.err and "Traceback" not in ran.err


def pretend(monkeypatch, effect) -> None:
    def command(*_: object) -> None:
        if isinstance(effect, BaseException):
            raise effect
        effect()

    monkeypatch.setattr(cli, "import_module", lambda *_: SimpleNamespace(parse=list, main=command))


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            InputError("the file [a] is broken", code="input.unreadable"),
            1,
            "isoclinic: error: the file [a] is broken [input.unreadable]",
        ),
        (
            UsageError("no such view", code="options.invalid-value"),
            2,
            "isoclinic: error: no such view [options.invalid-value]",
        ),
        (PermissionError(13, "Permission denied", "/x/y"), 1, "isoclinic: error: /x/y: Permission denied"),
        (OSError("disk on fire"), 1, "isoclinic: error: disk on fire"),
        (MemoryError("1 TiB"), 1, "isoclinic: error: not enough memory: 1 TiB"),
        (KeyboardInterrupt(), 130, "isoclinic: error: interrupted"),
    ],
)
def test_errors_are_one_line_and_an_exit_code(run, monkeypatch, error, code, line):
    pretend(monkeypatch, error)
    assert run("demo") == (code, "", f"{line}\n")


def test_a_mistake_of_ours_is_not_hidden(run, monkeypatch):
    pretend(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        run("demo")


@pytest.mark.filterwarnings("always::UserWarning")
def test_warnings_are_lines_without_source_code(run, monkeypatch):
    import warnings

    text = "spacing differs: " + "x" * 200
    pretend(monkeypatch, lambda: warnings.warn(text, UserWarning, stacklevel=1))
    assert run("demo") == (0, "", f"isoclinic: warning: {text}\n")
    assert warnings.showwarning.__module__ != "isoclinic.cli._console"
