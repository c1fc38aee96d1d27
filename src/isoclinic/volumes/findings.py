"""What reading a file finds odd: one record for every command, told as a warning or kept as a note."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ._warnings import GeometryWarning, warn_geometry

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something odd.

    Attributes:
        level: 'error' where a registration cannot work, 'warning' where it may go wrong, 'note' for an
            assumption or a peculiarity to know of.
        subject: what it is about: "CT", "X-ray", or "view" for both together.
        message: what is odd, with the numbers that show it.
        remedy: the option that settles it, or what to do.
        unsettled: nothing in the file tells which of several readings is right, so that a registration that
            rests on it is doubtful.
        settled_by: names of options, any of which settles it.
    """

    level: Level
    subject: str
    message: str
    remedy: str = ""
    unsettled: bool = False
    settled_by: tuple[str, ...] = ()

    @classmethod
    def of_message(cls, level: Level, subject: str, message: str, otherwise: str = "") -> Finding:
        """A reader's warning or error; the remedy is the options it names, or what there is `otherwise`."""
        options = dict.fromkeys(re.findall(r"`[a-z][a-z_.]+`", message))
        return cls(level=level, subject=subject, message=message, remedy=", ".join(options) or otherwise)

    @property
    def text(self) -> str:
        """The message with what settles it."""
        named = not self.remedy or all(option in self.message for option in self.remedy.split(", "))
        if named:
            return self.message
        overrides = self.remedy in map(option_of, self.settled_by)
        return f"{self.message} ({self.remedy}{' overrides' if overrides else ''})"


def option_of(name: str) -> str:
    """How messages write the name of a parameter; the command line shows it as an option."""
    return f"`{name}`"


def tell(findings: Iterable[Finding], path: str | Path | None = None) -> None:
    """Warn (GeometryWarning) of the findings that are more than notes.

    Args:
        findings: what was found.
        path: the file they are about; None where they are about several.
    """
    for finding in findings:
        if finding.level != "note":
            where = "" if path is None else f"{path}: "
            warn_geometry(f"{where}{finding.text}", finding)


@contextmanager
def gathered(subject: str) -> Iterator[list[Finding]]:
    """Findings of what is warned of (GeometryWarning) within the block; the list is filled when it ends.

    The warnings themselves go on to whoever listens.
    """
    found: list[Finding] = []
    caught: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as recorded:
            warnings.simplefilter("always", GeometryWarning)
            try:
                yield found
            finally:
                caught += recorded
        found += (
            each.message.finding or Finding.of_message("warning", subject, str(each.message))
            for each in caught
            if isinstance(each.message, GeometryWarning)
        )
    finally:
        for each in caught:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def still_open(findings: Iterable[Finding], given: Collection[str]) -> tuple[Finding, ...]:
    """The findings that none of the options that were given settles."""
    return tuple(finding for finding in findings if not set(finding.settled_by) & set(given))
