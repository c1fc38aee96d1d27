"""The command's end of a contender's process."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any

from _worker import MEMORY_LIMIT_VARIABLE

_HERE = Path(__file__).parent
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
# All contenders are loaded at once, and the machine needs some memory for itself.
_SHARE_OF_FREE_MEMORY = 0.8


class ContenderError(Exception):
    """A contender that cannot go on; the text says why."""


class Contender:
    """A worker script in its own interpreter, with a fixed number of threads.

    Args:
        python: interpreter of the environment the contender is installed in.
        script: file in this folder.
        arguments: of the script.
        threads: for every library that has threads.

    Raises:
        ContenderError: no such interpreter.
    """

    def __init__(self, python: Path, script: str, arguments: list[str], *, threads: int) -> None:
        environment = os.environ | dict.fromkeys(_THREAD_VARIABLES, str(threads))
        free = _free_bytes()
        if free is not None:
            environment[MEMORY_LIMIT_VARIABLE] = str(int(free * _SHARE_OF_FREE_MEMORY))
        try:
            self._process = subprocess.Popen(
                [str(python), str(_HERE / script), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=environment,
                text=True,
            )
        except OSError as error:
            raise ContenderError(f"cannot start {python}: {error.strerror}") from error

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        """The worker's reply.

        Raises:
            ContenderError: the worker reported an error or is gone.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"op": op, **request}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            raise ContenderError("killed (out of memory?)" if code < 0 else f"failed with exit code {code}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContenderError(reply["error"])
        return reply

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Contender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def processor_name() -> str:
    """Model of the processor, where Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next(
        (line.split(": ", 1)[1] for line in lines if line.startswith("model name")), "unknown processor"
    )


def _free_bytes() -> int | None:
    meminfo = Path("/proc/meminfo")
    lines = meminfo.read_text().splitlines() if meminfo.exists() else []
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
