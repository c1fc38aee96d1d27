"""Lookup tables of DICOM: the Modality LUT and palettes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut
from pydicom.tag import Tag

from ..errors import InputError
from ._grid import DECODER_ERRORS

_COLOURS = ("Red", "Green", "Blue")


def describe(keyword: str) -> str:
    """Keyword and number of an attribute, as messages name it."""
    tag = Tag(keyword)
    return f"{keyword} ({tag.group:04x},{tag.element:04x})"


@dataclass(frozen=True, kw_only=True)
class LookupTable:
    """Entries [N] for the values from `first` on; values beyond take the nearest entry (PS3.3 C.11.1.1.1)."""

    first: int
    entries: NDArray[np.int64]

    def apply(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Entries of whole numbers of any shape."""
        index = np.clip(values.astype(np.int64) - self.first, 0, self.entries.size - 1)
        return self.entries[index].astype(np.float64)

    def course(self, low: int, high: int) -> tuple[bool | None, bool]:
        """Tell whether entries rise between two values (None: they neither rise nor fall), and are a line."""
        start, end = np.clip(np.array([low, high]) - self.first, 0, self.entries.size - 1)
        steps = np.diff(self.entries[start : end + 1])
        rising = True if np.all(steps >= 0) else False if np.all(steps <= 0) else None
        return rising, bool(np.all(steps == steps[:1]))


def modality_table(sequence: Any, dataset: Dataset, where: str) -> LookupTable:
    """The table of ModalityLUTSequence (PS3.3 C.11.1.1.1).

    Entries of 16 bits are two's complement in a CT, or where their type is HU: there is no other way below 0.

    Raises:
        InputError: a table whose descriptor and data do not fit.
    """
    item, name = sequence[0], describe("ModalityLUTSequence")
    count, first, bits = _descriptor(item, "LUTDescriptor", dataset, f"{where}: the table of {name}")
    entries = _entries(item.get("LUTData"), count, bits, dataset, f"{where}: the table of {name}")
    if bits == 16 and (
        str(item.get("ModalityLUTType", "")).startswith("HU") or dataset.get("Modality") == "CT"
    ):
        entries = (entries ^ 0x8000) - 0x8000
    return LookupTable(first=first, entries=entries)


def palette_table(dataset: Dataset, where: str) -> LookupTable:
    """The one grey table of three palettes that are equal (PS3.3 C.7.6.3.1.5, C.7.9).

    Raises:
        InputError: palettes that differ, so that the image is coloured, or that do not fit their descriptors.
    """
    name = "the palette of PALETTE COLOR"
    try:
        tables = [_palette(dataset, colour, f"{where}: {name}") for colour in _COLOURS]
    except InputError:
        raise
    except DECODER_ERRORS as error:
        raise InputError(f"{where}: {name} cannot be read: {error}", code="dicom.unreadable") from error
    if any(not np.array_equal(tables[0].entries, other.entries) for other in tables[1:]):
        raise InputError(
            f"{where} is a colour image ({describe('PhotometricInterpretation')} PALETTE COLOR, and the red,"
            " green and blue palettes differ); convert it to one grey channel",
            code="xray.colour",
        )
    return tables[0]


def _palette(dataset: Dataset, colour: str, what: str) -> LookupTable:
    keyword = f"{colour}PaletteColorLookupTable"
    if f"{keyword}Descriptor" not in dataset:
        raise InputError(
            f"{what} is missing ({describe(f'{keyword}Descriptor')}); export the image again",
            code="dicom.malformed-header",
        )
    count, first, bits = _descriptor(dataset, f"{keyword}Descriptor", dataset, what)
    if f"{keyword}Data" in dataset:
        return LookupTable(
            first=first, entries=_entries(dataset[f"{keyword}Data"].value, count, bits, dataset, what)
        )
    if f"Segmented{keyword}Data" not in dataset:
        raise InputError(
            f"{what} is missing ({describe(f'{keyword}Data')}); export the image again",
            code="dicom.malformed-header",
        )
    if bits == 8 and count > 256:  # pydicom would count entries in 8 bits
        raise InputError(
            f"{what} is segmented with {count} entries of 8 bits, which is not supported",
            code="dicom.malformed-header",
        )
    stored = np.arange(first, first + count, dtype=np.int64)
    channel = _COLOURS.index(colour)
    return LookupTable(first=first, entries=apply_color_lut(stored, dataset)[:, channel].astype(np.int64))


def _descriptor(item: Dataset, keyword: str, dataset: Dataset, what: str) -> tuple[int, int, int]:
    """Number of entries, the value that the first is for, and bits of an entry."""
    value = item.get(keyword)
    try:
        count, first, bits = (int(number) for number in value)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{what} has a malformed {describe(keyword)}: {value}, not three numbers",
            code="dicom.malformed-header",
        ) from error
    count %= 1 << 16
    first %= 1 << 16
    if dataset.get("PixelRepresentation") == 1 and first >= 1 << 15:
        first -= 1 << 16  # the first value is as signed as the pixels
    if not 8 <= bits <= 16:
        raise InputError(
            f"{what} has a malformed {describe(keyword)}: entries of {bits} bits, not of 8 to 16",
            code="dicom.malformed-header",
        )
    return count or 1 << 16, first, bits


def _entries(data: Any, count: int, bits: int, dataset: Dataset, what: str) -> NDArray[np.int64]:
    """Entries of a table, which come as numbers, as words, or as bytes where 8 bits are enough."""
    little = getattr(dataset, "original_encoding", (None, None))[1] is not False
    if isinstance(data, (bytes, bytearray)):
        if len(data) >= 2 * count:
            entries = np.frombuffer(data, dtype="<u2" if little else ">u2", count=count)
        elif bits == 8 and len(data) >= count:
            entries = np.frombuffer(data, dtype=np.uint8)
            if not little:  # bytes of a word change places
                entries = entries[: entries.size // 2 * 2].reshape(-1, 2)[:, ::-1].ravel()
            entries = entries[:count]
        else:
            raise InputError(
                f"{what} has {len(data)} bytes for {count} entries of {bits} bits; export it again",
                code="dicom.malformed-header",
            )
    else:
        numbers = np.atleast_1d(np.asarray([] if data is None else data))
        if numbers.size < count or numbers.dtype.kind not in "iu":
            raise InputError(
                f"{what} has {numbers.size} entries, not the {count} it announces; export it again",
                code="dicom.malformed-header",
            )
        entries = numbers[:count]
    return entries.astype(np.int64)
