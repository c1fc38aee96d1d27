"""X-rays in DICOM: pixels and what the header says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag

from ..errors import InputError
from ._grid import DECODER_ERRORS, decoding
from ._reading import Reading, frame_index, grey_image

# Modalities whose images are not projections of the patient from an X-ray point source (PS3.3 C.7.3.1.1.1).
_NOT_PROJECTIONS = ("CT", "MR", "PT", "NM", "US", "OCT", "SEG", "RTDOSE", "RTSTRUCT", "RTPLAN")
# PhotometricInterpretation says how pixels are shown, not what they measure. Radiographs are shown with
# bone white; fluoroscopy and angiography store MONOCHROME2 pixels that grow with the beam (PS3.3 C.8.7.1).
_RADIOGRAPHY = ("CR", "DX", "RG", "PX")
_FLUOROSCOPY = ("XA", "RF")


def read_dicom_xray(path: Path, frame: int | None) -> Reading:
    with decoding(path, " as DICOM"):
        try:
            dataset = pydicom.dcmread(path)
        except InvalidDicomError as error:
            raise InputError(
                f"{path} is not an X-ray this program reads: DICOM, or PNG, TIFF or NIfTI with a JSON sidecar"
            ) from error
        return _from_dataset(path, dataset, frame)


def _from_dataset(path: Path, dataset: pydicom.Dataset, frame: int | None) -> Reading:
    modality = str(dataset.get("Modality", ""))
    if modality in _NOT_PROJECTIONS:
        raise InputError(
            f"{path} has modality {modality}, not an X-ray projection; a CT is given as the volume (--volume)"
        )
    if "PixelData" not in dataset:
        raise InputError(f"{path} is DICOM without an image (no pixel data)")
    frames = int(dataset.get("NumberOfFrames") or 1)
    index = frame_index(path, frames, frame)
    header = _DicomHeader(dataset, index)
    try:
        values, provenance, problems, doubts = header.geometry()
        slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
        slope = 1.0 if slope is None else slope
        relation = header.beam_relation(modality, inverted=slope < 0)
    except ValueError as error:
        raise InputError(f"{path} has a malformed DICOM header: {error}") from error
    for name, (value, source) in relation.items():
        values[name], provenance[name] = value, source
    with np.errstate(over="ignore", invalid="ignore"):  # who needs finite pixels checks them
        pixels = _decode(path, dataset, index) * np.float32(slope) + np.float32(intercept or 0.0)
    if frames > 1:
        chosen = "--frame" if frame is not None else "the middle one"
        values["frame"], provenance["frame"] = index, f"frame {index} of {frames} ({chosen})"
    return Reading(pixels=pixels, values=values, provenance=provenance, problems=problems, doubts=doubts)


def _decode(path: Path, dataset: pydicom.Dataset, index: int) -> NDArray[np.float32]:
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(f"{path} is a colour image; convert it to one grey channel")
    try:
        pixels = pixel_array(dataset, index=index)
    except DECODER_ERRORS as error:
        raise InputError(f"the pixels of {path} cannot be decoded: {error}") from error
    return grey_image(path, pixels, frame=None)


def _describe(keyword: str) -> str:
    tag = Tag(keyword)
    return f"{keyword} ({tag.group:04x},{tag.element:04x})"


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
                values[name], provenance[name] = value, _describe(keyword)

        def keep_positive(name: str, keyword: str, value: Any) -> None:
            # Scanners without a position sensor write zeros, which say as little as a missing attribute.
            if value is not None and not np.all(np.asarray(value) > 0):
                problems[name] = f"{_describe(keyword)} is {value}"
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
                doubts[f"{name}_angle_deg"] = f"{_describe(tag)} is no angle in degrees: {error}"

        at_detector, in_file = self._pair("ImagerPixelSpacing"), self._pair("PixelSpacing")
        if at_detector is None:
            keep_positive("pixel_spacing_mm", "PixelSpacing", in_file)
        else:
            keep_positive("pixel_spacing_mm", "ImagerPixelSpacing", at_detector)
        if at_detector and in_file and not np.allclose(at_detector, in_file, rtol=1e-3):
            doubts["pixel_spacing_mm"] = (
                f"{_describe('ImagerPixelSpacing')} is {at_detector} mm but {_describe('PixelSpacing')} is"
                f" {in_file} mm; the first, measured at the detector, is used: the second is mostly scaled to"
                " the patient"
            )
        return values, provenance, problems, doubts

    def beam_relation(self, modality: str, *, inverted: bool) -> dict[str, tuple[str, str]]:
        """Polarity and pixel scale with their sources; polarity is absent where the header does not tell.

        PS3.3 C.8.11.3.1.2: the relationship says whether pixels follow the beam or its logarithm, the
        sign whether they grow with it. Both speak of stored pixels, so a negative rescale slope flips them.
        """
        relationship = self._find("PixelIntensityRelationship")
        sign = self.number("PixelIntensityRelationshipSign")
        photometric = self._find("PhotometricInterpretation")
        found: dict[str, tuple[str, str]] = {}
        # A display curve is close to linear in film density, that is in the logarithm of the exposure.
        scale = {"LIN": "linear", "LOG": "log", "DISP": "log"}.get(str(relationship))
        if scale is not None:
            found["pixel_scale"] = (scale, f"{_describe('PixelIntensityRelationship')} {relationship}")

        convention = "fluoroscopy" if modality in _FLUOROSCOPY else "radiograph"
        if sign:
            bright, source = sign > 0, f"{_describe('PixelIntensityRelationshipSign')} {sign:+.0f}"
        elif relationship == "LIN":
            bright, source = True, f"{_describe('PixelIntensityRelationship')} LIN"
        elif modality in (*_RADIOGRAPHY, *_FLUOROSCOPY) and photometric in ("MONOCHROME1", "MONOCHROME2"):
            bright = (photometric == "MONOCHROME2") == (modality in _FLUOROSCOPY)
            source = f"{_describe('PhotometricInterpretation')} {photometric} of a {modality} {convention}"
        else:
            return found
        found["polarity"] = ("bright_air" if bright != inverted else "dark_air", source)
        return found
