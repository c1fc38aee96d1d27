"""JSON documents of other programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .._files import atomic
from .._json import dumps
from ..errors import InputError
from ._found import read_text, unexpected


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write the file, whole or not at all.

    Raises:
        InputError: it cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_text(dumps(document) + "\n", encoding="utf-8")


class Document:
    """A JSON object whose every complaint names the file and the key."""

    def __init__(self, values: Mapping[str, Any], name: str) -> None:
        self._values = values
        self._name = name

    @classmethod
    def read(cls, path: Path, expected: str, keys: Sequence[str]) -> Document:
        """Read a file that has these keys at least.

        Raises:
            InputError: the file cannot be read or is something else than `expected`.
        """
        text = read_text(path, expected)
        try:
            values = json.loads(text)
        except (RecursionError, ValueError):
            raise unexpected(path, expected) from None
        return cls.of(values, path, expected, keys)

    @classmethod
    def of(cls, values: Any, path: Path, expected: str, keys: Sequence[str]) -> Document:
        """The object that was read from a file, if it has these keys at least.

        Raises:
            InputError: it is something else than `expected`.
        """
        if not isinstance(values, Mapping) or not values.keys() >= set(keys):
            raise unexpected(path, f"{expected}, which has {', '.join(keys)}")
        return cls(values, str(path))

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def label(self, key: str) -> str:
        """Return how messages call an entry."""
        return f"{self._name}: {key}"

    def child(self, key: str) -> Document:
        """The object at a key."""
        return Document(self._expect(key, Mapping, "a JSON object"), self.label(key))

    def text(self, key: str) -> str:
        """The text at a key."""
        return str(self._expect(key, str, "a text"))

    def flag(self, key: str) -> bool:
        """The truth value at a key."""
        return bool(self._expect(key, bool, "true or false"))

    def number(self, key: str) -> float:
        """The finite number at a key."""
        return self.numbers(key, ()).item()

    def integer(self, key: str) -> int:
        """The whole number at a key."""
        value = self.number(key)
        if value != int(value):
            raise InputError(
                f"{self.label(key)} must be a whole number, not {value}", code="exchange.invalid-value"
            )
        return int(value)

    def numbers(self, key: str, shape: tuple[int, ...]) -> Tensor:
        """The finite numbers at a key, float64."""
        value = self._expect(key, object, "")
        try:
            array = np.array(value)
        except ValueError:  # ragged lists
            array = np.array(None)
        if array.shape != shape or array.dtype.kind not in "if" or not np.isfinite(array).all():
            what = f"{' x '.join(map(str, shape))} finite numbers" if shape else "a finite number"
            raise InputError(
                f"{self.label(key)} must be {what}, not {json.dumps(value)}", code="exchange.invalid-value"
            )
        return torch.from_numpy(array.astype(np.float64))

    def _expect(self, key: str, kind: type, what: str) -> Any:
        if key not in self._values:
            raise InputError(f"{self.label(key)} is missing", code="exchange.incomplete")
        value = self._values[key]
        if not isinstance(value, kind):
            raise InputError(
                f"{self.label(key)} must be {what}, not {json.dumps(value)}", code="exchange.invalid-value"
            )
        return value
