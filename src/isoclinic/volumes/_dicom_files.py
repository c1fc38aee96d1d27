"""Which files are DICOM, and which of them cannot hold slices of a CT: told by content, never by name."""

from __future__ import annotations

import struct
import warnings
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom import uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.valuerep import VR

from ..errors import InputError
from ._bounds import read_dicom
from ._grid import decoding

# Attributes whose values are decoded on first access: damage in them shows while the file is known.
_DECODED = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "ImageType", "NumberOfFrames", "SeriesInstanceUID"),
    *("StudyInstanceUID", "FrameOfReferenceUID", "SeriesDescription", "SeriesNumber", "ConcatenationUID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence", "SpacingBetweenSlices"),
)
# What people and archives name DICOM files; others of these names are told of.
_SUFFIXES = (".dcm", ".ima", ".dicom")
_VRS = frozenset(str(vr).encode() for vr in VR if len(str(vr)) == 2)
# The longest first value of a file without preamble that is believed in implicit VR, which lacks other marks.
_LONGEST_FIRST_VALUE = 128

_CT_CLASSES = frozenset(
    {
        uid.CTImageStorage,
        uid.EnhancedCTImageStorage,
        uid.LegacyConvertedEnhancedCTImageStorage,
        uid.XRay3DAngiographicImageStorage,  # reconstructions of C-arms
        uid.XRay3DCraniofacialImageStorage,
    }
)
# Classes whose objects are slices only if they say where each lies: captures and projections that
# manufacturers of cone-beam devices keep slices in.
_BY_CONTENT_CLASSES = frozenset(
    {
        uid.SecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.XRayAngiographicImageStorage,
        uid.EnhancedXAImageStorage,
        uid.XRayRadiofluoroscopicImageStorage,
        uid.EnhancedXRFImageStorage,
        uid.ComputedRadiographyImageStorage,
        uid.DigitalXRayImageStorageForPresentation,
        uid.DigitalXRayImageStorageForProcessing,
    }
)
# Images in space that are no CTs, where the class does not say so.
_OTHER_MODALITIES = ("MR", "PT", "NM", "US", "IVUS", "OPT", "RTDOSE", "SEG")
_PROJECTIONS = ("CR", "DX", "RF", "RG", "XA")
_MOST_NAMED = 8

_FrameGroups = tuple[Dataset, ...]


@dataclass(frozen=True)
class DicomFile:
    """A DICOM file and its data set without the pixels."""

    path: Path
    header: FileDataset

    @property
    def frames(self) -> int:
        """Number of images in it.

        Raises:
            InputError: it is no number of images that a file of this size can hold.
        """
        value = self.header.get("NumberOfFrames") or 1
        if isinstance(value, int) and 0 < value < self.path.stat().st_size:
            return int(value)
        raise InputError(
            f"{self.path} has a malformed NumberOfFrames: {value}; export it again",
            code="dicom.malformed-header",
        )

    @property
    def storage(self) -> str:
        """The name of its SOP class."""
        return uid.UID(str(self.header.get("SOPClassUID", ""))).name or "no SOP class"

    @property
    def is_ct_class(self) -> bool:
        """Tell whether its SOP class is for slices of X-ray computed tomography."""
        return str(self.header.get("SOPClassUID")) in _CT_CLASSES

    @property
    def is_localizer(self) -> bool:
        """Tell whether ImageType calls it a scout."""
        return "LOCALIZER" in (self.header.get("ImageType") or ())


@dataclass(frozen=True)
class LeftOut:
    """A file that is no part of the CT, and what it is instead."""

    path: Path
    reason: str


class FrameHeader:
    """Attributes of one frame: from its functional groups, from the shared ones, then from the data set.

    DICOM PS3.3 C.7.6.16: a functional group macro is a sequence of one item, for all frames or for each.
    """

    def __init__(self, dataset: Dataset, frame: int) -> None:
        self._places: list[Dataset] = []
        for keyword, index in (
            ("PerFrameFunctionalGroupsSequence", frame),
            ("SharedFunctionalGroupsSequence", 0),
        ):
            groups = dataset.get(keyword)
            if groups and len(groups) > index:
                macros = [element.value for element in groups[index] if element.VR == "SQ"]
                self._places += [macro[0] for macro in macros if len(macro) == 1]
        self._places.append(dataset)

    def get(self, keyword: str) -> Any:
        """The value of an attribute, or None where it is missing or empty."""
        for place in self._places:
            if (value := place.get(keyword)) not in (None, ""):
                return value
        return None


def looks_like_dicom(path: Path) -> bool:
    """Tell whether the file begins as DICOM does: after the preamble of PS3.10, or without one.

    Without a preamble the first element is of group 2 or 8, as archives and older exports write it.
    """
    start = _start(path)
    return start[128:] == b"DICM" or _begins_bare(start)


