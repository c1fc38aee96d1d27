"""Options of `isoclinic adapt`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tyro.conf import Positional

from ..training import TrainConfig
from ._options import parse_options
from ._run_options import Device


@dataclass(frozen=True, kw_only=True)
class AdaptOptions:
    """Fine-tune general networks for one CT, in minutes.

    Networks, views and detector are those of the model. Ctrl-C stops after the batch at hand and keeps what
    has been learned; --resume goes on from there exactly.

    Attributes:
        model: what isoclinic pretrain made: a model file, or the folder it is in.
        volume: the CT: NIfTI, NRRD, MetaImage or a DICOM folder.
        output: folder for the networks (model.safetensors), their curves (training.png, training.csv) and
            what it takes to go on (state.safetensors).
        minutes: time to train for, validations included.
        images: simulated X-rays to train on, instead of minutes.
        learning_rate: the highest one.
        seed: of everything drawn.
        device: to train on; "auto" is a GPU where there is one.
        resume: go on with the training that the output folder holds; all other options must be as they were,
            but for its length.
        overwrite: replace an older training.
        tensorboard: write the curves for TensorBoard, too, into the output folder.
        config: TOML file with any of these options; the command line wins.
    """

    model: Positional[Path]
    volume: Positional[Path]
    output: Path
    minutes: float = 3.0
    images: int | None = None
    learning_rate: float = 5e-4
    seed: int = TrainConfig.seed
    device: Device = "auto"
    resume: bool = False
    overwrite: bool = False
    tensorboard: bool = False
    config: Path | None = None


def parse(arguments: Sequence[str]) -> AdaptOptions:
    """The options of a command line; see `parse_options`."""
    return parse_options(AdaptOptions, "adapt", arguments)
