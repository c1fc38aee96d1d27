"""Options that all commands that train have in common."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Device = Literal["auto", "cpu", "cuda"]


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """How a training runs.

    Attributes:
        output: folder for the networks (model.safetensors), their curves (training.png, training.csv) and
            the state from which --resume continues (state.safetensors), written every few minutes.
        minutes: time to train for, validations included; by default that of the preset.
        images: simulated X-rays to train on, instead of minutes.
        device: the device to train on; "auto" is a GPU where there is one.
        resume: continue the training in the output folder; all other options must be as before, except its
            length.
        overwrite: replace an older training.
        tensorboard: write the curves for TensorBoard, too, into the output folder.
        config: TOML file with any of these options; the command line overrides the file.
    """

    output: Path
    minutes: float | None = None
    images: int | None = None
    device: Device = "auto"
    resume: bool = False
    overwrite: bool = False
    tensorboard: bool = False
    config: Path | None = None
