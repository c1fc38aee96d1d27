"""The command line: `isoclinic COMMAND`, one module of this package for each."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version

from .._interrupts import run_tidily
from ..errors import IsoclinicError, UsageError
from ._console import error_line, plain_warnings, show_any_name

__all__ = ["main"]

_COMMANDS = {
    "inspect": "show the values that are read from a CT and an X-ray, and anything odd about them",
    "register": "find the pose that aligns a CT with an X-ray",
    "batch": "register X-rays of many patients, and summarise the results",
    "track": "follow a CT through a run of X-rays",
    "view": "move a CT over its X-rays in the browser, and register it",
    "listen": "register X-rays as they arrive during an operation",
    "render": "draw the radiograph of a CT at a pose",
    "convert": "write a pose for another program, or read one back",
    "simulate": "show simulated X-rays of a CT, as networks are trained on them",
    "train": "train networks for the registration of one CT",
    "pretrain": "train general networks, for the registration of any patient",
    "adapt": "fine-tune general networks for one CT",
    "dataset": "prepare a public data set",
    "evaluate": "register X-rays whose poses are known and report the errors",
    "compare": "compare the methods of several evaluations in one report",
    "demo": "register simulated X-rays to a real chest CT",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    The status is 0 (done), 1 (cannot be done), 2 (wrong options), 3 (`register`, `batch` and `track`:
    done, and a pose is doubtful) or 130 (interrupted).

    A request to end the process (SIGTERM) or the end of its terminal (SIGHUP) interrupts it like Ctrl-C.

    Args:
        arguments: what follows the program's name; those of the process when None.

    Raises:
        SystemExit: after `--help` and `--version`, and for options that do not exist or cannot be read.
    """
    chosen = _parser().parse_args(arguments)
    _limit_spinning()
    show_any_name()
    try:
        _check_text(chosen.options)
        return run_tidily(partial(_run, chosen.command, chosen.options))
    except IsoclinicError as error:
        # The code is what people can look up, and programs can rely on.
        error_line(f"{error} [{error.code}]")
        return error.exit_code
    except OSError as error:
        error_line(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return 1
    except MemoryError as error:
        error_line(f"not enough memory: {error}")
        return 1
    except KeyboardInterrupt:
        error_line("interrupted")
        return 130


def _limit_spinning() -> None:
    """Let idle OpenMP threads sleep after a short wait.

    They wait in a loop for milliseconds by default; where other programs want the processor, that makes the
    many short parallel regions of a registration several times slower. libgomp reads the variable once, when
    torch or numba is first imported, so a library must not set it: programs do, before they import anything.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")


def _run(command: str, options: list[str]) -> int:
    with plain_warnings():
        # A command's options load nothing that takes time, so that help and mistakes are told at once.
        parsed = import_module(f"._{command}_options", __name__).parse(options)
        status: int | None = import_module(f".{command}", __name__).main(parsed, options)
    return status or 0


def _check_text(arguments: Sequence[str]) -> None:
    """Raises UsageError for what is no text: reports cannot hold it, and ITK ends the process over it."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"{argument!r} is not valid UTF-8; rename the file", code="options.not-utf-8"
            ) from error


def _parser() -> argparse.ArgumentParser:
    width = max(map(len, _COMMANDS))
    parser = argparse.ArgumentParser(
        prog="isoclinic",
        usage="isoclinic [-h] [--version] COMMAND ...",
        description="Find where a patient is in an X-ray: the pose that aligns a CT with it.",
        epilog="commands:\n"
        + "\n".join(f"  {name:{width}}  {what}" for name, what in _COMMANDS.items())
        + "\n\nisoclinic COMMAND --help explains a command and its main options, --help-all every option."
        + "\n\nexit status: 0 done, 1 cannot be done, 2 wrong options, "
        + "3 a pose of register, batch or track is doubtful, 130 interrupted",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"isoclinic {version('isoclinic')}")
    parser.add_argument("command", choices=_COMMANDS, help=argparse.SUPPRESS)
    parser.add_argument("options", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    return parser
