"""The record of what a DICOM header says about an X-ray's geometry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._field_of_view import Orientation
from .findings import Finding, Level, option_of

FACTOR = "EstimatedRadiographicMagnificationFactor"
# Values that differ by more contradict each other.
AGREE = 0.01


@dataclass(kw_only=True)
class HeaderGeometry:
    """What a header says about an X-ray's geometry.

    Attributes:
        values: name of an `XRayOptions` field -> value.
        provenance: the same names -> where the value came from.
        problems: names of required fields that are missing or wrong -> what is wrong, and how to go on.
        findings: what contradicts or was assumed.
        orientation: how the device turned the detector's image before storing it.
    """

    values: dict[str, Any] = field(default_factory=dict)
    provenance: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    orientation: Orientation = field(default_factory=Orientation)

    def keep(self, name: str, value: Any, source: str) -> None:
        """A value with where it came from."""
        self.values[name], self.provenance[name] = value, source

    def warn(self, message: str, *settled_by: str, unsettled: bool = False, remedy: str = "") -> None:
        """A finding that the options named settle."""
        self.findings.append(_finding("warning", message, settled_by, remedy, unsettled))

    def note(self, message: str, *settled_by: str, remedy: str = "") -> None:
        """A peculiarity to know of."""
        self.findings.append(_finding("note", message, settled_by, remedy, unsettled=False))


def _finding(
    level: Level, message: str, settled_by: tuple[str, ...], remedy: str, unsettled: bool
) -> Finding:
    options = ", ".join(map(option_of, settled_by))
    return Finding(
        level=level,
        subject="X-ray",
        message=message,
        remedy=remedy or options,
        unsettled=unsettled,
        settled_by=settled_by,
    )


def value_of(found: HeaderGeometry, given: Mapping[str, Any], name: str) -> float | None:
    """The length that counts: the option's value, else the header's; None where that is no length."""
    value: float | None = given.get(name, found.values.get(name))
    return value if value is None or value > 0 else None


def source_of(found: HeaderGeometry, given: Mapping[str, Any], name: str) -> str:
    """Where that is from."""
    return option_of(name) if name in given else found.provenance.get(name, "")


def differ(one: float, other: float) -> bool:
    """Whether two values contradict each other."""
    return abs(one / other - 1) > AGREE
