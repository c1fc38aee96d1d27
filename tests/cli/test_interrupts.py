"""A signal at every single step of a command: nothing half done stays, and nothing that was there goes.

The steps are the lines that run wherever a folder is made, filled, moved or removed, those of the standard
library included. The signal is real; a trace function raises it right before the line.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from isoclinic import InputError, _files, _folders, _interrupts, cli
from isoclinic._files import atomic
from isoclinic._folders import new_folder
from raising import raises

# A file that is interrupted while the standard library opens it is closed by the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

KNOWN = frozenset({"pose.json", "report.html"})
OLD, NEW = {"result/pose.json": "old"}, {"result/pose.json": "new", "result/report.html": "new"}
# Enough for the longest of the runs below, which ends the loop itself.
MOST_STEPS = 3000


def tree(folder: Path) -> dict[str, str | None]:
    """Files with their contents, and folders that are empty."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in folder.rglob("*")
        if path.is_file() or not any(path.iterdir())
    }


def register(folder: Path, error: Exception | None = None) -> Callable[[list[str]], int]:
    """A command that writes a result of two files, in the place of another one."""

    def command(_: list[str]) -> int:
        with new_folder(folder / "result", overwrite=True, known=KNOWN) as building:
            for name in ("pose.json", "report.html"):
                with atomic(building / name) as temporary:
                    temporary.write_text("new")
                    if error is not None:
                        raise error
        return 0

    return command


def render(folder: Path) -> Callable[[list[str]], int]:
    """A command that writes one file, without a folder of its own."""

    def command(_: list[str]) -> int:
        with atomic(folder / "drr.png") as temporary:
            temporary.write_text("new")
        return 0

    return command


TRACED = {module.__file__ for module in (_interrupts, _files, _folders, cli, contextlib, shutil)}


class Interrupting:
    """Traces a run, and sends signals right before some of its steps."""

    def __init__(self, number: signal.Signals, steps: tuple[int, ...]) -> None:
        self.taken = 0
        self._number, self._steps = number, steps

    def __call__(self, frame: FrameType, event: str, _: Any) -> Interrupting | None:
        code = frame.f_code
        if code.co_filename not in TRACED and code.co_name not in ("mkdir", "unlink"):
            return None
        # From where the command takes over the signals until it gives them back.
        if event == "line" and signal.getsignal(self._number) is _interrupts._handle:
            self.taken += 1
            if self.taken in self._steps:
                signal.raise_signal(self._number)
        return self


def interrupted(
    monkeypatch: pytest.MonkeyPatch,
    command: Callable[[list[str]], int],
    number: signal.Signals,
    steps: tuple[int, ...],
) -> tuple[int, int]:
    """Exit status of a command that signals meet before those steps, and how many steps it took."""
    monkeypatch.setattr(
        cli, "import_module", lambda *_: SimpleNamespace(parse=list, main=lambda _, rest: command(rest))
    )
    monkeypatch.setattr(cli, "error_line", lambda _: None)  # it takes longer than all else
    signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    tracing = Interrupting(number, steps)
    before = sys.gettrace()
    sys.settrace(tracing)
    try:
        status = cli.main(["demo"])
    finally:
        sys.settrace(before)
    return status, tracing.taken


@pytest.fixture(autouse=True)
def handlers():
    numbers = signal.SIGINT, signal.SIGTERM
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def reset(folder: Path, files: dict[str, str]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "old"), [(signal.SIGINT, OLD), (signal.SIGTERM, {})])
def test_a_result_is_there_whole_or_not_at_all(monkeypatch, tmp_path, number, old):
    folder = tmp_path / "work"
    ends = {130: [], 0: []}
    for step in range(1, MOST_STEPS):
        reset(folder, old)
        status, taken = interrupted(monkeypatch, register(folder), number, (step,))
        ends[status].append(tree(folder))
        assert tree(folder) in (old, NEW), f"a signal before step {step}"
        assert not _interrupts._temporary
        if step > taken:
            break
    assert status == 0 and tree(folder) == NEW, "the last run was not interrupted"
    # The loop has been through all of it, and both ends occur.
    assert len(ends[130]) > 100 and old in ends[130] and NEW in ends[130]
    # After the command ended, while nothing but tidying up is left, a signal may still say "interrupted".
    assert all(end == NEW for end in ends[0])


@pytest.mark.slow
def test_more_signals_do_not_disturb_the_tidying_up(monkeypatch, tmp_path):
    folder = tmp_path / "work"
    reset(folder, OLD)
    _, steps = interrupted(monkeypatch, register(folder), signal.SIGINT, ())
    for first in range(1, steps, 7):
        for apart in (1, 2, 5, 9):
            reset(folder, OLD)
            at = (first, *range(first + apart, first + 40 * apart, apart))
            interrupted(monkeypatch, register(folder), signal.SIGINT, at)
            assert tree(folder) in (OLD, NEW), f"signals before steps {first}, {first + apart} and so on"


@pytest.mark.slow
def test_a_signal_while_a_failed_command_tidies_up(monkeypatch, tmp_path):
    folder = tmp_path / "work"
    statuses = set()
    for step in range(1, MOST_STEPS):
        reset(folder, OLD)
        command = register(folder, InputError("no such view", code="input.unreadable"))
        status, taken = interrupted(monkeypatch, command, signal.SIGINT, (step,))
        statuses.add(status)
        assert tree(folder) == OLD, f"a signal before step {step}"
        if step > taken:
            break
    assert statuses == {1, 130} and status == 1


def test_a_single_file_is_there_whole_or_not_at_all(monkeypatch, tmp_path):
    folder = tmp_path / "work"
    for step in range(1, MOST_STEPS):
        reset(folder, {"drr.png": "old"})
        status, taken = interrupted(monkeypatch, render(folder), signal.SIGINT, (step,))
        assert tree(folder) in ({"drr.png": "old"}, {"drr.png": "new"}), f"a signal before step {step}"
        if step > taken:
            break
    assert status == 0 and tree(folder) == {"drr.png": "new"}


def test_what_has_not_been_made_here_is_not_removed(tmp_path):
    """The name that the folder has while it is filled is taken, as after a crash."""
    taken = tmp_path / f".result.{os.getpid()}.new"
    taken.mkdir()
    (taken / "of others").write_text("")
    with raises(InputError, "output.unwritable"):
        register(tmp_path)([])
    assert (taken / "of others").exists()


def test_handlers_of_others_keep_their_effect(monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        cli,
        "import_module",
        lambda *_: SimpleNamespace(parse=list, main=lambda *_: signal.raise_signal(signal.SIGTERM)),
    )
    signal.signal(signal.SIGTERM, lambda number, _: seen.append(number))
    assert cli.main(["demo"]) == 0 and seen == [signal.SIGTERM]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert cli.main(["demo"]) == 0
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_IGN


def test_a_block_that_must_not_be_interrupted_ends_first():
    done = []

    def command() -> None:
        with _interrupts.Held():
            with _interrupts.Held():
                signal.raise_signal(signal.SIGINT)
                done.append("inner")
            done.append("outer")
        done.append("after")

    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt):
        _interrupts.run_tidily(command)
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_waits_can_interrupt_again(monkeypatch):
    """Something hangs while it is tidied up."""
    clock = [0.0]
    monkeypatch.setattr(_interrupts.time, "monotonic", lambda: clock[0])
    caught = []

    def command() -> None:
        for at in (0.0, 1.0, 60.0):
            clock[0] = at
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                caught.append(at)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    _interrupts.run_tidily(command)
    assert caught == [0.0, 60.0]
