"""Tasks for `isoclinic._spread`, in a module of their own that worker processes can import."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import torch

from isoclinic.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Fatal:
    """A task that kills its process the first `times` times; `folder` remembers the processes."""

    folder: Path
    seed: int
    times: int = 0

    def __str__(self):
        return f"seed {self.seed}"


def numbers(seed):
    """Something that depends on every bit of its task."""
    return np.random.default_rng(seed).standard_normal(5)


def numbers_unless_killed(task):
    attempts = len(list(task.folder.glob(f"{task.seed}-*")))
    (task.folder / f"{task.seed}-{os.getpid()}").touch()
    if attempts < task.times:
        os.kill(os.getpid(), signal.SIGKILL)
    return numbers(task.seed), torch.get_num_threads()


def threads(task):
    """Of torch and of numba."""
    return torch.get_num_threads(), numba.get_num_threads()


def refuse(seed):
    raise InputError(f"{seed} is not to my taste", code="input.unreadable")


def break_down(seed):
    raise KeyError(seed)


def sleep(folder):
    """Say who sleeps, then never return."""
    (folder / f"{os.getpid()}").touch()
    time.sleep(3600)
