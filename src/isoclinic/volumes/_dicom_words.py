"""The samples of DICOM images: decompressed, cut out of their words, and of one grey channel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGExtended12Bit,
    RLELossless,
)

from ..errors import InputError
from ._dicom_tables import describe
from ._grid import DECODER_ERRORS

# Their words are stored as they are; JPEG and its kin store samples, wherever they lay in a word.
_WORDS = (
    *(ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian),
    *(DeflatedExplicitVRLittleEndian, RLELossless),
)
# Share of all pixels that are mostly so.
_MOSTLY = 0.9
# Steps between neighbours of more than this share of the range are wrapped numbers, ...
_WRAP = 0.9
# ... if there are so many of them, of samples with at least so many bits (drawings have fewer).
_FEWEST_WRAPS = 20
_MOST_WRAPS = 1e-3
_BITS_OF_SIGNALS = 10
# The middle of the range, which is its ends by the other sign.
_MIDDLE = (0.45, 0.55)
# Levels by which the channels of a grey picture may differ after lossy compression.
_LOSSY_LEVELS = 2


def decoded_words(dataset: Dataset, where: str, frame: int) -> tuple[NDArray[Any], str]:
    """Words as they were stored, [H, W] or [H, W, channels], and how several channels are meant."""
    syntax = transfer_syntax(dataset)
    try:
        if syntax == JPEGExtended12Bit and dataset.get("BitsStored") not in (None, 8):
            return _jpeg_of_12_bits(dataset, where, frame), ""
        pixels, properties = get_decoder(syntax).as_array(
            dataset,
            index=frame,
            raw=True,
            correct_unused_bits=syntax not in _WORDS,  # type: ignore[arg-type]  # pydicom's annotation is off
        )
    except DECODER_ERRORS as error:
        raise InputError(
            f"the pixels of {where} cannot be decoded from {syntax.name} ({error}); copy or export the "
            "file again",
            code="dicom.undecodable",
        ) from error
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    channels = int(properties.get("samples_per_pixel", 1))
    return pixels, str(properties.get("photometric_interpretation", "")) if channels > 1 else ""


def transfer_syntax(dataset: Dataset) -> UID:
    """How a data set is encoded; what its file does not say follows from how it was read."""
    meta = getattr(dataset, "file_meta", None)
    if meta is not None and meta.get("TransferSyntaxUID"):
        return UID(meta.TransferSyntaxUID)
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little in (None, True) else ExplicitVRBigEndian


def _jpeg_of_12_bits(dataset: Dataset, where: str, frame: int) -> NDArray[Any]:
    """GDCM decodes it, though pydicom does not hand it over: exact against DCMTK and dcm4che."""
    import gdcm

    bits, allocated = dataset.get("BitsStored"), dataset.get("BitsAllocated")
    if bits != 12 or allocated != 16 or dataset.get("SamplesPerPixel", 1) != 1:
        raise InputError(
            f"{where} is JPEG Extended with {describe('BitsStored')} {bits} in {allocated} bits; 12 in 16 are"
            " read: decompress it first (gdcmconv --raw, dcmdjpeg)",
            code="dicom.malformed-pixels",
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    fragment = gdcm.Fragment()
    fragment.SetByteStringValue(get_frame(dataset.PixelData, frame, number_of_frames=frames))
    fragments = gdcm.SequenceOfFragments.New()
    fragments.AddFragment(fragment)
    element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
    element.SetValue(fragments.__ref__())
    image = gdcm.Image()
    image.SetNumberOfDimensions(2)
    image.SetDimensions((int(dataset.Columns), int(dataset.Rows), 1))
    image.SetDataElement(element)
    grey = gdcm.PhotometricInterpretation(gdcm.PhotometricInterpretation.MONOCHROME2)
    image.SetPhotometricInterpretation(grey)
    image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.JPEGExtendedProcess2_4))
    image.SetPixelFormat(gdcm.PixelFormat(1, 16, 12, 11, int(dataset.get("PixelRepresentation") or 0)))
    buffer = image.GetBuffer().encode("utf-8", "surrogateescape")
    words = np.frombuffer(buffer, dtype="<u2")
    if words.size < dataset.Rows * dataset.Columns:
        raise ValueError("the JPEG stream ends early")
    words = words[: dataset.Rows * dataset.Columns].reshape(dataset.Rows, dataset.Columns) & 0xFFF
    return (words.astype(np.int16) ^ 0x800) - 0x800 if dataset.get("PixelRepresentation") == 1 else words


def samples_of(words: NDArray[Any], dataset: Dataset, where: str) -> tuple[NDArray[Any], bool]:
    """The samples in the words, and whether they did not lie in the words' lowest bits (PS3.5 8.1.1)."""
    allocated = whole_number(dataset, "BitsAllocated", where)
    stored = whole_number(dataset, "BitsStored", where)
    high = stored - 1 if dataset.get("HighBit") is None else whole_number(dataset, "HighBit", where)
    if allocated == 1:  # unpacked to a byte each
        return words, False
    if not 1 <= stored <= allocated or not stored - 1 <= high < allocated:
        raise InputError(
            f"{where}: {describe('BitsAllocated')} {allocated}, {describe('BitsStored')} {stored} and"
            f" {describe('HighBit')} {high} contradict each other; HighBit is mostly BitsStored - 1:"
            " correct the tag, or export the image again",
            code="dicom.malformed-header",
        )
    shift = high + 1 - stored
    as_words = transfer_syntax(dataset) in _WORDS
    if shift and not as_words:
        raise InputError(
            f"{where} is compressed and its {describe('HighBit')} {high} is not {describe('BitsStored')}"
            f" {stored} - 1, so that where its samples lie is unclear; export the image without compression,"
            f" or correct HighBit to {stored - 1} if the samples are in the lower bits",
            code="dicom.malformed-pixels",
        )
    if not as_words or (stored == allocated and words.dtype.itemsize * 8 == allocated):
        return words, False
    unsigned = words.view(f"u{words.dtype.itemsize}")
    if shift and not (unsigned >> stored).any() and (unsigned & ((1 << shift) - 1)).any():
        raise InputError(
            f"{where}: {describe('HighBit')} {high} puts the {stored} bits of a sample into the upper part of"
            f" its word, but only the lower part is used; correct HighBit to {stored - 1}",
            code="dicom.malformed-pixels",
        )
    samples = (unsigned >> shift) & unsigned.dtype.type((1 << stored) - 1)
    if dataset.get("PixelRepresentation") == 1:
        sign = 1 << (stored - 1)
        samples = (samples.astype(np.int64) ^ sign) - sign
    return samples, bool(shift)


