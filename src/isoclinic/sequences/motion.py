"""The six parameters of a pose over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from ..geometry import so3
from .record import FrameRecord

# Names in tables, and for people to read, with units.
PARAMETERS = {
    "right_mm": ("Right in the image", "mm"),
    "down_mm": ("Down in the image", "mm"),
    "depth_mm": ("Depth, from the source", "mm"),
    "turn_about_right_deg": ("Turn about the axis to the right", "deg"),
    "turn_about_down_deg": ("Turn about the axis down", "deg"),
    "turn_about_depth_deg": ("Turn in the image plane", "deg"),
}
Six = tuple[float, float, float, float, float, float]


def parameters(records: Sequence[FrameRecord], isocentre_world: Tensor) -> list[Six | None]:
    """Six numbers for each frame; None where it has no pose.

    They are the place of the CT's centre in the frame of the first plane's camera (right, down, depth) [mm],
    and by what the CT is turned since the first frame without doubts, as a rotation vector along the camera's
    axes [deg].

    Args:
        records: frames of a run.
        isocentre_world: centre of the CT [3] [mm].
    """
    usable = [record for record in records if record.camera_from_world is not None]
    first = next((record for record in usable if not record.doubts), usable[0] if usable else None)
    if first is None or first.camera_from_world is None:
        return [None] * len(records)
    reference = first.camera_from_world[:3, :3]
    return [_six(record.camera_from_world, reference, isocentre_world) for record in records]


def _six(pose: Tensor | None, reference: Tensor, isocentre_world: Tensor) -> Six | None:
    if pose is None:
        return None
    right, down, depth = (pose[:3, :3] @ isocentre_world + pose[:3, 3]).tolist()
    turn = so3.log(pose[:3, :3] @ reference.mT).tolist()
    return (right, down, depth, math.degrees(turn[0]), math.degrees(turn[1]), math.degrees(turn[2]))
