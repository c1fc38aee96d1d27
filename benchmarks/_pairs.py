"""Pairs of a randomised X-ray and a rendering near by, on which encoders are measured and compared."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from isoclinic import Volume
from isoclinic.networks import Checkpoint
from isoclinic.training import Batch, RandomizationConfig, SimulationStream, StreamConfig
from isoclinic.training._adaptation import poses_of

_BATCH = 16


def batches_of_pairs(
    model: Checkpoint, volume: Volume, range_mm: tuple[float, float], count: int, seed: int
) -> Iterator[Batch]:
    """Batches that hold at least so many pairs, which no training has seen.

    Args:
        model: networks, whose record says how they see images.
        volume: the CT.
        range_mm: smallest and largest shift between the two images [mm].
        count: number of pairs.
        seed: of poses and X-rays; trainings use seeds of their own.
    """
    record = model.record
    config = StreamConfig(
        batch=_BATCH,
        moving="image",
        domain=record.domain,
        method=record.renderer,
        poses=replace(poses_of(record), perturbation_mm=range_mm),
        randomization=RandomizationConfig.isoclinic(),
    )
    return islice(SimulationStream([volume], record.camera, config, seed=seed), -(-count // _BATCH))
