"""Options of `isoclinic adapt`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from ..training import TrainConfig
from ._options import parse_options
from ._run_options import RunOptions


@dataclass(frozen=True, kw_only=True)
class AdaptOptions(RunOptions):
    """Fine-tune general networks for one CT, in minutes.

    Networks, views and detector are those of the model. Ctrl-C stops after the current batch and saves the
    training; --resume continues exactly from there.

    Attributes:
        model: the general networks, which isoclinic pretrain makes: a model file, or the folder it is in.
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        minutes: time to train for, validations included.
        learning_rate: the highest learning rate.
        seed: seed of all random draws.
    """

    model: Positional[Path]
    volume: Positional[Path]
    minutes: float = 3.0
    learning_rate: float = 5e-4
    seed: int = TrainConfig.seed


def parse(arguments: Sequence[str]) -> AdaptOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(AdaptOptions, "adapt", arguments)
