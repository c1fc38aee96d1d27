"""Result folders that appear whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import count
from pathlib import Path

from ._files import shortened
from ._interrupts import Held, forget_temporary, note_temporary, remove_temporary
from .errors import InputError, UsageError


@contextmanager
def new_folder(path: Path, *, overwrite: bool, known: frozenset[str]) -> Iterator[Path]:
    """An empty folder to fill in place of `path`: moved there when the block ends, removed when it fails.

    An older result stays until the new one is complete. A link stays too: what it points to is replaced. If
    the place has been taken when the block ends, what is there stays, and the new result is kept beside it.

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
    place = Path(os.path.realpath(path))
    # On the same file system, and before any work is done.
    parent = next(folder for folder in place.parents if folder.exists())
    name = shortened(place.name)
    building, replaced = (parent / f".{name}.{os.getpid()}.{what}" for what in ("new", "old"))
    note_temporary(building)
    try:
        try:
            building.mkdir()
        except OSError as error:
            # What is there has not been made here.
            forget_temporary(building)
            raise InputError(
                f"{path} cannot be written: {error.strerror}", code="output.unwritable"
            ) from error
        try:
            yield building
        except InputError as error:
            # Of the file where people expect it, not where it is being built.
            raise InputError(str(error).replace(str(building), str(path)), code=error.code) from error
        try:
            # Meanwhile neither the older result is in its place nor the new one.
            with Held():
                _put_in_place(building, place, replaced, overwrite=overwrite, known=known)
        except (UsageError, OSError) as error:
            kept = _kept(building, parent / name)
            if isinstance(error, OSError):
                why = f"{path} cannot be written: {error.strerror}"
            else:
                why = str(error).replace(str(replaced), str(place))
            raise InputError(
                f"{why}. The new result is complete: it is in {kept}", code="output.taken-meanwhile"
            ) from error
    finally:
        remove_temporary(building)


def _put_in_place(
    building: Path, place: Path, replaced: Path, *, overwrite: bool, known: frozenset[str]
) -> None:
    """Move a finished folder to its place, or leave there what is there.

    Args:
        building: the folder.
        place: for it.
        replaced: where an older result is in between.
        overwrite: as for `new_folder`.
        known: as for `new_folder`.

    Raises:
        UsageError: the place has been taken by what may not be replaced.
        OSError: it cannot be moved.
    """
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(place):
            check_replaceable(place, overwrite=overwrite, known=known)
            os.replace(place, replaced)
            # Nobody finds it here, so nothing is added after this look.
            check_replaceable(replaced, overwrite=overwrite, known=known)
        os.replace(building, place)
    finally:
        if replaced.exists() and not place.exists():
            os.replace(replaced, place)
        shutil.rmtree(replaced, ignore_errors=True)


def check_replaceable(
    path: Path, *, overwrite: bool, known: frozenset[str], remedy: str = "replace it with `overwrite`"
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
        if path.is_symlink():
            raise UsageError(
                f"{path} is a link to {os.readlink(path)}, which does not exist; create it or choose "
                "another place",
                code="output.dangling-link",
            )
        return
    if not overwrite:
        raise UsageError(f"{path} exists already; choose another place or {remedy}", code="output.exists")
    if not path.is_dir():
        raise UsageError(
            f"{path} is a file, but the result is a folder; choose another place", code="output.not-a-folder"
        )
    # Links, even those to folders or to nothing, and pipes are nothing that a result has.
    entries = (entry for entry in path.rglob("*") if entry.is_symlink() or not entry.is_dir())
    foreign = next((entry for entry in entries if not _is_known(entry, known)), None)
    if foreign is not None:
        raise UsageError(
            f"{path} is not replaced: it contains {foreign.relative_to(path)}, which isoclinic did not "
            "create; move that away or choose another place",
            code="output.foreign-files",
        )


def _is_known(file: Path, known: frozenset[str]) -> bool:
    return file.is_file() and not file.is_symlink() and any(fnmatchcase(file.name, each) for each in known)


def _kept(folder: Path, beside: Path) -> Path:
    """Where a finished folder is now that its place was taken."""
    free = (beside.with_name(f"{beside.name}-new-{number}") for number in count(1))
    kept = next(place for place in free if not os.path.lexists(place))
    os.replace(folder, kept)
    return kept
