"""Programs in processes of their own that need no imports: forks of a process that has made them.

Importing torch and numba takes seconds, and tests that start a program again and again would spend them on
little else. What is started here is a process like any other: it has its own number, gets signals, can be
killed, and ends with a status. `tests/cli/test_start_up.py` starts programs from nothing.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import IO, Any

# What takes long. Modules whose functions tests replace before the program begins are not among them.
_PACKAGES = (
    "torch",
    "numba",
    "scipy.ndimage",
    "scipy.spatial",
    "nibabel",
    "pydicom",
    "SimpleITK",
    "tyro",
    "jinja2",
)
_OPTIONAL = ("pynetdicom", "starlette.applications", "uvicorn")
_OWN = ("registration._register", "registration.session", "results.files", "cli._options")
# As the interpreter writes to standard error.
_ERRORS = "backslashreplace"
_LARGEST_REQUEST = 1 << 20


class Warm:
    """As `subprocess.Popen`, of which it has what tests use.

    Args:
        command: `sys.executable`, then "-m", a module and arguments, or "-c", a program and arguments.
        stdout: a file, `subprocess.PIPE`, `subprocess.DEVNULL`, or None for that of the tests.
        stderr: the same.
        cwd: folder to run in.
        env: environment; that of the tests at present if None.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        stdout: Any = None,
        stderr: Any = None,
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        assert command[0] == sys.executable and command[1] in ("-m", "-c"), command[:2]
        request = {
            "command": list(command[1:]),
            "cwd": str(cwd or os.getcwd()),
            "env": dict(os.environ if env is None else env),
        }
        self.returncode: int | None = None
        with contextlib.ExitStack() as closing:
            out, self.stdout = _stream(stdout, 1, closing)
            err, self.stderr = _stream(stderr, 2, closing)
            self._status, theirs = os.pipe()
            closing.callback(os.close, theirs)
            socket.send_fds(_zygote(), [json.dumps(request).encode()], [out, err, theirs])
        self.pid = int(self._line(60))

    def poll(self) -> int | None:
        """The status, as of `subprocess.Popen`; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """The status, negative for the signal that ended it."""
        if self.returncode is None:
            self.returncode = int(self._line(timeout))
            os.close(self._status)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it has still to say on both streams, once it has ended."""
        said = ["", ""]

        def read(index: int, stream: IO[str]) -> None:
            said[index] = stream.read()

        streams = [(index, each) for index, each in enumerate((self.stdout, self.stderr)) if each is not None]
        readers = [threading.Thread(target=read, args=each, daemon=True) for each in streams]
        for reader in readers:
            reader.start()
        self.wait(timeout)
        for reader, (_, stream) in zip(readers, streams, strict=True):
            reader.join(60)
            stream.close()
        return said[0], said[1]

    def _line(self, timeout: float | None) -> str:
        line = b""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not line.endswith(b"\n"):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._status], [], [], left)[0]:
                raise subprocess.TimeoutExpired("a warm program", timeout or 0.0)
            read = os.read(self._status, 1)
            assert read, "the process that programs are forks of has ended"
            line += read
        return line.decode()


def run(command: Sequence[str], *, timeout: float = 300, **named: Any) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run` with captured text."""
    process = Warm(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **named)
    out, err = process.communicate(timeout)
    return subprocess.CompletedProcess(command, process.wait(), out, err)


def _stream(given: Any, usual: int, closing: contextlib.ExitStack) -> tuple[int, IO[str] | None]:
    """The descriptor for the program, and the end of a pipe to read."""
    if given is None:
        return usual, None
    if given == subprocess.DEVNULL:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        closing.callback(os.close, descriptor)
        return descriptor, None
    if given == subprocess.PIPE:
        mine, theirs = os.pipe()
        closing.callback(os.close, theirs)
        return theirs, open(mine, encoding="utf-8")
    return given.fileno(), None


@cache
def _zygote() -> socket.socket:
    """The process that imports, as the socket it takes requests from; it ends with this process."""
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.set_inheritable(theirs.fileno(), True)
    command = [sys.executable, __file__, str(theirs.fileno())]
    process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL)
    theirs.close()

    def end() -> None:
        mine.close()
        process.wait()

    atexit.register(end)
    return mine


def _serve(requests: socket.socket) -> None:
    """Fork for every request; returns in the fork, when its program has ended, by raising SystemExit."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        said, descriptors, _, _ = socket.recv_fds(requests, _LARGEST_REQUEST, 3)
        if not said:
            return
        if os.fork() == 0:
            requests.close()
            _keep(json.loads(said), *descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _keep(request: dict[str, Any], out: int, err: int, status: int) -> None:
    """Fork the program, tell its number, wait for it, and tell its status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    program = os.fork()
    if program == 0:
        os.close(status)
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.close(out)
        os.close(err)
        _become(request)
    os.close(out)
    os.close(err)
    os.write(status, f"{program}\n".encode())
    _, ended = os.waitpid(program, 0)
    os.write(status, f"{os.waitstatus_to_exitcode(ended)}\n".encode())
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Do what the interpreter does with this command line."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.clear()
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    # Streams remember of the files that they were made for whether these can be rewound.
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding=sys.stdout.encoding, closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(
        2, "w", encoding=sys.stderr.encoding, closefd=False, errors=_ERRORS, buffering=1
    )
    kind, what, *arguments = request["command"]
    if kind == "-m":
        sys.argv = [what, *arguments]
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *arguments]
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})
    sys.exit(0)


if __name__ == "__main__":
    # The folder of this file is not on the path of the programs.
    sys.path.remove(str(Path(__file__).parent))
    sys.path.insert(0, "")
    for name in (*_PACKAGES, *(f"isoclinic.{each}" for each in _OWN)):
        import_module(name)
    for name in _OPTIONAL:
        with contextlib.suppress(ModuleNotFoundError):
            import_module(name)
    _serve(socket.socket(fileno=int(sys.argv[1])))
