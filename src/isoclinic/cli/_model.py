"""The option --model: which file it means, and whether its networks suit what they are to be used with."""

from __future__ import annotations

from pathlib import Path

from ..errors import InputError
from ..networks import Checkpoint
from ..registration import InputFile
from ..training import MODEL_FILE
from ..volumes import XRay


def model_file(path: Path | str) -> InputFile:
    """The file of a model, or of the model in a training's folder.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    file = Path(path)
    if file.is_dir():
        file /= MODEL_FILE
        if not file.exists():
            raise InputError(
                f"--model {path} is a folder without {MODEL_FILE}; give a model file, or the folder that "
                "isoclinic train made"
            )
    return InputFile.of(file)


def read_model(source: InputFile) -> Checkpoint:
    """The networks in a file.

    Raises:
        InputError, UsageError: as for `Checkpoint.load`.
    """
    return Checkpoint.load(Path(source.path))


def check_model(model: Checkpoint, source: InputFile, volume: InputFile, xray: XRay) -> None:
    """Refuse a model that was trained for another CT, or for another part of the field of view.

    Raises:
        InputError: the message says what differs.
    """
    try:
        model.check_fit(xray.camera, volume.sha256)
    except InputError as error:
        raise InputError(f"{source.path}, {volume.path} and {xray.path}: {error}") from error
