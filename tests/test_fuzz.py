"""A short run of the fuzzing in `tests/fuzz` with a fixed seed; `make fuzz` runs it longer."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest

from fuzz.corpus import SEEDS, Seed
from fuzz.mutations import mutated
from fuzz.run import Worker, fuzz
from isoclinic.errors import InputError

# Left out here for the time they take: a process for each file, networks, and rendered data sets.
SLOW = (
    "transform, transform.h5",
    "transform, transform.mat",
    "pose, xreg, pose.h5",
    "checkpoint",
    "Deep",
    "Ljub",
)
FAST = [seed for seed in SEEDS if not seed.name.startswith(SLOW)]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", SEEDS, ids=lambda seed: seed.name)
def test_the_corpus_is_valid(seed: Seed, tmp_path: Path) -> None:
    """Damage to what is refused anyway finds nothing."""
    seed.make(tmp_path)
    if seed.certain:
        assert seed.read(tmp_path) is not None
    else:
        with contextlib.suppress(InputError):
            seed.read(tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_damage_is_drawn_from_the_generator_alone(tmp_path: Path) -> None:
    """So that a finding can be made again from its seed; and most damage is damage."""
    same = 0
    for seed in FAST:
        folder = tmp_path / seed.name.replace(",", "")
        folder.mkdir()
        seed.make(folder)
        path = sorted(file for file in folder.rglob("*") if file.is_file())[0]
        content = path.read_bytes()
        once, again = (mutated(path, content, np.random.default_rng([3, 4])) for _ in range(2))
        assert once == again
        same += once == content
    assert same < len(FAST) / 4


@pytest.mark.slow
def test_damaged_files_are_read_or_refused(tmp_path: Path) -> None:
    tally = fuzz(FAST, seed=0, rounds=3, findings=tmp_path / "findings")
    assert not tally.findings, list(tally.findings)
    outcomes = sum((counts["read"], counts["refused"]) != (0, 0) for counts in tally.outcomes.values())
    assert outcomes == len(FAST)


def _worker_that(action: str, folder: Path) -> Path:
    """A worker whose only reader does something else than read."""
    script = folder / "worker.py"
    script.write_text(f"""
import os, sys, time
sys.path.insert(0, {str(Path(__file__).resolve().parent)!r})
from fuzz.worker import main
main({{"bad": lambda folder: {action}}})
""")
    return script


def _nine_bytes(folder: Path) -> None:
    (folder / "a.bin").write_bytes(bytes(9))


BAD = Seed(name="bad", make=_nine_bytes, read=lambda folder: None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "found"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("os.abort()", "crash: the process ended with status -6"),
        ("time.sleep(60)", "hangs"),
        ("bytearray(3 << 30)", "MemoryError"),
    ],
    ids=["exception", "crash", "hang", "memory"],
)
def test_what_counts_as_a_finding(tmp_path, monkeypatch, action, found) -> None:
    """Each kind of them is seen, and the next file is read by a process that works."""
    monkeypatch.setattr("fuzz.run._WORKER", _worker_that(action, tmp_path))
    monkeypatch.setattr("fuzz.run.LONGEST_S", 1.0)
    worker = Worker()
    answers = [worker.read(BAD, tmp_path) for _ in range(2)]
    worker.close()
    assert all(answer["outcome"] == "finding" and found in answer["detail"] for answer in answers)


def test_findings_are_kept_with_their_files(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("fuzz.run._WORKER", _worker_that("1 / 0", tmp_path))
    tally = fuzz([BAD], seed=0, rounds=2, findings=tmp_path / "findings")
    assert len(tally.findings) == 1 and tally.outcomes["bad"]["finding"] == 2
    (place,) = (tmp_path / "findings").iterdir()
    assert (place / "files" / "a.bin").is_file()
    assert "ZeroDivisionError" in (place / "finding.json").read_text()
