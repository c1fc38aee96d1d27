"""Damage valid files of every kind and read them: whatever is not read is refused, and nothing else happens.

    python tests/fuzz/run.py --seconds 120 --seed 0            everything
    python tests/fuzz/run.py --only "CT, ct.nii" --seconds 60  kinds whose names contain this
    python tests/fuzz/run.py --replay fuzz-findings/0003       read a finding once more

Files are read in a process of their own (`worker`). A finding is an exception that is neither InputError nor
UsageError, the end of that process, more than 10 s, or more than 2 GB; its files are kept with what happened.
Exit status 1 if there is any.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fuzz.corpus import SEEDS, Seed
from fuzz.mutations import mutated

LONGEST_S = 10.0
_WORKER = Path(__file__).with_name("worker.py")
_START_S = 120.0


class Worker:
    """A process that reads files; started again when it has ended."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._answers: queue.Queue[str] = queue.Queue()

    def read(self, seed: Seed, folder: Path) -> dict[str, Any]:
        """What reading the files of a folder came to."""
        if self._process is None:
            self._start()
        assert self._process is not None and self._process.stdin is not None
        with suppress(OSError):  # it has ended; the answer below says so
            self._process.stdin.write(json.dumps({"seed": seed.name, "folder": str(folder)}) + "\n")
            self._process.stdin.flush()
        return self._answer(LONGEST_S)

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        process, self._process = self._process, None
        process.kill()
        process.wait()
        self._forwarding.join()
        for stream in (process.stdin, process.stdout):
            with suppress(OSError):
                stream.close()

    def _start(self) -> None:
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "NUMBA_NUM_THREADS": "1",
            "MALLOC_ARENA_MAX": "2",
        }
        self._answers = queue.Queue()
        self._process = subprocess.Popen(
            [sys.executable, str(_WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        self._forwarding = threading.Thread(target=_forward, args=(self._process, self._answers), daemon=True)
        self._forwarding.start()
        if self._answer(_START_S)["outcome"] != "ready":
            raise RuntimeError(
                "the process that reads files does not start: run tests/fuzz/worker.py by hand"
            )

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self._process is not None
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            self.close()
            return {"outcome": "finding", "detail": f"hangs: more than {seconds:g} s"}
        if line:
            return dict(json.loads(line))
        status = self._process.wait()
        self.close()
        return {"outcome": "finding", "detail": f"crash: the process ended with status {status}"}


def _forward(process: subprocess.Popen[str], answers: queue.Queue[str]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        answers.put(line)
    answers.put("")


@dataclass(kw_only=True)
class Tally:
    """What came of a run.

    Attributes:
        outcomes: "read", "refused" and "finding" by kind of file.
        findings: the details of the findings, each once, and how often they occurred.
    """

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)
    findings: Counter[str] = field(default_factory=Counter)


def fuzz(
    seeds: Sequence[Seed], *, seed: int, findings: Path, seconds: float = np.inf, rounds: int | None = None
) -> Tally:
    """Damage each kind of file in turn until the time or the number of rounds is over.

    The damage of a round is drawn from the seed, the kind and the round alone, so that a run with another
    limit or of some kinds finds the same.
    """
    tally = Tally(outcomes={each.name: Counter() for each in seeds})
    end = time.monotonic() + seconds
    worker = Worker()
    with tempfile.TemporaryDirectory() as root:
        valid = {
            each.name: _made(each, Path(root) / "valid" / str(index)) for index, each in enumerate(seeds)
        }
        number = 0
        while (rounds is None or number < rounds) and time.monotonic() < end:
            for each in seeds:
                if time.monotonic() >= end:
                    break
                folder = Path(root) / "damaged"
                shutil.rmtree(folder, ignore_errors=True)
                shutil.copytree(valid[each.name], folder)
                damage(folder, np.random.default_rng([seed, number, *each.name.encode()]))
                answer = worker.read(each, folder)
                tally.outcomes[each.name][answer["outcome"]] += 1
                if answer["outcome"] == "finding":
                    _keep(findings, each, folder, answer, tally, f"seed {seed}, round {number}")
            number += 1
    worker.close()
    return tally


def damage(folder: Path, rng: np.random.Generator) -> None:
    """Damage one of the files of a folder, in some cases two."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    for _ in range(1 + int(rng.random() < 0.1)):
        path = files[rng.integers(len(files))]
        path.write_bytes(mutated(path, path.read_bytes(), rng))


def _made(seed: Seed, folder: Path) -> Path:
    folder.mkdir(parents=True)
    seed.make(folder)
    return folder


def _keep(
    findings: Path, seed: Seed, folder: Path, answer: dict[str, Any], tally: Tally, origin: str
) -> None:
    """Keep the files of a finding of which there is none yet."""
    detail = str(answer["detail"]).replace(str(folder), "")
    kind = f"{seed.name}: {detail.splitlines()[0][:160] if detail else ''}"
    tally.findings[kind] += 1
    if tally.findings[kind] > 1:
        return
    place = findings / f"{len(tally.findings):04d}"
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place / "files")
    record = {"seed": seed.name, "origin": origin, **answer}
    (place / "finding.json").write_text(json.dumps(record, indent=2), encoding="utf-8")


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="kinds of files whose names contain this")
    parser.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    parser.add_argument("--replay", type=Path, help="folder of a finding")
    options = parser.parse_args()
    if options.replay is not None:
        record = json.loads((options.replay / "finding.json").read_text(encoding="utf-8"))
        seed = next(each for each in SEEDS if each.name == record["seed"])
        worker = Worker()
        answer = worker.read(seed, options.replay / "files")
        worker.close()
        print(answer["outcome"], answer["detail"], answer.get("traceback", ""), sep="\n")
        return int(answer["outcome"] == "finding")
    seeds = [each for each in SEEDS if options.only in each.name]
    tally = fuzz(seeds, seed=options.seed, findings=options.findings, seconds=options.seconds)
    for name, outcomes in tally.outcomes.items():
        print(
            f"{name:32} {outcomes['read']:6} read {outcomes['refused']:6} refused"
            f" {outcomes['finding']:4} findings"
        )
    for kind, count in tally.findings.items():
        print(f"{count:4} x {kind}")
    total = sum(sum(outcomes.values()) for outcomes in tally.outcomes.values())
    print(
        f"{total} damaged files, {len(tally.findings)} kinds of findings"
        + (f" in {options.findings}" if tally.findings else "")
    )
    return int(bool(tally.findings))


if __name__ == "__main__":
    sys.exit(main())
