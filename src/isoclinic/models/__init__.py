"""Networks that come with isoclinic; any-patient.md, beside this file, says what they are and can do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ..errors import InputError
from ..networks import Checkpoint

DEFAULT_MODEL = Path(__file__).with_name("any-patient.safetensors")


@cache
def default_model() -> Checkpoint:
    """Networks of any patient, read when first asked for.

    Given to `register` as it is, without being called, they are the last resort where nothing else leads to a
    match.

    Raises:
        InputError: the file is missing or damaged, because isoclinic is not installed completely.
    """
    try:
        return Checkpoint.load(DEFAULT_MODEL)
    except InputError as error:
        raise InputError(
            f"{error}. The file comes with isoclinic: install isoclinic again",
            code="installation.model-missing",
        ) from error