def unused_bits(
    words: NDArray[Any], padded: NDArray[np.bool_] | None, dataset: Dataset, where: str
) -> list[str]:
    """Return what to warn of where words hold something outside of their samples' bits.

    Older DICOM put overlays there (PS3.5 8.1.2 of 2004), and negative samples continue their sign.

    Raises:
        InputError: what is there is the sign of negative numbers, but samples have none.
    """
    stored = whole_number(dataset, "BitsStored", where)
    bits = 8 * words.dtype.itemsize
    if transfer_syntax(dataset) not in _WORDS or stored >= bits or dataset.get("BitsAllocated") == 1:
        return []
    high = stored - 1 if dataset.get("HighBit") is None else whole_number(dataset, "HighBit", where)
    unsigned = words.view(f"u{words.dtype.itemsize}")
    if padded is not None:
        unsigned = unsigned[~padded]
    above = unsigned >> (high + 1) if high + 1 < bits else np.zeros_like(unsigned)
    ones = above == (1 << (bits - high - 1)) - 1 if high + 1 < bits else above > 0
    if dataset.get("PixelRepresentation") == 1:
        ones &= (unsigned >> high) & 1 == 1
        others = bool(((above > 0) & ~ones).any())
    else:
        others = bool((above > 0).any())
        # Negative numbers, unlike overlays, are one number (padding) or continue the sample's highest bit.
        negative = (unsigned[ones] >> (high + 1 - stored)) & ((1 << stored) - 1)
        if negative.size and not _has_overlay_in_words(dataset):
            high_bit = (negative >> (stored - 1)).mean()
            if high_bit > _MOSTLY or np.all(negative == negative[0]):
                raise InputError(
                    f"{where} has {negative.size} pixels that are negative in {bits} bits, but"
                    f" {describe('PixelRepresentation')} 0 has no sign and {describe('BitsStored')} {stored}"
                    f" no room: correct them, or say by {describe('PixelPaddingValue')} what is no data",
                    code="dicom.malformed-pixels",
                )
    if not others or _has_overlay_in_words(dataset):
        return []
    return [
        f"words have something above their {stored} bits ({describe('BitsStored')}), which was cut off as"
        " older overlays are; if it belongs to the pixels, correct BitsStored and HighBit"
    ]


