"""X-rays in DICOM: pixels and what the header says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError

from ..errors import InputError
from ._bounds import read_dicom
from ._dicom_header import DicomHeader
from ._dicom_pixels import PixelValues, has_pixels, read_pixels, without_specks
from ._dicom_tables import describe
from ._grid import DECODER_ERRORS, decoding
from ._projections import FLUOROSCOPY, RADIOGRAPHY, check_projection, is_rt_image, modality_lut_applies
from ._reading import FileReading, frame_index
from ._rt_image import RTGeometry
from ._shutters import openings

# Padding is put around images; a few single pixels inside have its value by chance [px].
_SPECK_PX = 25
# An image with less than this left by its padding is not believed to be padded.
_LEAST_LEFT = 0.1


def read_dicom_xray(path: Path, frame: int | None) -> FileReading:
    """An X-ray in DICOM, also without the preamble that a file should begin with.

    Raises:
        InputError: no DICOM, no projection, or pixels that cannot be read.
        UsageError: `frame` does not exist in the file.
    """
    with decoding(path, " as DICOM"):
        try:
            dataset: pydicom.Dataset = read_dicom(path)
        except InvalidDicomError as error:
            dataset = _without_preamble(path, error)
        return reading_of(path, dataset, frame)


def _without_preamble(path: Path, error: InvalidDicomError) -> pydicom.Dataset:
    """A file that lacks the preamble and `DICM` but holds an image, as old archives wrote them."""
    refusal = InputError(
        f"{path} is not an X-ray this program reads: DICOM, or PNG, TIFF, NIfTI, MetaImage or NRRD"
        " with a JSON sidecar",
        code="xray.unknown-format",
    )
    try:
        dataset = read_dicom(path, force=True)
        rows, columns = dataset.get("Rows"), dataset.get("Columns")
    except DECODER_ERRORS:
        raise refusal from error
    if not (isinstance(rows, int) and isinstance(columns, int) and has_pixels(dataset)):
        raise refusal from error
    return dataset


def reading_of(path: Path, dataset: pydicom.Dataset, frame: int | None) -> FileReading:
    """One frame of a data set with its pixels; the middle one when None.

    Raises:
        InputError: no projection, no image, or one that cannot be read.
        UsageError: `frame` does not exist.
    """
    notes = check_projection(path, dataset)
    if not has_pixels(dataset):
        raise InputError(f"{path} is a DICOM file without an image (no pixel data)", code="dicom.no-pixels")
    frames = int(dataset.get("NumberOfFrames") or 1)
    index = frame_index(path, frames, frame)
    header = _XRayHeader(dataset, index)
    values: dict[str, Any] = {}
    provenance: dict[str, str] = {}
    problems: dict[str, str] = {}
    try:
        if is_rt_image(dataset):
            rt = RTGeometry(dataset, str(path))
            values, provenance, problems = rt.values, rt.provenance, rt.problems
            notes += rt.notes
        pixels = read_pixels(dataset, str(path), frame=index, modality_lut=modality_lut_applies(dataset))
        relation = header.beam_relation(str(dataset.get("Modality", "")), pixels)
        spacing = header.pair("ImagerPixelSpacing") or header.pair("PixelSpacing")
    except InputError:
        raise
    except ValueError as error:
        raise InputError(
            f"{path} has a malformed DICOM header: {error}", code="xray.malformed-header"
        ) from error
    for name, (value, source) in relation.items():
        values[name], provenance[name] = value, source
    if pixels.table:
        provenance["pixels"] = f"through {pixels.table}"
    excluded, sources, said = _excluded(pixels, header, values.get("pixel_spacing_mm", spacing))
    notes += said
    if sources:
        provenance["exclude"] = ", ".join(sources)
    notes += pixels.notes
    if frames > 1:
        chosen = "`frame`" if frame is not None else "the middle one"
        values["frame"], provenance["frame"] = index, f"frame {index} of {frames} ({chosen})"
    with np.errstate(over="ignore"):  # who needs finite pixels checks them
        return FileReading(
            pixels=pixels.values.astype(np.float32),
            values=values,
            provenance=provenance,
            problems=problems,
            doubts=_lost_in_the_table(header, pixels),
            notes=tuple(notes),
            excluded=excluded,
            header=header,
        )


def _lost_in_the_table(header: _XRayHeader, pixels: PixelValues) -> dict[str, str]:
    """Return what the header says of stored pixels that no longer holds after a table, by option."""
    doubts = {}
    for name, keyword, lost, shape in (
        ("pixel_scale", "PixelIntensityRelationship", not pixels.linear, "a line"),
        ("polarity", "PixelIntensityRelationshipSign", pixels.rising is None, "rising or falling all along"),
    ):
        if lost and header.get(keyword) is not None:
            doubts[name] = (
                f"{describe(keyword)} is about stored pixels, but they went through {pixels.table}, which is"
                f" not {shape}"
            )
    return doubts


def _excluded(
    pixels: PixelValues, header: _XRayHeader, spacing: tuple[float, float] | None
) -> tuple[NDArray[np.bool_] | None, list[str], list[str]]:
    """Pixels that are no image, which attributes say so, and what to warn of."""
    shape = (pixels.values.shape[0], pixels.values.shape[1])
    opened, sources, notes = openings(header.get, shape, spacing)
    excluded = np.zeros(shape, dtype=bool) if opened is None else ~opened
    if pixels.padded is not None and pixels.padded.any():
        padding = without_specks(pixels.padded, _SPECK_PX)
        if 1 - padding.mean() < _LEAST_LEFT:
            notes.append(
                f"{describe('PixelPaddingValue')} would leave {1 - padding.mean():.1%} of the image and is"
                " not used; `exclude` IMAGE leaves pixels out"
            )
        elif padding.any():
            excluded |= padding
            sources.append(describe("PixelPaddingValue"))
    if 1 - excluded.mean() < _LEAST_LEFT:
        notes.append(
            f"{' and '.join(sources)} together would leave {1 - excluded.mean():.1%} of the image and are not"
            " used; `exclude` IMAGE leaves pixels out"
        )
        return None, [], notes
    return (excluded if excluded.any() else None), sources, notes


class _XRayHeader(DicomHeader):
    """What the header says about the meaning of the pixels."""

    def beam_relation(self, modality: str, pixels: PixelValues) -> dict[str, tuple[str, str]]:
        """Polarity and pixel scale with their sources; absent where the header does not tell.

        PS3.3 C.8.11.3.1.2: the relationship says whether stored pixels follow the beam or its logarithm, the
        sign whether they grow with it; a falling rescale slope or table turns it around. The photometric
        interpretation is about what is displayed: in radiography that is what comes out of the table or slope
        (PS3.4 N.2), in fluoroscopy what is stored.
        """
        relationship = self.get("PixelIntensityRelationship")
        sign = self.number("PixelIntensityRelationshipSign")
        photometric = self.get("PhotometricInterpretation")
        found: dict[str, tuple[str, str]] = {}
        # A display curve is close to linear in film density, that is in the logarithm of the exposure.
        scale = {"LIN": "linear", "LOG": "log", "DISP": "log"}.get(str(relationship))
        if scale is not None and pixels.linear:
            found["pixel_scale"] = (scale, f"{describe('PixelIntensityRelationship')} {relationship}")

        rising, fluoroscopy = pixels.rising, modality in FLUOROSCOPY
        if sign and rising is not None:
            bright, source = sign > 0, f"{describe('PixelIntensityRelationshipSign')} {sign:+.0f}"
        elif relationship == "LIN" and rising is not None:
            bright, source = True, f"{describe('PixelIntensityRelationship')} LIN"
        elif modality in (*RADIOGRAPHY, *FLUOROSCOPY) and photometric in ("MONOCHROME1", "MONOCHROME2"):
            bright = (photometric == "MONOCHROME2") == fluoroscopy
            convention = "fluoroscopy" if fluoroscopy else "radiograph"
            source = f"{describe('PhotometricInterpretation')} {photometric} of a {modality} {convention}"
            if not fluoroscopy:
                rising = True
        else:
            return found
        found["polarity"] = ("bright_air" if bright == (rising is not False) else "dark_air", source)
        return found
