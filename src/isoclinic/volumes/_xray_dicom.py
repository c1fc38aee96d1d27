"""X-rays in DICOM: pixels and what the header says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue

from ..errors import InputError
from ._dicom_pixels import PixelValues, has_pixels, read_pixels, without_specks
from ._dicom_tables import describe
from ._grid import DECODER_ERRORS, decoding
from ._projections import FLUOROSCOPY, RADIOGRAPHY, check_projection, is_rt_image, modality_lut_applies
from ._reading import Reading, frame_index
from ._rt_image import RTGeometry
from ._shutters import openings

# Padding is put around images; a few single pixels inside have its value by chance [px].
_SPECK_PX = 25
# An image with less than this left by its padding is not believed to be padded.
_LEAST_LEFT = 0.1


def read_dicom_xray(path: Path, frame: int | None) -> Reading:
    """An X-ray in DICOM, also without the preamble that a file should begin with.

    Raises:
        InputError: no DICOM, no projection, or pixels that cannot be read.
        UsageError: `frame` does not exist in the file.
    """
    with decoding(path, " as DICOM"):
        try:
            dataset: pydicom.Dataset = pydicom.dcmread(path)
        except InvalidDicomError as error:
            dataset = _without_preamble(path, error)
        return _from_dataset(path, dataset, frame)


def _without_preamble(path: Path, error: InvalidDicomError) -> pydicom.Dataset:
    """A file that lacks the preamble and `DICM` but holds an image, as old archives wrote them."""
    refusal = InputError(
        f"{path} is not an X-ray this program reads: DICOM, or PNG, TIFF, NIfTI, MetaImage or NRRD"
        " with a JSON sidecar"
    )
    try:
        dataset = pydicom.dcmread(path, force=True)
        rows, columns = dataset.get("Rows"), dataset.get("Columns")
    except DECODER_ERRORS:
        raise refusal from error
    if not (isinstance(rows, int) and isinstance(columns, int) and has_pixels(dataset)):
        raise refusal from error
    return dataset


def _from_dataset(path: Path, dataset: pydicom.Dataset, frame: int | None) -> Reading:
    notes = check_projection(path, dataset)
    if not has_pixels(dataset):
        raise InputError(f"{path} is DICOM without an image (no pixel data)")
    frames = int(dataset.get("NumberOfFrames") or 1)
    index = frame_index(path, frames, frame)
    header = _DicomHeader(dataset, index)
    doubts: dict[str, str] = {}
    try:
        if is_rt_image(dataset):
            rt = RTGeometry(dataset, str(path))
            values, provenance, problems = rt.values, rt.provenance, rt.problems
            notes += rt.notes
        else:
            values, provenance, problems, doubts = header.geometry()
        pixels = read_pixels(dataset, str(path), frame=index, modality_lut=modality_lut_applies(dataset))
        relation = header.beam_relation(str(dataset.get("Modality", "")), pixels)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} has a malformed DICOM header: {error}") from error
    for name, (value, source) in relation.items():
        values[name], provenance[name] = value, source
    if pixels.table:
        provenance["pixels"] = f"through {pixels.table}"
    doubts.update(_lost_in_the_table(header, pixels))
    excluded, sources, said = _excluded(pixels, header, values.get("pixel_spacing_mm"))
    notes += said
    if sources:
        provenance["exclude"] = ", ".join(sources)
    notes += pixels.notes
    if frames > 1:
        chosen = "--frame" if frame is not None else "the middle one"
        values["frame"], provenance["frame"] = index, f"frame {index} of {frames} ({chosen})"
    with np.errstate(over="ignore"):  # who needs finite pixels checks them
        return Reading(
            pixels=pixels.values.astype(np.float32),
            values=values,
            provenance=provenance,
            problems=problems,
            doubts=doubts,
            notes=tuple(notes),
            excluded=excluded,
        )


def _lost_in_the_table(header: _DicomHeader, pixels: PixelValues) -> dict[str, str]:
    """What the header says of stored pixels that no longer holds after a table, by option."""
    doubts = {}
    for name, keyword, lost, shape in (
        ("pixel_scale", "PixelIntensityRelationship", not pixels.linear, "a line"),
        ("polarity", "PixelIntensityRelationshipSign", pixels.rising is None, "rising or falling all along"),
    ):
        if lost and header.value(keyword) is not None:
            doubts[name] = (
                f"{describe(keyword)} is about stored pixels, but they went through {pixels.table}, which is"
                f" not {shape}"
            )
    return doubts


def _excluded(
    pixels: PixelValues, header: _DicomHeader, spacing: tuple[float, float] | None
) -> tuple[NDArray[np.bool_] | None, list[str], list[str]]:
    """Pixels that are no image, which attributes say so, and what to warn of."""
    shape = (pixels.values.shape[0], pixels.values.shape[1])
    opened, sources, notes = openings(header.value, shape, spacing)
    excluded = np.zeros(shape, dtype=bool) if opened is None else ~opened
    if pixels.padded is not None and pixels.padded.any():
        padding = without_specks(pixels.padded, _SPECK_PX)
        if 1 - padding.mean() < _LEAST_LEFT:
            notes.append(
                f"{describe('PixelPaddingValue')} would leave {1 - padding.mean():.1%} of the image and is"
                " not used; --exclude IMAGE leaves pixels out"
            )
        elif padding.any():
            excluded |= padding
            sources.append(describe("PixelPaddingValue"))
    if 1 - excluded.mean() < _LEAST_LEFT:
        notes.append(
            f"{' and '.join(sources)} together would leave {1 - excluded.mean():.1%} of the image and are not"
            " used; --exclude IMAGE leaves pixels out"
        )
        return None, [], notes
    return (excluded if excluded.any() else None), sources, notes


class _DicomHeader:
    """Attributes of one frame, found at the top level or in the functional groups of enhanced objects."""

    def __init__(self, dataset: pydicom.Dataset, frame: int) -> None:
        self._frame = frame
        self._places = [dataset]
        for keyword, index in (
            ("PerFrameFunctionalGroupsSequence", frame),
            ("SharedFunctionalGroupsSequence", 0),
        ):
            groups = dataset.get(keyword)
            if groups and len(groups) > index:
                macros = [element.value for element in groups[index] if element.VR == "SQ"]
                self._places += [macro[0] for macro in macros if len(macro) == 1]

    def _find(self, keyword: str) -> Any:
        found = (place.get(keyword) for place in self._places)
        return next((value for value in found if value not in (None, "")), None)

    def value(self, keyword: str) -> Any:
        """What the frame says, None where nothing."""
        return self._find(keyword)

    def number(self, keyword: str) -> float | None:
        value = self._find(keyword)
        return None if value is None or isinstance(value, MultiValue) else float(value)

    def _pair(self, keyword: str) -> tuple[float, float] | None:
        value = self._find(keyword)
        if not isinstance(value, MultiValue) or len(value) != 2:
            return None
        return float(value[0]), float(value[1])

    def _angle_deg(self, keyword: str, increments: str) -> float | None:
        """Positioner angle of this frame: rotational runs list each frame's offset from the first."""
        angle = self.number(keyword)
        offsets = self._find(increments)
        moving = isinstance(offsets, MultiValue) and len(offsets) > self._frame
        return angle + float(offsets[self._frame]) if angle is not None and moving else angle

    def geometry(self) -> tuple[dict[str, Any], dict[str, str], dict[str, str], dict[str, str]]:
        """Values, provenance, problems and doubts of a `Reading`."""
        values: dict[str, Any] = {}
        provenance: dict[str, str] = {}
        problems: dict[str, str] = {}
        doubts: dict[str, str] = {}

        def keep(name: str, keyword: str, value: Any) -> None:
            if value is not None:
                values[name], provenance[name] = value, describe(keyword)

        def keep_positive(name: str, keyword: str, value: Any) -> None:
            # Scanners without a position sensor write zeros, which say as little as a missing attribute.
            if value is not None and not np.all(np.asarray(value) > 0):
                problems[name] = f"{describe(keyword)} is {value}"
            else:
                keep(name, keyword, value)

        isocentre = "DistanceSourceToPatient"
        if self.number(isocentre) is None and self.number("DistanceSourceToIsocenter") is not None:
            isocentre = "DistanceSourceToIsocenter"  # of enhanced objects
        for name, keyword in (("sdd_mm", "DistanceSourceToDetector"), ("source_isocentre_mm", isocentre)):
            keep_positive(name, keyword, self.number(keyword))
        for name, keyword in (("primary", "Primary"), ("secondary", "Secondary")):
            tag = f"Positioner{keyword}Angle"
            try:
                keep(f"{name}_angle_deg", tag, self._angle_deg(tag, f"{tag}Increment"))
            except ValueError as error:
                doubts[f"{name}_angle_deg"] = f"{describe(tag)} is no angle in degrees: {error}"

        at_detector, in_file = self._pair("ImagerPixelSpacing"), self._pair("PixelSpacing")
        if at_detector is None:
            keep_positive("pixel_spacing_mm", "PixelSpacing", in_file)
        else:
            keep_positive("pixel_spacing_mm", "ImagerPixelSpacing", at_detector)
        if at_detector and in_file and not np.allclose(at_detector, in_file, rtol=1e-3):
            doubts["pixel_spacing_mm"] = (
                f"{describe('ImagerPixelSpacing')} is {at_detector} mm but {describe('PixelSpacing')} is"
                f" {in_file} mm; the first, measured at the detector, is used: the second is mostly scaled to"
                " the patient"
            )
        return values, provenance, problems, doubts

    def beam_relation(self, modality: str, pixels: PixelValues) -> dict[str, tuple[str, str]]:
        """Polarity and pixel scale with their sources; absent where the header does not tell.

        PS3.3 C.8.11.3.1.2: the relationship says whether stored pixels follow the beam or its logarithm, the
        sign whether they grow with it; a falling rescale slope or table turns it around. The photometric
        interpretation is about what is displayed: in radiography that is what comes out of the table or slope
        (PS3.4 N.2), in fluoroscopy what is stored.
        """
        relationship = self._find("PixelIntensityRelationship")
        sign = self.number("PixelIntensityRelationshipSign")
        photometric = self._find("PhotometricInterpretation")
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
