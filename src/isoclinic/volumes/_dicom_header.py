"""Attributes of one DICOM image, wherever its object keeps them."""

from __future__ import annotations

import math

import pydicom
from pydicom.multival import MultiValue

from ._dicom_files import FrameHeader

# What several values come as, by their type.
_SEVERAL = (MultiValue, list, tuple)


class DicomHeader(FrameHeader):
    """Attributes of one frame as words and numbers.

    Args:
        dataset: the object.
        frame: index of the frame.
    """

    def __init__(self, dataset: pydicom.Dataset, frame: int = 0) -> None:
        super().__init__(dataset, frame)
        self.frame = frame
        self.malformed: dict[str, str] = {}

    def text(self, keyword: str) -> str:
        """Return the attribute as one word, empty if it is missing; the first one of several."""
        value = self.get(keyword)
        if isinstance(value, _SEVERAL):
            value = next(iter(value), None)
        return "" if value is None else str(value).strip()

    def number(self, keyword: str) -> float | None:
        """Return the attribute as one number; None if it is missing or has several.

        Raises:
            ValueError: it is no number.
        """
        value = self.get(keyword)
        return None if value is None or isinstance(value, _SEVERAL) else float(value)

    def pair(self, keyword: str) -> tuple[float, float] | None:
        """Return the attribute as two numbers; None if it is missing or has not two.

        Raises:
            ValueError: they are no numbers.
        """
        value = self.get(keyword)
        if not isinstance(value, _SEVERAL) or len(value) != 2:
            return None
        return float(value[0]), float(value[1])

    def lengths(self, keyword: str) -> tuple[float, ...]:
        """Return the attribute's numbers if all are positive and finite, else an empty tuple.

        Devices without a sensor write zeros, which say as little as a missing attribute. What is no number
        is noted in `malformed`.
        """
        numbers = self.numbers(keyword)
        return numbers if all(math.isfinite(each) and each > 0 for each in numbers) else ()

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """The attribute's numbers, none where it is missing; what is no number is noted in `malformed`."""
        try:
            value = self.get(keyword)
            values = value if isinstance(value, _SEVERAL) else () if value is None else (value,)
            return tuple(float(each) for each in values)
        except (TypeError, ValueError) as error:
            self.malformed[keyword] = str(error)
            return ()

    def one_length(self, keyword: str) -> float | None:
        """Return the one length of an attribute; see `lengths`."""
        found = self.lengths(keyword)
        return found[0] if len(found) == 1 else None

    def two_lengths(self, keyword: str) -> tuple[float, float] | None:
        """Return the two lengths of an attribute, or its one for both; see `lengths`."""
        found = self.lengths(keyword)
        return (found[0], found[-1]) if len(found) in (1, 2) else None
