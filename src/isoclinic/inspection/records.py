"""The results of an inspection: values with their sources, and findings that deserve attention."""

from __future__ import annotations

from dataclasses import dataclass

from ..volumes import Finding

Value = str | float | int | tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class InspectedValue:
    """One value that was read, measured or assumed.

    Attributes:
        name: its name: that of the option that overrides it, where there is one.
        value: the value in `unit`.
        unit: the unit of the value; empty for words and plain numbers.
        frame: the frame that the value refers to, such as the world's axes or the image as stored.
        source: tag, file, option, or the assumption that gave it.
    """

    name: str
    value: Value
    unit: str = ""
    frame: str = ""
    source: str = ""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """Readings and findings about one subject."""

    readings: tuple[InspectedValue, ...] = ()
    findings: tuple[Finding, ...] = ()

    def __add__(self, other: Inspection) -> Inspection:
        return Inspection(readings=self.readings + other.readings, findings=self.findings + other.findings)
