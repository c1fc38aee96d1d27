"""The JSON files that a prepared data set consists of, besides its images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .._files import read_text
from ..errors import InputError


def read_document(file: Path, *keys: str) -> dict[str, Any]:
    """The object in a JSON file.

    Args:
        file: the file.
        keys: that it must have.

    Raises:
        InputError: it cannot be read, is no JSON object, or lacks one of the keys.
    """
    try:
        document = json.loads(read_text(file))
    except (OSError, RecursionError, ValueError) as error:
        raise InputError(
            f"{file} cannot be read, it may be cut short or damaged: {error}", code="dataset.unreadable"
        ) from error
    if not isinstance(document, dict):
        raise InputError(f"{file} is damaged: it must hold a JSON object", code="dataset.unreadable")
    missing = [key for key in keys if key not in document]
    if missing:
        raise InputError(
            f"{file} is damaged: it lacks {', '.join(missing)}; delete it, and it is made anew",
            code="dataset.unreadable",
        )
    return document
