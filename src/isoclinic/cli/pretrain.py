"""`isoclinic pretrain`: networks for the registration of any patient."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import InputError, UsageError
from ..training import Subject, TrainConfig, Trainer, TrainingData
from ..volumes import find_volumes, looks_like_labels
from . import _training
from ._pretrain_options import PretrainOptions
from ._train_options import of_length


def _subject(path: Path, config: TrainConfig) -> Subject:
    """A CT to train on.

    Of a cohort only what it is made from: many CTs at full resolution would fill the memory.

    Raises:
        InputError: it is a label map by its values, or cannot be read.
    """
    subject = Subject.read(path)
    if looks_like_labels(subject.volume):
        raise InputError(
            f"{path} looks like a label map, not like a CT: it has few values, all of them whole and none "
            "negative. Move it elsewhere, or rename it to ..._labels, so that it is left out",
            code="options.conflict",
        )
    return subject if config.cohort is None else subject.coarsened(config.cohort.voxel_mm)


def main(options: PretrainOptions, arguments: Sequence[str]) -> None:
    """Run the command."""

    def prepare(device: torch.device) -> Trainer:
        config = of_length(options.training, options.minutes, options.images)
        held_out = {path.resolve() for path in options.held_out}
        paths = [path for path in find_volumes(options.folder) if path.resolve() not in held_out]
        if not paths:
            raise UsageError(
                f"all CTs in {options.folder} are held out; leave some to train on", code="options.conflict"
            )
        subjects = tuple(_subject(path, config) for path in paths)
        validated = tuple(Subject.read(path) for path in options.held_out)
        data = TrainingData(
            subjects=subjects, camera=options.detector.camera, held_out=validated, one_patient=False
        )
        return Trainer(data, config, device)

    output = shlex.quote(str(options.output))
    _training.run(
        options,
        prepare,
        f"Register X-rays of any patient with it, or fine-tune it for one:\n"
        f"isoclinic register XRAY --volume CT --model {output} --output RESULT\n"
        f"isoclinic adapt {output} CT --output MODEL",
    )
