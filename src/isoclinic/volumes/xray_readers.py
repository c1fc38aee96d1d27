"""What X-ray files say: pixels and geometry from DICOM, or from an image with a JSON sidecar."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np
import pydicom
import skimage.io
from numpy.typing import NDArray
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag

from ..errors import InputError, UsageError
from ._bounds import check_declared_size, read_dicom
from ._grid import DECODER_ERRORS, decoding

PixelScale = Literal["linear", "log"]

_IMAGE_SUFFIXES = (".png", ".tif", ".tiff")
_NIFTI_SUFFIXES = (".nii", ".nii.gz")
_OTHER_IMAGES = (".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_VOLUME_SUFFIXES = (".nrrd", ".nhdr", ".mha", ".mhd")
_SIDECAR_NUMBERS = (
    *("width", "height", "fx", "fy", "cx", "cy", "sdd_mm"),
    *("source_isocentre_mm", "primary_angle_deg", "secondary_angle_deg"),
)
_SIDECAR_PAIRS = ("pixel_spacing_mm", "principal_point_px")
_SIDECAR_CHOICES = {"polarity": ("bright_air", "dark_air"), "pixel_scale": ("linear", "log")}

# Modalities whose images are not projections of the patient from an X-ray point source (PS3.3 C.7.3.1.1.1).
_NOT_PROJECTIONS = ("CT", "MR", "PT", "NM", "US", "OCT", "SEG", "RTDOSE", "RTSTRUCT", "RTPLAN")
# PhotometricInterpretation says how pixels are shown, not what they measure. Radiographs are shown with
# bone white; fluoroscopy and angiography store MONOCHROME2 pixels that grow with the beam (PS3.3 C.8.7.1).
_RADIOGRAPHY = ("CR", "DX", "RG", "PX")
_FLUOROSCOPY = ("XA", "RF")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One X-ray file: its pixels and everything it says about them.

    Attributes:
        pixels: [H, W] float32.
        values: name of an `XRayOptions` field -> value found in the file; absent names were not found.
        provenance: the same names -> where the value came from.
        problems: names of required fields that the file gives wrongly -> what is wrong.
        doubts: names of fields that the file gives in two ways, or wrongly and that are not required -> what
            to warn of where no option says better.
    """

    pixels: NDArray[np.float32]
    values: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    problems: Mapping[str, str] = field(default_factory=dict)
    doubts: Mapping[str, str] = field(default_factory=dict)


def read_file(path: Path, frame: int | None) -> Reading:
    """Read an X-ray from DICOM, or from PNG, TIFF or NIfTI with a JSON sidecar.

    Raises:
        InputError: the file is missing, unreadable, not an X-ray or not a single grey image.
        UsageError: `frame` does not exist in the file.
    """
    with decoding(path):
        if path.is_dir():
            raise InputError(
                f"{path} is a folder, not an X-ray; a CT series is given as the volume (--volume)"
            )
        if not path.is_file():
            raise InputError(f"X-ray file {path} does not exist")
        if not path.stat().st_size:
            raise InputError(f"X-ray file {path} is empty; copy or export it again")
    name = path.name.lower()
    if name.endswith(_OTHER_IMAGES):
        raise InputError(f"{path} has a lossy or unusual image format; save the X-ray as PNG, TIFF or DICOM")
    if name.endswith(_VOLUME_SUFFIXES):
        raise InputError(
            f"{path} looks like a volume, not an X-ray: a CT is given as the volume (--volume); save an X-ray"
            " as DICOM, PNG, TIFF or NIfTI"
        )
    if name.endswith(_IMAGE_SUFFIXES):
        return _with_sidecar(path, _read_image(path, frame))
    if name.endswith(_NIFTI_SUFFIXES):
        return _with_sidecar(path, _read_nifti(path, frame))
    return _read_dicom(path, frame)


# DICOM ------------------------------------------------------------------------------------------------


def _read_dicom(path: Path, frame: int | None) -> Reading:
    with decoding(path, " as DICOM"):
        try:
            dataset = read_dicom(path)
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
    index = _frame_index(path, frames, frame)
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
    return _grey(path, pixels, frame=None)


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


# PNG, TIFF, NIfTI -------------------------------------------------------------------------------------


def _read_image(path: Path, frame: int | None) -> NDArray[np.float32]:
    with decoding(path, " as an image"):
        pixels = skimage.io.imread(path)
    return _grey(path, pixels, frame=frame)


def _read_nifti(path: Path, frame: int | None) -> NDArray[np.float32]:
    with decoding(path, " as NIfTI"):
        check_declared_size(path)
        pixels = np.asarray(nib.load(path).dataobj)  # type: ignore[attr-defined]
    # NIfTI counts columns first; planes, if any, come last.
    return _grey(path, pixels.squeeze().T, frame=frame)


