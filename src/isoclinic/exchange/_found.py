"""What a file seems to be, for telling people that it is not what was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from .. import _files
from ..errors import InputError

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_KEYS_SHOWN = 6


def read_text(path: Path, expected: str) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be read, or is not text; the message calls it not `expected`.
    """
    with _files.reading(str(path), code="exchange.unreadable"):
        try:
            return _files.read_text(path)
        except UnicodeDecodeError:
            raise unexpected(path, expected) from None


def unexpected(path: Path, expected: str) -> InputError:
    """The error that a readable file is not of a kind, naming what it is instead."""
    return InputError(
        f"{path} is not {expected}; it looks like {_describe(path.read_bytes())}", code="exchange.wrong-kind"
    )


def _describe(content: bytes) -> str:
    if content.startswith(HDF5_SIGNATURE):
        return "an HDF5 file of something else"
    try:
        text = content.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        return "a binary file"
    if not text:
        return "an empty file"
    if text.startswith("#Insight Transform File"):
        return "an ITK transform file"
    if root := re.match(r"(?:<[?!][^>]*>\s*)*<([\w:.-]+)", text):
        return f"XML of <{root[1]}>"
    try:
        document = json.loads(text)
    except (RecursionError, ValueError):
        return f"text that begins with {text.splitlines()[0][:40]!r}"
    if not isinstance(document, Mapping):
        return "JSON without keys"
    if document.get("format") == "isoclinic.pose":
        return "a pose file of isoclinic, which needs no `from`"
    shown = [str(key) for key in list(document)[:_KEYS_SHOWN]]
    return f"JSON with {', '.join(shown) or 'no keys'}{', ...' if len(document) > _KEYS_SHOWN else ''}"
