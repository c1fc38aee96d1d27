"""X-rays in DICOM: pixels and what the header says about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.pixels.utils import pixel_array

from ..errors import InputError
from ._dicom_header import DicomHeader, describe
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
    header = _XRayHeader(dataset, index)
    try:
        slope, intercept = header.number("RescaleSlope"), header.number("RescaleIntercept")
        slope = 1.0 if slope is None else slope
        relation = header.beam_relation(modality, inverted=slope < 0)
    except ValueError as error:
        raise InputError(f"{path} has a malformed DICOM header: {error}") from error
    values: dict[str, Any] = {name: value for name, (value, _) in relation.items()}
    provenance = {name: source for name, (_, source) in relation.items()}
    with np.errstate(over="ignore", invalid="ignore"):  # who needs finite pixels checks them
        pixels = _decode(path, dataset, index) * np.float32(slope) + np.float32(intercept or 0.0)
    if frames > 1:
        chosen = "--frame" if frame is not None else "the middle one"
        values["frame"], provenance["frame"] = index, f"frame {index} of {frames} ({chosen})"
    return Reading(pixels=pixels, values=values, provenance=provenance, header=header)


def _decode(path: Path, dataset: pydicom.Dataset, index: int) -> NDArray[np.float32]:
    if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
        raise InputError(f"{path} is a colour image; convert it to one grey channel")
    try:
        pixels = pixel_array(dataset, index=index)
    except DECODER_ERRORS as error:
        raise InputError(f"the pixels of {path} cannot be decoded: {error}") from error
    return grey_image(path, pixels, frame=None)


class _XRayHeader(DicomHeader):
    """What the header says about the meaning of the pixels."""

    def beam_relation(self, modality: str, *, inverted: bool) -> dict[str, tuple[str, str]]:
        """Polarity and pixel scale with their sources; polarity is absent where the header does not tell.

        PS3.3 C.8.11.3.1.2: the relationship says whether pixels follow the beam or its logarithm, the
        sign whether they grow with it. Both speak of stored pixels, so a negative rescale slope flips them.
        """
        relationship = self.get("PixelIntensityRelationship")
        sign = self.number("PixelIntensityRelationshipSign")
        photometric = self.get("PhotometricInterpretation")
        found: dict[str, tuple[str, str]] = {}
        # A display curve is close to linear in film density, that is in the logarithm of the exposure.
        scale = {"LIN": "linear", "LOG": "log", "DISP": "log"}.get(str(relationship))
        if scale is not None:
            found["pixel_scale"] = (scale, f"{describe('PixelIntensityRelationship')} {relationship}")

        convention = "fluoroscopy" if modality in _FLUOROSCOPY else "radiograph"
        if sign:
            bright, source = sign > 0, f"{describe('PixelIntensityRelationshipSign')} {sign:+.0f}"
        elif relationship == "LIN":
            bright, source = True, f"{describe('PixelIntensityRelationship')} LIN"
        elif modality in (*_RADIOGRAPHY, *_FLUOROSCOPY) and photometric in ("MONOCHROME1", "MONOCHROME2"):
            bright = (photometric == "MONOCHROME2") == (modality in _FLUOROSCOPY)
            source = f"{describe('PhotometricInterpretation')} {photometric} of a {modality} {convention}"
        else:
            return found
        found["polarity"] = ("bright_air" if bright != inverted else "dark_air", source)
        return found
