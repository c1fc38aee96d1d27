"""One function over many tasks: in this process, in several, or on the machines of a Ray cluster."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import textwrap
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import numba
import torch

from ._optional import require
from ._spread_config import SpreadConfig
from .errors import InputError, IsoclinicError

T = TypeVar("T")
R = TypeVar("R")

# Tasks handed to Ray for every core of the cluster: one that runs, and one that is there when it ends.
_RAY_TASKS_PER_CORE = 2
_REACH_S = 10.0


def spread(
    function: Callable[[T], R],
    tasks: Sequence[T],
    config: SpreadConfig,
    on_lost: Callable[[int, InputError], R] | None = None,
) -> Iterator[tuple[int, R]]:
    """Results of tasks as they complete, each with the index of its task.

    The function, tasks and results must be picklable, the function importable from a module; a script that
    uses several processes needs `if __name__ == "__main__":`. A task may run more than once, and should leave
    its files whole at every moment. Closing the iterator, or an error, ends what still runs.

    Args:
        function: what to do with a task.
        tasks: in the order in which they are begun.
        config: where they run.
        on_lost: gives the result of a task whose process was lost more than `retries` times, from its index
            and the error that is raised otherwise, so that the other tasks go on.

    Raises:
        IsoclinicError: the first one raised by a task. Any other exception of a task surfaces as it is.
        InputError: a task whose process was lost more than `retries` times, or a cluster that cannot be used.
        UsageError: Ray is not installed.
    """
    if config.ray is not None:
        return _on_ray(function, tasks, config, on_lost or _raise)
    if config.processes > 1:
        return _in_processes(function, tasks, config, on_lost or _raise)
    return _here(function, tasks, config)


def _raise(index: int, error: InputError) -> NoReturn:
    """What becomes of a lost task unless someone has a result for it."""
    raise error


def _here(function: Callable[[T], R], tasks: Sequence[T], config: SpreadConfig) -> Iterator[tuple[int, R]]:
    """In this process, whose threads are as they were afterwards."""
    before = torch.get_num_threads(), numba.get_num_threads()
    try:
        for index, task in enumerate(tasks):
            if config.threads is not None:
                _limit_threads(config.threads)
            yield index, function(task)
    finally:
        torch.set_num_threads(before[0])
        numba.set_num_threads(before[1])


class _Worker:
    """A process that runs one task at a time, so that it is known whose task ended it.

    Args:
        threads: for every library that has threads.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._start()

    def submit(self, function: Callable[[T], R], task: T) -> Future[R]:
        """Run a task; the process is replaced if it is gone."""
        try:
            return self._executor.submit(function, task)
        except BrokenProcessPool:
            self._executor.shutdown()
            self._start()
            return self._executor.submit(function, task)

    def stop(self) -> None:
        """End the process, whatever it does."""
        try:
            pid = self._pid.result()
        except BrokenProcessPool:
            pid = None
        for process in multiprocessing.active_children():
            if process.pid == pid:
                process.terminate()
        self._executor.shutdown(cancel_futures=True)

    def _start(self) -> None:
        self._executor = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        self._pid = self._executor.submit(_prepare, self._threads)


def _prepare(threads: int) -> int:
    """Make the process of a worker ready; its id."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the caller, who ends this process
    _limit_threads(threads)
    return os.getpid()


def _limit_threads(threads: int) -> None:
    torch.set_num_threads(threads)
    numba.set_num_threads(min(threads, numba.get_num_threads()))


def _in_processes(
    function: Callable[[T], R],
    tasks: Sequence[T],
    config: SpreadConfig,
    on_lost: Callable[[int, InputError], R],
) -> Iterator[tuple[int, R]]:
    processes, retries = config.processes, config.retries
    threads = config.threads or max(1, torch.get_num_threads() // processes)
    waiting = deque(range(len(tasks)))
    running: dict[Future[R], tuple[_Worker, int]] = {}
    finished: list[tuple[int, R]] = []
    losses: Counter[int] = Counter()
    workers = [_Worker(threads) for _ in range(min(processes, len(tasks)))]
    idle = list(workers)
    try:
        while waiting or running or finished:
            while waiting and idle:
                worker, index = idle.pop(), waiting.popleft()
                running[worker.submit(function, tasks[index])] = worker, index
            yield from finished
            finished = []
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                worker, index = running.pop(future)
                idle.append(worker)
                try:
                    finished.append((index, future.result()))
                except BrokenProcessPool:
                    losses[index] += 1
                    if losses[index] > retries:
                        finished.append((index, on_lost(index, _lost(index, tasks))))
                    else:
                        waiting.appendleft(index)
    finally:
        for worker in workers:
            worker.stop()


def _on_ray(
    function: Callable[[T], R],
    tasks: Sequence[T],
    config: SpreadConfig,
    on_lost: Callable[[int, InputError], R],
) -> Iterator[tuple[int, R]]:
    assert config.ray is not None
    threads = config.threads or 1
    ray = require("ray", extra="ray")
    errors = ray.exceptions
    with _connected(ray, config.ray):
        shared = ray.put(function)
        # Ray itself repeats a task whose process or machine is lost.
        remote = ray.remote(num_cpus=threads, max_retries=config.retries)(_on_threads)
        at_once = _RAY_TASKS_PER_CORE * max(1, int(ray.cluster_resources().get("CPU", 1)) // threads)
        waiting = deque(range(len(tasks)))
        running: dict[Any, int] = {}
        try:
            while waiting or running:
                while waiting and len(running) < at_once:
                    index = waiting.popleft()
                    running[remote.remote(threads, shared, tasks[index])] = index
                (done,), _ = ray.wait(list(running))
                index = running.pop(done)
                try:
                    result = ray.get(done)
                except errors.RayTaskError as error:
                    if isinstance(error.cause, IsoclinicError):
                        raise error.cause from None
                    raise
                except errors.RayError:
                    result = on_lost(index, _lost(index, tasks))
                yield index, result
        finally:
            for reference in running:
                ray.cancel(reference, force=True)


def _on_threads(threads: int, function: Callable[[T], R], task: T) -> R:
    """What Ray runs."""
    _limit_threads(threads)
    return function(task)


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Ray at this address; a connection that was there before is used, and left as it is."""
    if ray.is_initialized():
        yield
        return
    try:
        _check_reachable(address)
        if address == "local":
            # By default workers give way to all other processes, and may never begin; these are the work.
            os.environ.setdefault("RAY_worker_niceness", "0")
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(
            f"cannot use the Ray cluster {address!r}: {reason}; give the address of a cluster that runs "
            '(`ray start --head` starts one), or "local"; one that asks for a token needs '
            "RAY_AUTH_MODE=token",
            code="spread.cluster-unreachable",
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """Raise an OSError where nothing answers: Ray itself takes minutes to say so, and prints meanwhile."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_REACH_S).close()


def _lost(index: int, tasks: Sequence[Any]) -> InputError:
    name = textwrap.shorten(str(tasks[index]), 120)
    return InputError(
        f"task {index + 1} of {len(tasks)} ({name}) ended the process it ran in every time it was tried: "
        "the memory may be too small for it (use fewer processes), or a library crashes on its files",
        code="spread.task-lost",
    )
