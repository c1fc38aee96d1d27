"""What the options of all commands that train say alike."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

Device = Literal["auto", "cpu", "cuda"]


class RunOptions(Protocol):
    """What of a command's options says how a training runs."""

    @property
    def output(self) -> Path:
        """Folder for model, state and curves."""

    @property
    def device(self) -> Device:
        """To train on."""

    @property
    def resume(self) -> bool:
        """Whether to go on with what the folder holds."""

    @property
    def overwrite(self) -> bool:
        """Whether an older training may be replaced."""

    @property
    def tensorboard(self) -> bool:
        """Whether to write curves for TensorBoard, too."""
