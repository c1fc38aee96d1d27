"""From the words that DICOM stores to the values they mean: every step taken, or refused by its tag.

The steps (PS3.3 C.7.6.3, C.7.6.16.2.9, C.11.1; PS3.5 8.1.1), in order: decompression; the sample's bits
within its word (BitsStored, HighBit, PixelRepresentation); one grey channel of colour; padding; palette;
modality transformation (Modality LUT, or rescale slope and intercept).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from scipy import ndimage

from ..errors import InputError
from ._dicom_tables import LookupTable, describe, modality_table, palette_table
from ._dicom_words import (
    check_sign,
    decoded_words,
    one_channel,
    samples_of,
    unused_bits,
    whole_number,
)
from ._grid import decoding

AIR_HU = -1000.0
# What a CT says of itself when its values are no Hounsfield units (RescaleType, PS3.3 C.11.1.1.2).
_OTHER_UNITS = ("OD", "MGML", "Z_EFF", "ED", "EDW", "PCT")
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
# Between these a padding's value might be tissue as well.
_TISSUE_HU = (-950.0, 3071.0)
# No material reaches so many; -1 without its sign is 65535.
_UNSIGNED_HU = 32768


@dataclass(frozen=True, kw_only=True)
class PixelValues:
    """The values of one frame.

    Attributes:
        values: [H, W] float64, after every step.
        padded: [H, W] bool, where the file says that there is no data; None where it does not say so.
        rising: whether values grow with the stored ones; None where they do neither.
        linear: whether they are a multiple of the stored ones and a constant.
        table: the lookup table that was applied, empty if none was.
        notes: what to warn of.
    """

    values: NDArray[np.float64]
    padded: NDArray[np.bool_] | None
    rising: bool | None
    linear: bool
    table: str
    notes: tuple[str, ...]


def hounsfield_units(dataset: Dataset, where: str, frame: int = 0) -> tuple[NDArray[np.float32], list[str]]:
    """Hounsfield units [H, W] of one frame of a CT, and what to warn of.

    What PixelPaddingValue declares to be no data is air.

    Args:
        dataset: with its pixels.
        where: what messages call it.
        frame: counted from 0.

    Raises:
        InputError: a step that cannot be taken; values that are not in Hounsfield units.
    """
    with decoding(Path(where)):
        return _hounsfield_units(dataset, where, frame)


def _hounsfield_units(dataset: Dataset, where: str, frame: int) -> tuple[NDArray[np.float32], list[str]]:
    check_hounsfield(dataset, where, frame)
    pixels = read_pixels(dataset, where, frame=frame)
    notes = list(pixels.notes)
    sequence = dataset.get("ModalityLUTSequence")
    kind = str(sequence[0].get("ModalityLUTType", "")) if sequence else ""
    if pixels.table and sequence and not kind.startswith("HU"):
        notes.append(
            f"{describe('ModalityLUTType')} is {kind}; the table is taken to lead to Hounsfield units"
        )
    unit = str(_first(_places(dataset, frame), "RescaleType") or "")
    if not pixels.table and unit.upper() not in ("", "HU", "US"):
        notes.append(f"{describe('RescaleType')} is {unit}, not HU; values are taken for Hounsfield units")
    hu = pixels.values
    if pixels.padded is not None and pixels.padded.any():
        padded = pixels.padded
        low, high = _TISSUE_HU
        plausible = padded & (hu >= low) & (hu <= high)
        if plausible.any():
            # A value that tissue has as well is padding only where padding is put: around the image.
            outside = _touching_the_rim(padded)
            kept = plausible & ~outside
            padded = padded & ~kept
            if kept.any():
                notes.append(
                    f"{describe('PixelPaddingValue')} is a value that tissue has as well; where it does not"
                    " touch the image's rim it was left as it is"
                )
        hu = np.where(padded, AIR_HU, hu)
    if dataset.get("PixelRepresentation") == 0 and hu.max() >= _UNSIGNED_HU:
        raise InputError(
            f"{where} has values up to {hu.max():.0f} HU, as negative ones become without their sign:"
            f" correct {describe('PixelRepresentation')} from 0 to 1, or say by"
            f" {describe('PixelPaddingValue')} what is no data",
            code="ct.not-hounsfield",
        )
    with np.errstate(over="ignore"):  # who gathers the slices counts what is not finite
        return hu.astype(np.float32), notes


def has_pixels(dataset: Dataset) -> bool:
    """Tell whether there is an image, of whole numbers or others."""
    return any(name in dataset for name in PIXELS)


def check_hounsfield(dataset: Dataset, where: str, frame: int = 0) -> None:
    """Refuse headers whose values are not in Hounsfield units. Pixels are not needed.

    Raises:
        InputError: neither a Modality LUT nor RescaleSlope and RescaleIntercept, or a unit of another kind.
    """
    with decoding(Path(where)):
        _check_hounsfield(_places(dataset, frame), where)


def _check_hounsfield(places: list[Dataset], where: str) -> None:
    sequence = _first(places, "ModalityLUTSequence")
    slope, intercept = _number(places, "RescaleSlope", where), _number(places, "RescaleIntercept", where)
    if not sequence:
        missing = [
            describe(name)
            for name, value in (("RescaleSlope", slope), ("RescaleIntercept", intercept))
            if value is None
        ]
        if missing:
            raise InputError(
                f"{where} lacks {' and '.join(missing)}, and has no {describe('ModalityLUTSequence')}: its"
                " values have no relation to Hounsfield units; export the CT again, as the scanner made it",
                code="ct.not-hounsfield",
            )
    if sequence:
        unit, name = str(sequence[0].get("ModalityLUTType", "") or ""), "ModalityLUTType"
    else:
        unit, name = str(_first(places, "RescaleType") or ""), "RescaleType"
    if unit.upper() in _OTHER_UNITS:
        raise InputError(
            f"{where} holds no Hounsfield units: {describe(name)} is {unit}; give the CT's series in HU",
            code="ct.not-hounsfield",
        )


def read_pixels(dataset: Dataset, where: str, *, frame: int = 0, modality_lut: bool = True) -> PixelValues:
    """Values of one frame, after every step that the header asks for.

    Args:
        dataset: with its pixels.
        where: what messages call it.
        frame: counted from 0.
        modality_lut: whether ModalityLUTSequence is part of what pixels mean. It is not in X-ray
            angiography and fluoroscopy (PS3.3 C.8.7.1.1.2), where it leads to the beam's intensity.

    Raises:
        InputError: a step that cannot be taken; the message names the tag.
    """
    places = _places(dataset, frame)
    keyword = next((name for name in PIXELS if name in dataset), None)
    if keyword is None:
        raise InputError(f"{where} is a DICOM file without an image (no pixel data)", code="dicom.no-pixels")
    if keyword == "PixelData":
        words, colour = decoded_words(dataset, where, frame)
        samples, shifted = samples_of(words, dataset, where)
        grey = one_channel(samples, colour, dataset, where)
        words = words if words.ndim == 2 else words[..., 0]
        padded = _padded(places, grey, None if shifted or colour else words, dataset, where)
        notes = [*unused_bits(words, padded, dataset, where)]
        check_sign(grey, padded, dataset, where)
    else:
        grey, _ = decoded_words(dataset, where, frame)
        notes = []
        padded = _float_padding(places, grey, keyword, where)
    if grey.ndim != 2:
        raise InputError(
            f"{where} holds an array of shape {grey.shape}, not one grey image", code="dicom.wrong-shape"
        )

    values: NDArray[np.float64] = grey.astype(np.float64)
    known = grey if padded is None or padded.all() else grey[~padded]
    rising: bool | None = True
    linear, used = True, ""
    table = _table(places, dataset, where, modality_lut)
    if table is not None:
        used, entries = table
        if keyword != "PixelData":
            raise InputError(
                f"{where} has floating-point pixels and {used}, which do not go together",
                code="dicom.malformed-header",
            )
        rising, linear = entries.course(int(known.min()), int(known.max()))
        values = entries.apply(values)
    if not used.startswith("ModalityLUT"):
        slope = _number(places, "RescaleSlope", where)
        intercept = _number(places, "RescaleIntercept", where)
        if slope == 0:
            raise InputError(
                f"{where}: {describe('RescaleSlope')} is 0, which makes all pixels equal",
                code="dicom.malformed-header",
            )
        with np.errstate(over="ignore", invalid="ignore"):  # who needs finite pixels checks them
            values = values * (1.0 if slope is None else slope) + (intercept or 0.0)
        if slope is not None and slope < 0 and rising is not None:
            rising = not rising
    return PixelValues(
        values=values, padded=padded, rising=rising, linear=linear, table=used, notes=tuple(notes)
    )


def _table(
    places: list[Dataset], dataset: Dataset, where: str, modality_lut: bool
) -> tuple[str, LookupTable] | None:
    """The one table that leads from samples to values, and its name."""
    sequence = _first(places, "ModalityLUTSequence") if modality_lut else None
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        if sequence:
            raise InputError(
                f"{where} has a palette and {describe('ModalityLUTSequence')}, which do not go together",
                code="dicom.malformed-header",
            )
        return "the palette of PALETTE COLOR", palette_table(dataset, where)
    return (describe("ModalityLUTSequence"), modality_table(sequence, dataset, where)) if sequence else None


# Attributes ---------------------------------------------------------------------------------------------


def _places(dataset: Dataset, frame: int) -> list[Dataset]:
    """Where attributes of a frame may be: its functional groups, the shared ones, the dataset itself."""
    places = []
    for keyword, index in (
        ("PerFrameFunctionalGroupsSequence", frame),
        ("SharedFunctionalGroupsSequence", 0),
    ):
        groups = dataset.get(keyword)
        if groups and len(groups) > index:
            macro = groups[index].get("PixelValueTransformationSequence")
            places += list(macro or [])[:1]
    return [*places, dataset]


def _first(places: list[Dataset], keyword: str) -> Any:
    found = (place.get(keyword) for place in places)
    return next((value for value in found if value is not None and value != ""), None)


def _number(places: list[Dataset], keyword: str, where: str) -> float | None:
    value = _first(places, keyword)
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(
            f"{where} has a malformed {describe(keyword)}: {value}, not one number",
            code="dicom.malformed-header",
        ) from error
    if not np.isfinite(number):
        raise InputError(
            f"{where} has a malformed {describe(keyword)}: {value}, not a finite number",
            code="dicom.malformed-header",
        )
    return number


# Padding ------------------------------------------------------------------------------------------------


def _padded(
    places: list[Dataset],
    samples: NDArray[Any],
    words: NDArray[Any] | None,
    dataset: Dataset,
    where: str,
) -> NDArray[np.bool_] | None:
    """Where samples are PixelPaddingValue, or between it and PixelPaddingRangeLimit (PS3.3 C.7.5.1.1.2).

    Devices write the padding with or without its sign, whatever the pixels have, and beyond BitsStored: it is
    then compared with whole words.
    """
    first = _padding_number(places[-1], "PixelPaddingValue", where)
    if first is None:
        return None
    last = _padding_number(places[-1], "PixelPaddingRangeLimit", where)
    low, high = sorted((first, first if last is None else last))
    signed = dataset.get("PixelRepresentation") == 1
    size = 1 << whole_number(dataset, "BitsStored", where)
    lowest, highest = (-size // 2, size // 2 - 1) if signed else (0, size - 1)
    if lowest <= low and high <= highest and (high - low) < size // 2:
        return (samples >= low) & (samples <= high)
    if words is None:  # the samples were moved within their words: the padding speaks of samples
        wrapped, whole = samples, size
    else:
        wrapped, whole = words, 1 << (8 * words.dtype.itemsize)
    as_signed = _signed(wrapped.astype(np.int64), whole)
    low, high = sorted(int(_signed(np.int64(value), whole)) for value in (low, high))
    return (as_signed >= low) & (as_signed <= high)


def _signed(values: Any, size: int) -> Any:
    """Whole numbers as two's complement of log2(size) bits."""
    return (values + size // 2) % size - size // 2


def _padding_number(dataset: Dataset, keyword: str, where: str) -> int | None:
    value = dataset.get(keyword)
    if isinstance(value, MultiValue) and len(value) >= 1:
        value = value[0]
    if value is None or value == "":
        return None
    if isinstance(value, bytes) and len(value) == 2:  # of a VR that does not fit: OW, UN
        value = int.from_bytes(value, "little")
    if not isinstance(value, int):
        raise InputError(
            f"{where} has a malformed {describe(keyword)}: {value!r}, not one whole number",
            code="dicom.malformed-header",
        )
    return int(value)


def _float_padding(
    places: list[Dataset], values: NDArray[Any], keyword: str, where: str
) -> NDArray[np.bool_] | None:
    """Return where floating-point pixels are their padding (PS3.3 C.7.6.24, C.7.6.25)."""
    stem = keyword.removesuffix("PixelData")
    dataset = places[-1:]
    first = _number(dataset, f"{stem}PixelPaddingValue", where)
    if first is None:
        return None
    last = _number(dataset, f"{stem}PixelPaddingRangeLimit", where)
    low, high = sorted((first, first if last is None else last))
    return np.asarray((values >= low) & (values <= high))


def without_specks(region: NDArray[np.bool_], smallest_px: int) -> NDArray[np.bool_]:
    """The connected parts of a region that reach the image's rim or have so many pixels."""
    labels, count = ndimage.label(region)
    large = np.bincount(labels.ravel(), minlength=count + 1) >= smallest_px
    large[0] = False
    return np.asarray(large[labels] | _touching_the_rim(region))


def _touching_the_rim(region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of a region that reach the image's rim."""
    labels, _ = ndimage.label(region)
    rim = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    return np.isin(labels, rim[rim > 0])
