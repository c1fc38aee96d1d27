"""Several processes, each with its own batches: what torchrun started.

    torchrun --nproc-per-node 4 --no-python isoclinic train CT --output MODEL

Gradients are averaged by torch's DistributedDataParallel; outside of torchrun everything here is a no-op.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, if it did, for the duration of a block.

    Args:
        device: of this process; see `local_device`.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or distributed.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
        # A process that ends while another still uses their connection may abort after its work is done.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """This process's own device: the GPU of its number on the machine."""
    number = os.environ.get("LOCAL_RANK")
    return torch.device("cuda", int(number)) if number is not None and device.type == "cuda" else device


def rank() -> int:
    """Number of this process; 0 writes files."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def processes() -> int:
    """How many there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def of_first(value: float) -> float:
    """The first process's value, in all of them."""
    if processes() == 1:
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    if distributed.get_backend() == "nccl":
        shared = shared.float().cuda()
    distributed.broadcast(shared, 0)
    return float(shared)


def any_of(flag: bool) -> bool:
    """Whether the flag is set in some process."""
    if processes() == 1:
        return flag
    flags = torch.tensor([float(flag)])
    if distributed.get_backend() == "nccl":
        flags = flags.cuda()
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags)
