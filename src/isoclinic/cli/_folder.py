"""Result folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path

from ..errors import InputError, UsageError


@contextmanager
def new_folder(path: Path, *, overwrite: bool, known: frozenset[str]) -> Iterator[Path]:
    """An empty folder to fill in place of `path`: moved there when the block ends, removed when it fails.

    An older result stays until the new one is complete.

    Args:
        path: of the result.
        overwrite: replace an older result.
        known: names of the files a result may consist of, or patterns of them such as "pose-*.json". A folder
            with any other file is never replaced.

    Raises:
        UsageError: the folder exists and may not be replaced.
        InputError: the place cannot be written to.
    """
    path = path.absolute()
    check_replaceable(path, overwrite=overwrite, known=known)
    # On the same file system, and before any work is done.
    parent = next(folder for folder in path.parents if folder.exists())
    building, replaced = (parent / f".{path.name}.{os.getpid()}.{what}" for what in ("new", "old"))
    try:
        building.mkdir()
    except OSError as error:
        raise InputError(f"--output {path} cannot be written: {error.strerror}") from error
    try:
        try:
            yield building
        except InputError as error:
            # Of the file where people expect it, not where it is being built.
            raise InputError(str(error).replace(str(building), str(path))) from error
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            os.replace(path, replaced)
        os.replace(building, path)
    finally:
        if replaced.exists() and not path.exists():
            os.replace(replaced, path)
        for leftover in (building, replaced):
            shutil.rmtree(leftover, ignore_errors=True)


def check_replaceable(
    path: Path, *, overwrite: bool, known: frozenset[str], remedy: str = "add --overwrite"
) -> None:
    """Refuse a place that holds anything but an older result, or one that is not to be replaced.

    Args:
        path: of the result.
        overwrite: replace an older result.
        known: as for `new_folder`.
        remedy: options that allow to.

    Raises:
        UsageError: the place is refused.
    """
    if not path.exists():
        return
    if not overwrite:
        raise UsageError(f"--output {path} exists already; choose another place or {remedy}")
    if not path.is_dir():
        raise UsageError(f"--output {path} is a file, but the result is a folder; choose another place")
    files = (file for file in path.rglob("*") if file.is_file())
    foreign = next((file for file in files if not any(fnmatchcase(file.name, each) for each in known)), None)
    if foreign is not None:
        raise UsageError(
            f"--output {path} is not replaced: it holds {foreign.relative_to(path)}, which is no result; "
            "move that away or choose another place"
        )