def _has_overlay_in_words(dataset: Dataset) -> bool:
    """Tell whether a group 60xx says that its overlay lies in the pixels' words (OverlayBitPosition)."""
    groups = range(0x6000, 0x6020, 2)
    return any((group, 0x0102) in dataset and (group, 0x3000) not in dataset for group in groups)


def check_sign(samples: NDArray[Any], padded: NDArray[np.bool_] | None, dataset: Dataset, where: str) -> None:
    """Refuse samples that are smooth only with the other PixelRepresentation.

    Neighbours then often lie at opposite ends of the range, without being its very ends as black and white
    text is, and nothing lies in its middle, as something does where collimators or implants have sharp edges.

    Raises:
        InputError: PixelRepresentation is wrong.
    """
    stored = whole_number(dataset, "BitsStored", where)
    if stored < _BITS_OF_SIGNALS or samples.ndim != 2:
        return
    signed = dataset.get("PixelRepresentation") == 1
    lowest = -(1 << (stored - 1)) if signed else 0
    unit = (samples.astype(np.float64) - lowest) / ((1 << stored) - 1)
    inner = (unit > 0) & (unit < 1)
    if padded is not None:
        inner &= ~padded
    low, high = _MIDDLE
    if (inner & (unit > low) & (unit < high)).any():
        return
    wraps = (np.abs(np.diff(unit, axis=1)) > _WRAP) & inner[:, 1:] & inner[:, :-1]
    if wraps.sum() >= _FEWEST_WRAPS and wraps.mean() > _MOST_WRAPS:
        raise InputError(
            f"{where} has pixels that jump from one end of their range to the other between neighbours"
            f" ({wraps.mean():.1%}), as they do where {describe('PixelRepresentation')} {int(signed)} is"
            f" wrong: correct it to {int(not signed)}",
            code="dicom.malformed-pixels",
        )


def whole_number(dataset: Dataset, keyword: str, where: str) -> int:
    """An attribute that must be there and be one whole number."""
    value = dataset.get(keyword)
    if not isinstance(value, int):
        raise InputError(
            f"{where} has no {describe(keyword)}, or a malformed one: {value}", code="dicom.malformed-pixels"
        )
    return int(value)


def one_channel(samples: NDArray[Any], colour: str, dataset: Dataset, where: str) -> NDArray[Any]:
    """The grey image in RGB of equal channels, or in YBR without colour."""
    if samples.ndim == 2:
        return samples
    lossy = transfer_syntax(dataset) not in _WORDS
    tolerance = _LOSSY_LEVELS if lossy else 0
    levels = samples.astype(np.int64)
    if samples.ndim == 3 and samples.shape[-1] == 3 and colour.startswith("YBR"):
        neutral = 1 << (int(dataset.BitsStored) - 1)  # PS3.3 C.7.6.3.1.2: of both colour differences
        grey = bool((np.abs(levels[..., 1:] - neutral) <= tolerance).all())
        channel = 0
    elif samples.ndim == 3 and samples.shape[-1] in (3, 4):
        grey = bool((np.ptp(levels[..., :3], axis=-1) <= tolerance).all())
        channel = 1
    else:
        raise InputError(
            f"{where} holds an array of shape {samples.shape}, not one grey image", code="dicom.wrong-shape"
        )
    if not grey:
        raise InputError(
            f"{where} is a colour image ({describe('PhotometricInterpretation')} {colour}, and its channels"
            " differ); convert it to one grey channel",
            code="xray.colour",
        )
    return samples[..., channel]
