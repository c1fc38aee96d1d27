from .format_names import FormatName
from .posed_camera import PosedCamera
from .registry import FORMATS, Format, read_pose, write_pose
from .slicer import write_slicer_transform

__all__ = [
    "FORMATS",
    "Format",
    "FormatName",
    "PosedCamera",
    "read_pose",
    "write_pose",
    "write_slicer_transform",
]
