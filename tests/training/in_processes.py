"""Run by torchrun in each of several processes: one step of each network, and then the command line.

in_processes.py FOLDER [ARGUMENTS of isoclinic ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from isoclinic.cli import main
from isoclinic.training import distributed

# torchrun starts this file by its path.
sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
from tiny_training import trainer, weights  # noqa: E402


def step(kind: str) -> dict[str, object]:
    """What a process has after its first batch."""
    made = trainer(networks=(kind,), seed=3)
    (phase,) = made.phases
    seen: list[int] = []
    batch = phase._stream.batch
    phase._stream.batch = lambda index: (seen.append(index), batch(index))[1]
    for _ in range(2):
        phase.advance(made._length(kind))
        if len(seen) == 1:
            after = weights(made)
            gradients = {
                name: None if each.grad is None else each.grad.clone()
                for name, each in phase.network.named_parameters()
            }
    return {
        "seen": seen,
        "weights": after,
        "gradients": gradients,
        "images": phase.images,
        "progress": phase.course.progress,
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with distributed.process_group(torch.device("cpu")):
        rank = distributed.rank()
        found = {kind: step(kind) for kind in ("pose_regressor", "fine_encoder")}
        found["first"] = distributed.of_first(rank + 5.0)
        found["any"] = [distributed.any_of(rank == 1), distributed.any_of(False)]
        torch.save(found, folder / f"{rank}.pt")
        (folder / f"{rank}.code").write_text(str(main(sys.argv[2:])))
