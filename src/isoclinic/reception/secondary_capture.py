"""The overlay of a result as a DICOM image in the patient's study.

It is a Secondary Capture Image (PS3.3 section A.8.1), which every archive keeps and every workstation shows.
"""

from __future__ import annotations

import hashlib
import json
import textwrap
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone, tzinfo
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset, uid

from .. import __version__
from ..errors import InputError
from ..results.names import OVERLAY
from ..volumes._grid import decoding
from .digest import is_dicom
from .registrar import is_reliable

# Attributes that tell whose image it is and of which examination: the modules Patient (PS3.3 C.7.1.1),
# General Study (C.7.2.1), Patient Study (C.7.2.2), Clinical Trial Subject and Study (C.7.1.3, C.7.2.3). What
# is in the second list must be there even where its value is unknown, and so must Laterality (General Series,
# C.7.3.1).
_COPIED = (
    *("IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "PatientComments"),
    *("OtherPatientIDsSequence", "OtherPatientNames", "EthnicGroup", "PatientBirthTime"),
    *("PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence"),
    *("StudyDescription", "IssuerOfAccessionNumberSequence", "PhysiciansOfRecord"),
    *("PatientAge", "PatientSize", "PatientWeight", "BodyPartExamined", "TimezoneOffsetFromUTC"),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName"),
    *("ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID"),
    *("ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID", "ClinicalTrialTimePointDescription"),
    *("SpecificCharacterSet", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
_NEEDED = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "Laterality"),
    *("StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber"),
)
# The burnt-in verdict: letters, margins and least width [px], and the colours of paper and
# ink.
_LETTER_PX, _MARGIN_PX, _LEAST_WIDTH_PX = 22, 12, 400
_RELIABLE, _DOUBTFUL = ((0, 60, 0), (255, 255, 255)), ((150, 0, 0), (255, 255, 255))
# Under which unique identifiers are derived from names (RFC 9562 section 5.5; PS3.5 section B.2).
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/isoclinic/isoclinic/overlay")
# PS3.3 C.7.6.1.1.4, context group 7202.
_SOURCE_PURPOSE = ("121322", "DCM", "Source image for image processing operation")
# Behind the series of the devices, in lists that are sorted by it.
_SERIES_NUMBER = 9001
# Bytes after which a file is known to be DICOM or not.
_BEGINNING = 132
# Longest value of a short text (PS3.5 section 6.2).
_SHORT_TEXT = 1024
_RESEARCH = "Research software, not a medical device."


def secondary_capture(line: Mapping[str, Any], xray: Path, identity: str) -> Dataset:
    """The overlay of a result, with the patient and the study of its X-ray, and the verdict burnt in.

    The same line gives the same object: its SOPInstanceUID follows from that of the X-ray and from the line.

    Args:
        line: of an image that is done.
        xray: the file of the image.
        identity: of the folder of results; all its overlays of one study are one series.

    Raises:
        InputError: the X-ray is no DICOM file, does not say its study, or the overlay is gone.
    """
    source = _header(xray)
    try:
        with Image.open(Path(line["output"]) / OVERLAY) as opened:
            picture = opened.convert("RGB")
    except OSError as error:
        raise InputError(
            f"the overlay of image {line['number']} cannot be read: {error}", code="input.unreadable"
        ) from error
    made = Dataset()
    _add_patient_and_study(made, source)
    _add_series_and_identity(made, source, line, identity)
    _add_history(made, source, line)
    _add_pixels(made, with_verdict(picture, line))
    meta = pydicom.dataset.FileMetaDataset()
    meta.MediaStorageSOPClassUID = made.SOPClassUID
    meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    made.file_meta = meta
    return made


def verdict(line: Mapping[str, Any]) -> str:
    """What an overlay says of its pose."""
    if not is_reliable(line):
        return f"DOUBTFUL. Do not use this pose: {'; '.join(line['doubts']) or line['status']}."
    return f"{line['status']}, expected error {line['expected_error_mm']:.2f} mm."


def with_verdict(picture: Image.Image, line: Mapping[str, Any]) -> NDArray[np.uint8]:
    """The picture [H, W, 3] with the verdict in a strip above it, red where the pose is doubtful."""
    text = f"isoclinic {__version__}, image {line['number']}: {verdict(line)} {_RESEARCH}"
    paper, ink = _RELIABLE if is_reliable(line) else _DOUBTFUL
    font = ImageFont.load_default(_LETTER_PX)
    width = max(picture.width, _LEAST_WIDTH_PX)
    pen = ImageDraw.Draw(picture)
    # As many letters as fit, whichever they are; long reasons take several lines.
    for count in range(width // 4, 0, -1):
        written = "\n".join(textwrap.wrap(text, count))
        *_, right, bottom = pen.multiline_textbbox((0, 0), written, font=font)
        if right <= width - 2 * _MARGIN_PX:
            break
    height = int(bottom) + 2 * _MARGIN_PX
    whole = Image.new("RGB", (width, picture.height + height), paper)
    ImageDraw.Draw(whole).multiline_text((_MARGIN_PX, _MARGIN_PX), written, fill=ink, font=font)
    whole.paste(picture, (0, height))
    return np.asarray(whole)


def _header(path: Path) -> Dataset:
    with decoding(path), path.open("rb") as stream:
        beginning = stream.read(_BEGINNING)
    if not is_dicom(beginning):
        raise InputError(f"{path} is no DICOM file", code="input.unreadable")
    with decoding(path):
        header = pydicom.dcmread(path, stop_before_pixels=True)
    for keyword in ("StudyInstanceUID", "SOPInstanceUID", "SOPClassUID"):
        if not header.get(keyword):
            raise InputError(f"{path} has no {keyword}", code="input.unreadable")
    return header


def _add_patient_and_study(made: Dataset, source: Dataset) -> None:
    for keyword in (*_COPIED, *_NEEDED):
        if keyword in source:
            made.add(source[keyword])
        elif keyword in _NEEDED:
            setattr(made, keyword, None)
    made.StudyInstanceUID = source.StudyInstanceUID


def _add_series_and_identity(made: Dataset, source: Dataset, line: Mapping[str, Any], identity: str) -> None:
    at = datetime.fromisoformat(line["finished_at"]).astimezone(_zone(source))
    date, time = at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")
    content = hashlib.sha256(json.dumps(line).encode()).hexdigest()
    made.SOPClassUID = uid.SecondaryCaptureImageStorage
    made.SOPInstanceUID = _derived("image", source.SOPInstanceUID, content)
    made.SeriesInstanceUID = _derived("series", source.StudyInstanceUID, identity)
    made.SeriesNumber = _SERIES_NUMBER
    made.SeriesDescription = "isoclinic: CT on X-ray"
    made.Modality = "OT"
    made.InstanceNumber = line["number"]
    made.PatientOrientation = None
    made.InstanceCreationDate = made.ContentDate = made.SeriesDate = made.DateOfSecondaryCapture = date
    made.InstanceCreationTime = made.ContentTime = made.SeriesTime = made.TimeOfSecondaryCapture = time
    # Modules General Equipment (C.7.5.1) and SC Equipment (C.8.6.1): made by a workstation.
    made.ConversionType = "WSD"
    made.Manufacturer = made.SecondaryCaptureDeviceManufacturer = "isoclinic"
    made.ManufacturerModelName = made.SecondaryCaptureDeviceManufacturerModelName = "isoclinic listen"
    made.SoftwareVersions = made.SecondaryCaptureDeviceSoftwareVersions = __version__


def _add_history(made: Dataset, source: Dataset, line: Mapping[str, Any]) -> None:
    made.ImageType = ["DERIVED", "SECONDARY"]
    told = (
        f"CT registered to the X-ray by isoclinic {__version__}: X-ray, CT rendered at the pose, edges of "
        f"the CT on the X-ray. {_RESEARCH}"
    )
    made.DerivationDescription = told[:_SHORT_TEXT]
    made.ImageComments = f"{_ascii(verdict(line))} {_RESEARCH}"
    # It shows the X-ray's pixels: a name that is burnt into those is in these, too (C.7.6.1.1.1). Unless the
    # X-ray says that there is none, nobody may rely on that.
    made.BurnedInAnnotation = "NO" if source.get("BurnedInAnnotation") == "NO" else "YES"
    # Once lossy, always lossy (C.7.6.1.1.5).
    made.LossyImageCompression = "01" if source.get("LossyImageCompression") == "01" else "00"
    reference, purpose = Dataset(), Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = _SOURCE_PURPOSE
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = [purpose]
    made.SourceImageSequence = [reference]


def _add_pixels(made: Dataset, picture: NDArray[np.uint8]) -> None:
    made.Rows, made.Columns, made.SamplesPerPixel = picture.shape
    made.PhotometricInterpretation = "RGB"
    made.PlanarConfiguration = 0
    made.BitsAllocated = made.BitsStored = 8
    made.HighBit, made.PixelRepresentation = 7, 0
    content = picture.tobytes()
    made.add_new("PixelData", "OB", content + bytes(len(content) % 2))


def _derived(kind: str, *names: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, ' '.join((kind, *names))).int}"


def _zone(source: Dataset) -> tzinfo | None:
    """The time zone of all dates and times of the object (C.12.1.1.8); None is that of this computer."""
    try:
        said = str(source.get("TimezoneOffsetFromUTC") or "")
        minutes = int(f"{said[0]}1") * (60 * int(said[1:3]) + int(said[3:5]))
        return timezone(timedelta(minutes=minutes))
    except (IndexError, ValueError):
        return None


def _ascii(text: str) -> str:
    return text.encode("ascii", "replace").decode("ascii")
