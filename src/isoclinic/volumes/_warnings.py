"""The category of every warning about a user's data."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .findings import Finding


class GeometryWarning(UserWarning):
    """Usable data whose geometry, units or intensities are incomplete or contradict themselves.

    Attributes:
        finding: what it tells of, where that is on record.
    """

    def __init__(self, message: str = "", finding: Finding | None = None) -> None:
        super().__init__(message)
        self.finding = finding
