from .headers import patient_orientation, volume_header, xray_header
from .records import InspectedValue, Inspection
from .view import inspect_view
from .volume import inspect_volume
from .xray import inspect_xray

__all__ = [
    "InspectedValue",
    "Inspection",
    "inspect_view",
    "inspect_volume",
    "inspect_xray",
    "patient_orientation",
    "volume_header",
    "xray_header",
]
