"""The option --model: which file it means, and whether its networks suit what they are to be used with."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from ..errors import InputError
from ..models import DEFAULT_MODEL, default_model
from ..networks import Checkpoint
from ..provenance import InputFile
from ..registration._register import Model
from ..training.file_names import MODEL_FILE
from ..volumes import Volume, XRay
from ._model_names import DEFAULT, NONE


class Networks(NamedTuple):
    """What a value of --model means.

    Attributes:
        file: of the networks; None for none.
        last_resort: whether they take part only where nothing else leads to a match.
    """

    file: InputFile | None
    last_resort: bool = False

    @classmethod
    def of(cls, option: str) -> Networks:
        """Those of a file, or for "default" those that come along.

        Raises:
            InputError: there is no such file.
        """
        if option == NONE:
            return cls(None)
        if option == DEFAULT:
            return cls(InputFile.of(DEFAULT_MODEL), last_resort=True)
        return cls(model_file(option))


def chosen_model(
    option: str, volume: InputFile, xray: XRay, ct: Volume
) -> tuple[InputFile | None, Model | None]:
    """The file of the networks that an option means, and they, or what loads them if they are needed.

    The file of those that come along is None: whether they take part is known only afterwards, and until then
    nothing depends on it; see `last_resort_file`.

    Raises:
        InputError, UsageError: a file that is no model, or one that does not fit.
    """
    if option == DEFAULT:
        return None, default_model
    source, _ = Networks.of(option)
    if source is None:
        return None, None
    model = read_model(source)
    check_model(model, source, volume, xray, ct)
    return source, model


def last_resort_file() -> InputFile:
    """The file of the networks that come along, after they took part.

    Raises:
        InputError: it is gone.
    """
    return InputFile.of(DEFAULT_MODEL)


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
                "isoclinic train made",
                code="model.missing",
            )
    return InputFile.of(file)


def read_model(source: InputFile) -> Checkpoint:
    """The networks in a file.

    Raises:
        InputError, UsageError: as for `Checkpoint.load`.
    """
    return Checkpoint.load(Path(source.path))


def check_model(model: Checkpoint, source: InputFile, volume: InputFile, xray: XRay, ct: Volume) -> None:
    """Refuse a model that was trained for another CT, or for another part of the field of view.

    Raises:
        InputError: the message says what differs.
    """
    try:
        model.check_fit(xray.camera, volume.sha256, ct)
    except InputError as error:
        raise InputError(
            f"{source.path}, {volume.path} and {xray.path}: {error}", code="model.unsuitable"
        ) from error
