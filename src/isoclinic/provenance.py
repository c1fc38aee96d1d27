"""Which files something was computed from, so that others can check that they have the same ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._files import reading


@dataclass(frozen=True, kw_only=True)
class InputFile:
    """A file or folder that a pose was computed from.

    Attributes:
        path: as the user gave it.
        sha256: of the file's bytes; of a folder, see `of`.
    """

    path: str
    sha256: str

    @classmethod
    def of(cls, path: Path | str) -> InputFile:
        """Describe a file, or a folder by the digest of the lines "<digest of file>  <name>", names sorted.

        Raises:
            InputError: it does not exist or cannot be read.
        """
        source = Path(path)
        with reading(str(path), code="input.unreadable"):
            if not source.is_dir():
                return cls(path=str(path), sha256=_sha256(source))
            names = sorted(
                file.relative_to(source).as_posix() for file in source.rglob("*") if file.is_file()
            )
            lines = [f"{_sha256(source / name)}  {name}\n" for name in names]
        return cls(path=str(path), sha256=hashlib.sha256("".join(lines).encode()).hexdigest())


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """The files and the command that a registration was made from. What is None is unknown.

    Attributes:
        volume: the CT.
        xrays: the X-rays, in their order.
        model: the networks that took part; None where none did.
        files: other files that the result depends on, by the parameter that named them.
        command: the command line that did it.
    """

    volume: InputFile | None = None
    xrays: Sequence[InputFile | None] = ()
    model: InputFile | None = None
    files: Mapping[str, InputFile] = field(default_factory=dict)
    command: str | None = None

    @classmethod
    def of(cls, volume: Path | str | None, xrays: Sequence[Path | str | None]) -> Provenance:
        """The digests of a CT and X-rays, as far as they are files.

        Args:
            volume: path of the CT; None for one that was made in memory.
            xrays: paths of the X-rays, in their order; None likewise.

        Raises:
            InputError: a file does not exist any more, or cannot be read.
        """
        files = [None if path is None else InputFile.of(path) for path in (volume, *xrays)]
        return cls(volume=files[0], xrays=files[1:])


def settings_digest(settings: Any) -> str:
    """SHA-256 of settings as JSON with sorted keys: alike settings have the same one, in any process.

    Args:
        settings: numbers, texts, lists and mappings of them; anything else counts by its text.
    """
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
