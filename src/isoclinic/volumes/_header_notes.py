"""What was done to an X-ray's pixels before they were stored, by its DICOM header."""

from __future__ import annotations

from collections.abc import Iterator

from ._dicom_header import DicomHeader
from .findings import Finding


def header_notes(header: DicomHeader) -> Iterator[Finding]:
    """Compression, burned-in text and display curves, none of which can be undone."""
    if header.text("LossyImageCompression") == "01":
        yield _note("the image was compressed with losses", "the original, where there is one")
    if header.text("BurnedInAnnotation").upper() == "YES":
        yield _note(
            "text is burned into the pixels (BurnedInAnnotation)",
            "`crop_px`, or `exclude` with a mask of the text",
        )
    if header.text("PixelIntensityRelationship").upper() == "DISP":
        yield _note(
            "the pixels went through a display curve (PixelIntensityRelationship DISP)",
            "`pixel_scale`, or the image for processing",
        )


def _note(message: str, remedy: str) -> Finding:
    return Finding(level="note", subject="X-ray", message=message, remedy=remedy)