def _start(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(132)


def _begins_bare(start: bytes) -> bool:
    """Tell whether the first bytes are an element as DICOM without preamble begins with."""
    if len(start) < 16:
        return False
    for order in "<>":
        group, element, length = struct.unpack(f"{order}HHI", start[:8])
        if group in (2, 8) and element <= 0x0100:
            return start[4:6] in _VRS or length <= _LONGEST_FIRST_VALUE
    return False


def read_header(path: Path) -> DicomFile | None:
    """The file's data set without pixels; None if it is not DICOM.

    Raises:
        InputError: a DICOM file that is damaged.
    """
    with decoding(path):
        start = _start(path)
    has_preamble = start[128:] == b"DICM"
    if not has_preamble and not _begins_bare(start):
        return None
    try:
        with decoding(path, " as DICOM"), warnings.catch_warnings():
            if not has_preamble:  # what may be no DICOM at all
                warnings.simplefilter("ignore")
            header = read_dicom(path, stop_before_pixels=True, force=True)
        for keyword in _DECODED:
            with decoding(path, f" as DICOM, of which its {keyword} is malformed"):
                header.get(keyword)
    except InputError:
        if has_preamble:
            raise
        return None  # it only happened to begin alike
    if not has_preamble and "SOPClassUID" not in header and "ImagePositionPatient" not in header:
        return None
    return DicomFile(path, header)


def read_dataset(path: Path) -> FileDataset:
    """The whole data set of a file that `read_header` has read.

    Raises:
        InputError: it cannot be read.
    """
    with decoding(path, " as DICOM"):
        dataset = read_dicom(path, force=True)
        if "TransferSyntaxUID" not in dataset.file_meta:  # no group 2; what was found is not compressed
            implicit, little = dataset.original_encoding
            if not little:
                syntax = uid.ExplicitVRBigEndian
            else:
                syntax = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
            dataset.file_meta.TransferSyntaxUID = syntax
        return dataset


def is_index(file: DicomFile) -> bool:
    """Tell whether the file is a DICOMDIR: a table of the files beside it."""
    return (
        file.header.file_meta.get("MediaStorageSOPClassUID") == uid.MediaStorageDirectoryStorage
        or "DirectoryRecordSequence" in file.header
    )


def find_dicom(folder: Path, *, deep: bool) -> tuple[list[DicomFile], list[LeftOut]]:
    """The DICOM files of a folder, sorted by path, and those that only their names call DICOM.

    Args:
        folder: where they are.
        deep: look into its folders too.

    Raises:
        InputError: a DICOM file that is damaged.
    """
    found, left_out = [], []
    for path in sorted(folder.rglob("*") if deep else folder.iterdir()):
        if not path.is_file():
            continue
        file = read_header(path)
        if file is None:
            if path.name.lower().endswith(_SUFFIXES) and not path.name.startswith("."):
                left_out.append(LeftOut(path, "empty, damaged or not DICOM, for all that they are named so"))
        elif not is_index(file):
            found.append(file)
    return found, left_out


def why_no_slice(file: DicomFile) -> str:
    """Return what a file is that can be no slice of a CT; empty if it can be one."""
    header, frame = file.header, FrameHeader(file.header, 0)
    modality = str(header.get("Modality") or "unknown")
    storage = str(header.get("SOPClassUID", ""))
    known = uid.UID(storage).name != storage
    if modality in _OTHER_MODALITIES:
        return f"of modality {modality}"
    if not file.is_ct_class and known and storage not in _BY_CONTENT_CLASSES:
        return f"of modality {modality}, as {file.storage}"
    if (header.get("SamplesPerPixel") or 1) != 1:
        return f"of modality {modality}, in colour, as screen saves and reports are"
    if frame.get("ImagePositionPatient") is None and frame.get("ImageOrientationPatient") is None:
        return f"of modality {modality}, without ImagePositionPatient and ImageOrientationPatient"
    return ""


def projection_hint(files: Iterable[DicomFile]) -> str:
    """Return what to do with files that are X-rays; empty if there are none."""
    if any(str(file.header.get("Modality", "")) in _PROJECTIONS for file in files):
        return "; an X-ray is given as the X-ray, and the CT as the volume"
    return ""


def relative_name(path: Path, root: Path) -> str:
    """How a message names a file of the given folder: with the folders below it, where there are any."""
    folder = root if root.is_dir() else root.parent
    return str(path.relative_to(folder)) if path.is_relative_to(folder) else str(path)


def list_left_out(left_out: Iterable[LeftOut], root: Path) -> str:
    """All files left out, by what they are."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for item in left_out:
        by_reason[item.reason].append(relative_name(item.path, root))
    return "; ".join(f"{len(names)} {reason} ({some(names)})" for reason, names in by_reason.items())


def some(names: list[str]) -> str:
    """The names, or the first of many and how many more."""
    if len(names) <= _MOST_NAMED:
        return ", ".join(names)
    return f"{', '.join(names[:_MOST_NAMED])} and {len(names) - _MOST_NAMED} more"
