"""JSON as every file and every command of this package writes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def dumps(document: Any) -> str:
    """A document as text, indented, without "-0.0", which people take for an error.

    Raises:
        ValueError: it contains a number that is infinite or not a number, which JSON cannot hold.
    """
    return json.dumps(_plain(document), indent=2, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    # The sum of -0.0 and 0.0 is 0.0 (IEEE 754).
    return value + 0.0 if isinstance(value, float) else value
