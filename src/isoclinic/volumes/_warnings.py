"""The category of every warning about a user's data, and how to give one."""

from __future__ import annotations

import sys
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .findings import Finding

_PACKAGE = __name__.partition(".")[0]


class GeometryWarning(UserWarning):
    """Usable data whose geometry, units or intensities are incomplete or contradict themselves.

    Attributes:
        finding: what it tells of, where that is on record.
    """

    def __init__(self, message: str = "", finding: Finding | None = None) -> None:
        super().__init__(message)
        self.finding = finding


def warn_geometry(message: str, finding: Finding | None = None) -> None:
    """Give a GeometryWarning at the line that called this package, however deep the reader is."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back
    warnings.warn(GeometryWarning(message, finding), stacklevel=level)
