"""`isoclinic pretrain`: networks for the registration of any patient."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

import torch

from ..errors import UsageError
from ..provenance import InputFile
from ..training import Subject, Trainer, TrainingData
from ..volumes import Volume, find_volumes
from . import _training
from ._pretrain_options import PretrainOptions


def main(options: PretrainOptions, arguments: Sequence[str]) -> None:
    """Run the command."""

    def prepare(device: torch.device) -> Trainer:
        config = replace(options.training, minutes=options.minutes, images=options.images)
        cohort = config.cohort
        if cohort is None:
            raise UsageError(
                "networks of any patient need a cohort to be trained on", code="options.conflict"
            )
        held_out = {path.resolve() for path in options.held_out}
        paths = [path for path in find_volumes(options.folder) if path.resolve() not in held_out]
        if not paths:
            raise UsageError(
                f"all CTs in {options.folder} are held out; leave some to train on", code="options.conflict"
            )
        # Only what the cohort is made from: many CTs at full resolution would fill the memory.
        subjects = tuple(
            Subject(volume=Volume.read(path).coarsened(cohort.voxel_mm), sha256=InputFile.of(path).sha256)
            for path in paths
        )
        validated = tuple(
            Subject(volume=Volume.read(path), sha256=InputFile.of(path).sha256) for path in options.held_out
        )
        data = TrainingData(
            subjects=subjects, camera=options.detector.camera, held_out=validated, one_patient=False
        )
        return Trainer(data, config, device)

    output = shlex.quote(str(options.output))
    _training.run(
        options,
        prepare,
        f"Register X-rays of any patient with it, or train it on for one:\n"
        f"isoclinic register XRAY --volume CT --model {output} --output RESULT\n"
        f"isoclinic adapt {output} CT --output MODEL",
    )
