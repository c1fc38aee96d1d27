"""Tasks spread over processes and a local Ray cluster, whatever happens to the workers."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numba
import numpy as np
import pytest
import torch

import missing_package
import spread_tasks
from isoclinic._spread import spread
from isoclinic._spread_config import SpreadConfig
from isoclinic.errors import InputError, UsageError
from raising import raises
from spread_tasks import Fatal

SEEDS = range(7)
TWO = SpreadConfig(processes=2)
# Where Ray is connected already the address is not used.
ON_RAY = SpreadConfig(ray="auto")


@pytest.fixture(scope="module")
def ray():
    """Two workers on this machine, which find the tasks' module."""
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        patch.setenv("RAY_worker_niceness", "0")  # or they starve beside other work on this machine
        ray.init(
            "local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=80 * 2**20,
            log_to_driver=False,
            logging_level="ERROR",
        )
    yield ray
    ray.shutdown()


@pytest.fixture(params=["processes", "ray"])
def config(request):
    if request.param == "processes":
        return TWO
    request.getfixturevalue("ray")
    return ON_RAY


def attempts(folder):
    """In how many processes each seed was tried."""
    return Counter(int(path.name.partition("-")[0]) for path in folder.iterdir())


def gone(process):
    """Whether a process is no more, or only waits to be reaped."""
    status = Path(f"/proc/{process}/status")
    try:
        return "State:\tZ" in status.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.05)


def test_one_process_goes_through_the_tasks_in_order():
    results = list(spread(os.path.basename, ["a/x", "b/y"], SpreadConfig()))
    assert results == [(0, "x"), (1, "y")]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.slow
