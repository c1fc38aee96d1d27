"""What an inspection finds: values with where they came from, and what deserves attention."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning", "note"]
Value = str | float | int | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One value that was read, measured or assumed.

    Attributes:
        name: what it is; that of the option that overrides it, where there is one.
        value: in `unit`.
        unit: of the value; empty for words and plain numbers.
        frame: what the value refers to, such as the world's axes or the image as stored.
        source: tag, file, option, or the assumption that gave it.
    """

    name: str
    value: Value
    unit: str = ""
    frame: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something odd.

    Attributes:
        level: 'error' where a registration cannot work, 'warning' where it may go wrong, 'note' for an
            assumption or a peculiarity to know of.
        subject: what it is about: "CT", "X-ray", or "view" for both together.
        message: what is odd, with the numbers that show it.
        remedy: the option that settles it, or what to do.
    """

    level: Level
    subject: str
    message: str
    remedy: str = ""

    @classmethod
    def of_message(cls, level: Level, subject: str, message: str, otherwise: str = "") -> Finding:
        """A reader's warning or error; the remedy is the options it names, or what there is `otherwise`."""
        options = dict.fromkeys(re.findall(r"--[a-z][a-z-]+", message))
        return cls(level=level, subject=subject, message=message, remedy=", ".join(options) or otherwise)


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Readings and findings about one subject."""

    readings: tuple[Reading, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __add__(self, other: Inspection) -> Inspection:
        return Inspection(readings=self.readings + other.readings, findings=self.findings + other.findings)
