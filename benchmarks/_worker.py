"""A contender's process: requests and replies are lines of JSON, standard output carries nothing else."""

from __future__ import annotations

import ctypes
import gc
import importlib.metadata
import json
import os
import resource
import sys
from pathlib import Path
from typing import Any

MEMORY_LIMIT_VARIABLE = "BENCHMARK_MEMORY_LIMIT_BYTES"


def serve(contender: Any) -> None:
    """Answer requests {"op": name, ...} with what the contender's method of that name returns."""
    replies, sys.stdout = sys.stdout, sys.stderr
    limit = os.environ.get(MEMORY_LIMIT_VARIABLE)
    if limit and sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_DATA, (int(limit), resource.RLIM_INFINITY))
    for line in sys.stdin:
        request = json.loads(line)
        try:
            reply = getattr(contender, request.pop("op"))(**request)
        except ImportError as error:
            reply = {"error": "not installed", "detail": str(error)}
        except (MemoryError, RuntimeError) as error:
            if not (isinstance(error, MemoryError) or "can't allocate memory" in str(error)):
                raise
            reply = {"error": "out of memory", "detail": str(error).splitlines()[0]}
        print(json.dumps(reply), file=replies, flush=True)


def package_version(package: str) -> str:
    """Version of an installed package; a source tree on the path has none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "source tree"


class Memory:
    """Resident memory of this process, by Linux's counters; None elsewhere."""

    def __init__(self) -> None:
        self._status = Path("/proc/self/status")

    def resident_bytes(self) -> int | None:
        """What is in use now, after the allocator has returned what is free."""
        gc.collect()
        if not self._status.exists():
            return None
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
        return self._field("VmRSS")

    def restart_peak(self) -> None:
        """Forget the peak so far."""
        if self._status.exists():
            Path("/proc/self/clear_refs").write_text("5")

    def peak_bytes(self) -> int | None:
        """The most that was in use since `restart_peak`."""
        return self._field("VmHWM") if self._status.exists() else None

    def _field(self, name: str) -> int:
        (line,) = (line for line in self._status.read_text().splitlines() if line.startswith(name + ":"))
        return int(line.split()[1]) * 1024