def test_tasks_have_as_many_threads_wherever_they_run(processes):
    """And the caller has its own afterwards, also when it stops early."""
    before = torch.get_num_threads(), numba.get_num_threads()
    config = SpreadConfig(processes=processes, threads=1)
    assert dict(spread(spread_tasks.threads, [0, 1, 2], config)) == dict.fromkeys(range(3), (1, 1))
    stopped = spread(spread_tasks.threads, [0, 1, 2], config)
    next(stopped)
    stopped.close()
    assert (torch.get_num_threads(), numba.get_num_threads()) == before


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal of POSIX")
@pytest.mark.slow
def test_results_are_the_same_where_a_worker_is_killed(config, tmp_path):
    tasks = [Fatal(folder=tmp_path, seed=seed, times=1 if seed == 3 else 0) for seed in SEEDS]
    results = dict(spread(spread_tasks.numbers_unless_killed, tasks, config))
    assert sorted(results) == list(SEEDS)
    share = max(1, torch.get_num_threads() // 2) if config is TWO else 1
    for seed, (values, threads) in results.items():
        np.testing.assert_array_equal(values, spread_tasks.numbers(seed))
        assert threads == share
    # Only the lost task is repeated, in another process.
    assert attempts(tmp_path) == {seed: 2 if seed == 3 else 1 for seed in SEEDS}


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal of POSIX")
@pytest.mark.slow
def test_a_task_that_is_always_lost_is_named(config, tmp_path):
    tasks = [Fatal(folder=tmp_path, seed=seed, times=9 if seed == 1 else 0) for seed in range(2)]
    with raises(InputError, "spread.task-lost", "2 of 2", "seed 1"):
        list(spread(spread_tasks.numbers_unless_killed, tasks, replace(config, retries=0)))
    assert attempts(tmp_path)[1] == 1


@pytest.mark.skipif(sys.platform == "win32", reason="processes are killed by a signal of POSIX")
@pytest.mark.slow
def test_the_others_go_on_where_someone_has_a_result_for_a_lost_task(config, tmp_path):
    tasks = [Fatal(folder=tmp_path, seed=seed, times=9 if seed == 1 else 0) for seed in range(4)]
    lost = spread(
        spread_tasks.numbers_unless_killed,
        tasks,
        replace(config, retries=1),
        lambda index, error: (index, error.code),
    )
    results = dict(lost)
    assert sorted(results) == list(range(4)) and results[1] == (1, "spread.task-lost")
    for seed in (0, 2, 3):
        np.testing.assert_array_equal(results[seed][0], spread_tasks.numbers(seed))
    assert attempts(tmp_path)[1] == 2


@pytest.mark.slow
def test_an_error_on_purpose_reaches_the_caller_as_itself(config):
    with raises(InputError, "input.unreadable", "0") as caught:
        list(spread(spread_tasks.refuse, [0], config))
    assert type(caught.value) is InputError


@pytest.mark.slow
def test_any_other_error_surfaces(config):
    with pytest.raises(KeyError):
        list(spread(spread_tasks.break_down, [0], config))


@pytest.mark.slow
def test_nothing_to_do(config):
    assert list(spread(spread_tasks.numbers, [], config)) == []


@pytest.mark.slow
def test_a_connection_that_was_there_stays(ray):
    list(spread(spread_tasks.numbers, [0], ON_RAY))
    assert ray.is_initialized()


@pytest.mark.parametrize("stop", ["close", "interrupt"])
@pytest.mark.slow
def test_stopping_ends_the_workers(stop, tmp_path):
    """In a process of its own, which is closed or gets what Ctrl-C sends to a terminal's processes."""
    lines = f"""
import signal, sys
from pathlib import Path
# Ignored where the tests themselves run in the background of a shell.
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(Path(__file__).parent)!r})
import spread_tasks
from isoclinic._spread import SpreadConfig, spread
if __name__ == "__main__":
    tasks = [Path({str(tmp_path)!r})] * 2
    if {stop!r} == "interrupt":
        list(spread(spread_tasks.sleep, tasks, SpreadConfig(processes=2)))
    results = spread(int, ["1", "2"], SpreadConfig(processes=2))
    next(results)
    results.close()
    import multiprocessing
    assert not multiprocessing.active_children()
"""
    script = tmp_path / "script.py"
    script.write_text(lines)
    process = subprocess.Popen(
        [sys.executable, str(script)], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    if stop == "interrupt":
        wait_until(lambda: len(list(tmp_path.glob("[0-9]*"))) == 2)
        workers = [int(path.name) for path in tmp_path.glob("[0-9]*")]
        os.killpg(process.pid, signal.SIGINT)
    error = process.communicate(timeout=240)[1]
    if stop == "interrupt":
        assert error.rstrip().endswith("KeyboardInterrupt")
        assert all(gone(worker) for worker in workers)
    else:
        assert (process.returncode, error) == (0, "")


@pytest.mark.parametrize(
    ("address", "reason"),
    [("127.0.0.1:1", "refused"), ("ray://127.0.0.1:1", "refused"), ("here", "nvalid")],
)
@pytest.mark.slow
def test_a_cluster_that_cannot_be_reached(address, reason):
    ray = pytest.importorskip("ray")
    ray.shutdown()
    with raises(InputError, "spread.cluster-unreachable", f"'{address}'", "`ray start --head`") as caught:
        list(spread(spread_tasks.numbers, SEEDS, SpreadConfig(ray=address)))
    assert reason in str(caught.value)
    assert not ray.is_initialized()


def test_without_ray(monkeypatch):
    missing_package.without(monkeypatch, "ray")
    with raises(UsageError, "installation.package-missing", "isoclinic[ray]"):
        list(spread(spread_tasks.numbers, SEEDS, ON_RAY))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"processes": 0}, "spread.invalid-value"),
        ({"threads": 0}, "spread.invalid-value"),
        ({"retries": -1}, "spread.invalid-value"),
        ({"processes": 2, "ray": "auto"}, "spread.conflict"),
    ],
)
def test_senseless_options(options, code):
    with raises(UsageError, code):
        SpreadConfig(**options)
