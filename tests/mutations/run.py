"""Put deliberate faults into a copy of the source, one at a time, and see that the tests notice each.

    python tests/mutations/run.py                        every fault of faults.py
    python tests/mutations/run.py --only "transposed"    those whose name or file contains this
    python tests/mutations/run.py --processes 1 --limit-s 600

The tests that are named with a fault run against the copy. They must pass on the copy without any fault,
which is checked first, and at least one of them must fail on the faulty one. A fault that none of them
notices has survived: a test is missing. Exit status 1 if any has, or if a fault cannot be made because the
text that it replaces is no longer there.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mutations.faults import FAULTS, Fault

if TYPE_CHECKING:
    from multiprocessing.context import ForkServerContext  # systems without fork have none

_ROOT = Path(__file__).resolve().parents[2]
_NOTICED = ("killed", "never ended")
# Of pytest: a test failed, and none of all failed. And of ours: another source would be tested.
_FAILED, _PASSED, _NOT_OURS = 1, 0, 99
_SLOW_IMPORTS = ["numba", "pydicom", "scipy.ndimage", "scipy.stats", "torch", "torch.func"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What tests made of a copy of the source.

    Attributes:
        verdict: "killed", "never ended" (a test ran longer than it may), "survived", or "error".
        detail: the test that failed, or what went wrong.
        seconds: how long that took.
    """

    verdict: str
    detail: str
    seconds: float


def faulty(text: str, fault: Fault) -> str:
    """The text of a file with the fault.

    Raises:
        ValueError: what it replaces is not there, or there more than once.
    """
    found = text.count(fault.before)
    if found != 1:
        raise ValueError(f"{fault.before!r} is {found} times in src/{fault.file}, not once: mend faults.py")
    return text.replace(fault.before, fault.after)


def tried(fault: Fault, limit_s: float) -> Outcome:
    """What the tests that belong to a fault make of it."""
    start = time.monotonic()
    try:
        text = faulty((_ROOT / "src" / fault.file).read_text("utf-8"), fault)
    except (OSError, ValueError) as error:
        return Outcome(verdict="error", detail=str(error), seconds=0.0)
    with tempfile.TemporaryDirectory() as folder:
        source = copied(Path(folder))
        (source / fault.file).write_text(text, "utf-8")
        status, output = tested(source, fault.tests, limit_s)
    verdict = {None: "never ended", _FAILED: "killed", _PASSED: "survived"}.get(status, "error")
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    detail = failed[0].split(" - ")[0].removeprefix("FAILED ") if failed else output[-300:]
    if verdict == "survived":
        detail = " ".join(fault.tests)
    return Outcome(verdict=verdict, detail=detail, seconds=time.monotonic() - start)


def copied(folder: Path) -> Path:
    """A copy of the source; times of files are kept, so that kernels compiled from them are used."""
    return Path(shutil.copytree(_ROOT / "src", folder / "src"))


def tested(source: Path, tests: Sequence[str], limit_s: float) -> tuple[int | None, str]:
    """Exit status and output of pytest on a copy of the source; None where it took longer than that."""
    output = source.parent / "output"
    process = _processes().Process(target=_test, args=(source, tests, output))
    process.start()
    process.join(limit_s)
    late = process.is_alive()
    if late:
        process.kill()
        process.join()
    return None if late else process.exitcode, output.read_text("utf-8", "replace")


@cache
def _processes() -> ForkServerContext:
    """Makes processes that are forked from one that has imported what takes seconds and is none of ours."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_SLOW_IMPORTS)
    return context


def _test(source: Path, tests: Sequence[str], output: Path) -> None:
    """Run pytest in this process, which is forked from one that has imported nothing of ours."""
    with output.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(_ROOT)
    sys.path.insert(0, str(source))
    os.environ["PYTHONPATH"] = str(source)
    # Failing examples of a fault are none of the source's.
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(source.parent / "hypothesis")
    import isoclinic

    if not Path(isoclinic.__file__).is_relative_to(source):
        print(f"the tests would run {isoclinic.__file__} and not the copy in {source}")
        sys.exit(_NOT_OURS)
    import pytest

    status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", "--tb=no", *tests])
    sys.exit(int(status))


def without_fault(faults: Sequence[Fault]) -> str | None:
    """Why the tests of the faults say nothing, if so: they do not pass without any."""
    tests = sorted({test for fault in faults for test in fault.tests})
    with tempfile.TemporaryDirectory() as folder:
        status, output = tested(copied(Path(folder)), tests, 3600.0)
    return None if status == _PASSED else f"the tests do not pass without any fault:\n{output[-2000:]}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Try the faults and print what became of each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="faults whose name or file contains this")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, help="faults at a time")
    parser.add_argument("--limit-s", type=float, default=300.0, help="longest that a fault's tests may run")
    options = parser.parse_args(arguments)
    faults = [fault for fault in FAULTS if options.only in fault.name or options.only in fault.file]
    if not faults:
        parser.error(f"no fault has {options.only!r} in its name or file")
    # One thread for each process: OpenMP's threads wait for each other in loops.
    os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")
    wrong = without_fault(faults)
    if wrong:
        print(wrong, file=sys.stderr)
        return 1
    outcomes = []
    with ThreadPoolExecutor(options.processes) as pool:
        for fault, outcome in zip(
            faults, pool.map(lambda fault: tried(fault, options.limit_s), faults), strict=True
        ):
            outcomes.append(outcome)
            print(
                f"{outcome.verdict:11}  {outcome.seconds:5.0f} s  {fault.file}: {fault.name}\n"
                f"{'':22}{outcome.detail}",
                flush=True,
            )
    noticed = sum(outcome.verdict in _NOTICED for outcome in outcomes)
    print(f"{noticed} of {len(faults)} faults were noticed")
    return 0 if noticed == len(faults) else 1


if __name__ == "__main__":
    raise SystemExit(main())