def _grey(path: Path, pixels: NDArray[Any], *, frame: int | None) -> NDArray[np.float32]:
    """The one grey image in `pixels`, [H, W] or [planes, H, W] or [H, W, 3 or 4 equal channels]."""
    if pixels.ndim == 3 and pixels.shape[-1] in (2, 3, 4):
        colour = pixels[..., : pixels.shape[-1] - (pixels.shape[-1] % 2 == 0)]
        if np.any(colour != colour[..., :1]):
            raise InputError(f"{path} is a colour image; convert it to one grey channel")
        pixels = colour[..., 0]
    if pixels.ndim == 3:
        if frame is None:
            raise InputError(
                f"{path} holds {pixels.shape[0]} planes of {pixels.shape[2]} x {pixels.shape[1]} pixels, not"
                " one X-ray: choose one with --frame, or give it as the volume (--volume) if it is a CT"
            )
        pixels = pixels[_frame_index(path, pixels.shape[0], frame)]
    elif pixels.ndim == 2 and frame is not None:
        _frame_index(path, 1, frame)
    if pixels.ndim != 2 or pixels.dtype.kind not in "biuf":
        raise InputError(f"{path} is no grey image: array of shape {pixels.shape}, type {pixels.dtype}")
    if not pixels.size:
        raise InputError(f"{path} has no pixels: array of shape {pixels.shape}")
    with np.errstate(over="ignore"):  # who needs finite pixels checks them
        return np.ascontiguousarray(pixels, dtype=np.float32)


def _frame_index(path: Path, frames: int, frame: int | None) -> int:
    if frame is None:
        return frames // 2
    if not 0 <= frame < frames:
        raise UsageError(f"--frame {frame} does not exist: {path} has frames 0 to {frames - 1}")
    return frame


def _with_sidecar(path: Path, pixels: NDArray[np.float32]) -> Reading:
    sidecar = _sidecar_path(path)
    if not sidecar.is_file():
        missing = f"there is no sidecar {sidecar.name} beside the image"
        return Reading(pixels=pixels, problems={"sdd_mm": missing, "pixel_spacing_mm": missing})
    try:
        content = json.loads(sidecar.read_text(encoding="utf-8"))
    except (RecursionError, ValueError) as error:
        raise InputError(f"{sidecar} is not valid JSON: {error}") from error
    values = _checked_sidecar(sidecar, content, pixels.shape)
    missing = f"{sidecar.name} does not give it"
    problems = {name: missing for name in ("sdd_mm", "pixel_spacing_mm") if name not in values}
    source = {name: f"{sidecar.name}: {name}" for name in values}
    return Reading(pixels=pixels, values=values, provenance=source, problems=problems)


def _sidecar_path(path: Path) -> Path:
    stem = path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem
    return path.with_name(f"{stem}.json")


def _checked_sidecar(sidecar: Path, content: Any, shape: tuple[int, ...]) -> dict[str, Any]:
    """The sidecar's values by option name, focal lengths converted to spacings.

    Schema: an object with any of width, height, fx, fy, cx, cy [px]; sdd_mm, source_isocentre_mm;
    pixel_spacing_mm [row, column]; principal_point_px [cx, cy]; primary_angle_deg, secondary_angle_deg;
    polarity ("bright_air" | "dark_air"); pixel_scale ("linear" | "log"). Numbers are plain JSON numbers.
    """
    if not isinstance(content, dict):
        raise InputError(f"{sidecar} must hold a JSON object of named values")
    known = (*_SIDECAR_NUMBERS, *_SIDECAR_PAIRS, *_SIDECAR_CHOICES)
    for key, value in content.items():
        if key not in known:
            raise InputError(f"{sidecar} has an unknown key '{key}'; known keys are {', '.join(known)}")
        if key in _SIDECAR_CHOICES and value not in _SIDECAR_CHOICES[key]:
            raise InputError(f"{sidecar}: {key} must be one of {_SIDECAR_CHOICES[key]}, not {value!r}")
        if key in _SIDECAR_NUMBERS and not _is_number(value):
            raise InputError(f"{sidecar}: {key} must be a number, not {value!r}")
        if key in _SIDECAR_PAIRS and not (
            isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))
        ):
            raise InputError(f"{sidecar}: {key} must be a list of two numbers, not {value!r}")

    for key, size in (("height", shape[0]), ("width", shape[1])):
        if key in content and content[key] != size:
            raise InputError(f"{sidecar} says {key} {content[key]} but the image has {size} pixels")
    for pair in (("fx", "fy"), ("cx", "cy")):
        if (pair[0] in content) != (pair[1] in content):
            raise InputError(f"{sidecar} must give {pair[0]} and {pair[1]} together")
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in content.items()}
    if "cx" in values:
        values.setdefault("principal_point_px", (values["cx"], values["cy"]))
    if "fx" in values and "sdd_mm" in values:
        if values["fx"] <= 0 or values["fy"] <= 0:
            raise InputError(f"{sidecar}: fx and fy must be positive (mirrored image: --flip-left-right)")
        spacing = (values["sdd_mm"] / values["fy"], values["sdd_mm"] / values["fx"])
        if not np.allclose(values.setdefault("pixel_spacing_mm", spacing), spacing, rtol=1e-3):
            raise InputError(
                f"{sidecar}: pixel_spacing_mm contradicts sdd_mm / (fy, fx), {spacing}; drop one"
            )
    return {key: v for key, v in values.items() if key not in ("width", "height", "fx", "fy", "cx", "cy")}


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) <= sys.float_info.max  # whole numbers may be larger; neither NaN nor infinity is less
