"""Inspection of input files: the values that were read, their sources, and whatever is odd about them."""

from ..volumes import Finding
from .headers import patient_orientation, volume_header, xray_header
from .records import Inspection, Reading
from .view import inspect_view
from .volume import inspect_volume
from .xray import inspect_xray

__all__ = [
    "Finding",
    "Inspection",
    "Reading",
    "inspect_view",
    "inspect_volume",
    "inspect_xray",
    "patient_orientation",
    "volume_header",
    "xray_header",
]
