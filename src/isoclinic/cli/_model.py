"""The option --model: which file it means, and whether its networks suit what they are to be used with."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import InputError
from ..models import DEFAULT_MODEL, default_model
from ..networks import Checkpoint
from ..registration import InputFile, Model
from ..training import MODEL_FILE
from ..volumes import XRay

# Values of --model besides files: the networks that come with the program, and none.
DEFAULT, NONE = "default", "none"
_PACKAGES = ("monai", "safetensors")


def chosen_model(option: str, volume: InputFile, xray: XRay) -> tuple[InputFile | None, Model | None]:
    """The file of a model and its networks, or what loads them if they are needed; nothing for "none".

    There is nothing for "default" either where the packages that networks need are not installed.

    Raises:
        InputError, UsageError: a file that is no model, or one that does not fit.
    """
    if option == NONE or (option == DEFAULT and not default_is_usable()):
        return None, None
    if option == DEFAULT:
        return InputFile.of(DEFAULT_MODEL), default_model
    source = model_file(option)
    model = read_model(source)
    check_model(model, source, volume, xray)
    return source, model


def default_is_usable() -> bool:
    """Whether the packages are installed that the networks need which come with the program."""
    return all(map(find_spec, _PACKAGES))


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
