"""Which side of the patient each border of an X-ray image is."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor

from .camera import Camera
from .se3 import as_poses

# DICOM PS3.3 C.7.6.1.1.1, Patient Orientation: right or left, anterior or posterior, head or feet; here for
# the positive and the negative direction of world R, A and S.
_LETTERS = (("R", "L"), ("A", "P"), ("H", "F"))
# Sine of half of 45 degrees: a direction is named by two axes of the patient where it is nearer to half way
# between them than to one of them.
_LEAST = math.sin(math.radians(22.5))


class PatientSides(NamedTuple):
    """Sides of the patient that the borders of an image are nearest to.

    Each is a letter of DICOM's Patient Orientation, R, L, A, P, H (head) or F (feet), or several in oblique
    views, the one that says most first.

    Attributes:
        left: letters of the side at the first column.
        right: letters of the side at the last column.
        top: letters of the side at the first row.
        bottom: letters of the side at the last row.
    """

    left: str
    right: str
    top: str
    bottom: str

    @classmethod
    def of(cls, camera: Camera, camera_from_world: Tensor) -> PatientSides:
        """Return the sides of an image at a pose.

        The world must be the patient's, as it is for every CT whose file says how the patient lies.

        Args:
            camera: the camera of the image; it says whether the image is mirrored.
            camera_from_world: its pose [4, 4], world RAS.

        Raises:
            InputError: a pose that is not one rigid transform.
        """
        rotation = as_poses(camera_from_world, "camera_from_world")[0, :3, :3].detach().cpu()
        rightwards = rotation[0] * math.copysign(1.0, camera.fx)
        downwards = rotation[1] * math.copysign(1.0, camera.fy)
        return cls(
            left=_letters(-rightwards),
            right=_letters(rightwards),
            top=_letters(-downwards),
            bottom=_letters(downwards),
        )


def _letters(direction: Tensor) -> str:
    """The patient's sides that a unit vector [3] in world RAS points to."""
    parts = sorted(zip(direction.tolist(), _LETTERS, strict=True), key=lambda part: -abs(part[0]))
    named = [part for index, part in enumerate(parts) if index == 0 or abs(part[0]) > _LEAST]
    return "".join(positive if size > 0 else negative for size, (positive, negative) in named)
