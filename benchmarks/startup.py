"""What it costs to start: CPU seconds of commands beside those of a bare `import torch`, in the same run.

`python benchmarks/startup.py` prints the table. Commands take turns with the bare import, and the least of
several runs counts: other programs on the machine only add. `isoclinic register` is measured on an X-ray of
the demo's chest, its kernels and all bytecode being compiled beforehand, as they are from the second run on.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from isoclinic.cli import demo

_BARE = "import torch"


@dataclass(frozen=True)
class Cost:
    """Of one run [s]."""

    cpu: float
    wall: float


def cost_of(command: list[str]) -> Cost:
    """CPU seconds, user and system together, and wall time of a process and its children."""
    # Where bytecode is never written, every run would compile the package's source once more.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if ran.returncode not in (0, 2, 3):
        raise SystemExit(f"{' '.join(command)} failed:\n{ran.stderr}")
    return Cost(cpu=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall=wall)


def commands(folder: Path) -> dict[str, list[str]]:
    """What is measured, by its name in the table."""
    program = [sys.executable, "-m", "isoclinic"]
    xray, ct = folder / "demo" / "ap" / "xray.png", demo._chest_ct()
    register = [*program, "register", str(xray), "--volume", str(ct), "--init", "ap", "--overwrite"]
    return {
        "python -c 'import torch'": [sys.executable, "-c", _BARE],
        "isoclinic --version": [*program, "--version"],
        "isoclinic --help": [*program, "--help"],
        "isoclinic register --help": [*program, "register", "--help"],
        "isoclinic train --help": [*program, "train", "--help"],
        "isoclinic evaluate --help": [*program, "evaluate", "--help"],
        "isoclinic register, a typo": [*program, "register", str(xray), "--volum", str(ct)],
        "isoclinic register, demo chest": [*register, "--output", str(folder / "result")],
    }


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is measured.

    Attributes:
        repeats: runs of each command; the least one counts.
    """

    repeats: int = 5


def main(config: Config) -> None:
    """Measure and print."""
    repeats = config.repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Makes the X-ray, and fills numba's cache.
        cost_of([sys.executable, "-m", "isoclinic", "demo", "--output", str(folder / "demo")])
        measured: dict[str, list[Cost]] = {}
        for _ in range(repeats):
            for title, command in commands(folder).items():
                measured.setdefault(title, []).append(cost_of(command))
    bare = min(cost.cpu for cost in next(iter(measured.values())))
    table = Table("command", title=f"least of {repeats} runs, {os.cpu_count()} cores", title_justify="left")
    for heading in ("CPU \\[s]", "times import torch", "wall \\[s]"):
        table.add_column(heading, justify="right")
    for title, costs in measured.items():
        cpu, wall = min(cost.cpu for cost in costs), min(cost.wall for cost in costs)
        table.add_row(title, f"{cpu:.2f}", f"{cpu / bare:.2f}", f"{wall:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main(tyro.cli(Config))
