"""Signals that interrupt a command, and what it must not leave behind when they do.

A signal can arrive between any two steps of a program, so also between making a temporary file and the block
that removes it. Therefore whatever is temporary is noted here before it is made, and the command line removes
what is left of it at its end. One interruption ends a command: more of them, by an impatient user or by a
system that sends several signals, do not disturb the tidying up.
"""

from __future__ import annotations

import shutil
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

T = TypeVar("T")

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
# How long further signals have no effect [s]: tidying up takes less, unless something hangs.
_PATIENCE_S = 10.0

_temporary: dict[Path, None] = {}


class _State:
    """Of the signals while a command runs.

    Attributes:
        held: how many blocks are under way that must not be interrupted.
        pending: a signal arrived meanwhile.
        interrupted_at: when the command was interrupted [s], by the monotonic clock; None before.
    """

    def __init__(self) -> None:
        self.held = 0
        self.pending = False
        self.interrupted_at: float | None = None


_state = _State()


class Held:
    """A block that ends before a signal interrupts the command."""

    def __enter__(self) -> None:
        _state.held += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _state.held -= 1
        # An error ends the command anyway, and says more than an interruption.
        if _state.pending and not _state.held and error is None:
            _interrupt()


def note_temporary(path: Path) -> None:
    """Say that a file or folder is about to be made that must not stay."""
    _temporary[path] = None


def remove_temporary(path: Path) -> None:
    """Remove a file or folder that was noted, if it is there."""
    if path not in _temporary:
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)
    forget_temporary(path)


def forget_temporary(path: Path) -> None:
    """Say that a file or folder stays after all."""
    _temporary.pop(path, None)


def run_tidily(command: Callable[[], T]) -> T:
    """Run a command that SIGINT, SIGTERM or SIGHUP interrupts, once, and remove what it leaves behind.

    Signals that someone ignores (nohup) or sees to keep their effect, and so do all where this is not the
    main thread, to which Python hands them.

    Raises:
        KeyboardInterrupt: a signal arrived.
    """
    _state.held, _state.pending, _state.interrupted_at = 0, False, None
    previous = {number: signal.getsignal(number) for number in _own_signals()}
    try:
        try:
            for number in previous:
                signal.signal(number, _handle)
            return command()
        finally:
            _tidy()
    finally:
        # Again, because a signal may have arrived within the first attempt; a second one has no effect.
        _tidy()
        for number, handler in previous.items():
            signal.signal(number, handler)


def _own_signals() -> list[signal.Signals]:
    if threading.current_thread() is not threading.main_thread():
        return []
    numbers = [signal.Signals[name] for name in _NAMES if hasattr(signal, name)]
    at_once = (signal.SIG_DFL, signal.default_int_handler)
    return [number for number in numbers if signal.getsignal(number) in at_once]


def _handle(number: int, frame: FrameType | None) -> None:
    if _state.interrupted_at is not None and time.monotonic() - _state.interrupted_at < _PATIENCE_S:
        return
    if _state.held:
        _state.pending = True
        return
    _interrupt()


def _interrupt() -> None:
    _state.pending = False
    _state.interrupted_at = time.monotonic()
    raise KeyboardInterrupt


def _tidy() -> None:
    with Held():
        for path in list(_temporary):
            remove_temporary(path)
