"""How structures move relative to each other, and the angles of joints whose bones the labels name.

Angles are those of a joint coordinate system: about an axis of the first structure, about the floating axis,
about an axis of the second one (Grood & Suntay 1983, J. Biomech. Eng. 105(2); for the wrist Wu et al. 2005,
J. Biomech. 38(5)). A CT does not show the anatomical axes that these define by landmarks. In their place
stand the axes of the CT, patient right, anterior and superior, in both structures; so all angles are zero
where the structures lie as in the CT.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from ..geometry import se3
from .record import FrameRecord, StructureRecord

AXES = (
    "Axes are those of the CT (patient right, anterior, superior), fixed in each bone; anatomical axes "
    "cannot be known from the CT alone. All angles are 0 where the bones lie as in the CT."
)
_PLAIN = ("about right", "about the floating axis", "about superior")
_KNEE, _WRIST = ("flexion", "adduction", "internal rotation"), ("flexion", "ulnar deviation", "pronation")
_HAND = r"hand|carpals?|metacarpals?|capitate"
# Names of the first and the second bone, angles, and the sign of flexion as a turn about patient right: the
# shank flexes backwards, the hand towards the palm, which faces forwards in the anatomical position.
_JOINTS = (
    ("knee", r"femur", r"tibia", _KNEE, -1.0),
    ("wrist", r"radius", _HAND, _WRIST, 1.0),
)
_SIDE = re.compile(r"(?<![a-z])(left|right|l|r)(?![a-z])")


@dataclass(frozen=True, kw_only=True)
class Joint:
    """Two structures, of which the second one's motion is told as seen from the first.

    Attributes:
        first: name of the one that is taken for fixed.
        second: name of the one that moves.
        name: of the joint, for people to read.
        angles: names of the three angles.
        signs: of the angles, as turns about right, floating and superior axis.
    """

    first: str
    second: str
    name: str
    angles: tuple[str, str, str] = _PLAIN
    signs: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class RelativeMotion:
    """Where one structure is relative to another in a frame, as seen from where both are in the CT.

    Attributes:
        angles_deg: of the joint [deg], by `Joint.angles`.
        shift_mm: of the second structure's centroid, right, anterior and superior in the first one [mm].
        right: whether nothing speaks against either pose.
        expected_error_mm: of a point of the second structure relative to the first one, across the beam and
            in depth, if the errors of both are independent [mm]; None where one is not known.
    """

    angles_deg: tuple[float, float, float]
    shift_mm: tuple[float, float, float]
    right: bool
    expected_error_mm: tuple[float, float] | None = None


def joints_of(names: Sequence[str]) -> list[Joint]:
    """The joints among structures that labels name, and of all others their place relative to the first.

    Args:
        names: of structures, in the order in which they were asked for.
    """
    found = [joint for pair in combinations(names, 2) if (joint := _joint(*pair)) is not None]
    known = {name for joint in found for name in (joint.first, joint.second)}
    others = [name for name in names[1:] if name not in known]
    return [
        *found,
        *(Joint(first=names[0], second=name, name=f"{name} relative to {names[0]}") for name in others),
    ]


def relative_motion(record: FrameRecord, joint: Joint) -> RelativeMotion | None:
    """The motion of a joint in a frame; None where one of its structures has no pose."""
    first, second = (record.structures.get(name) for name in (joint.first, joint.second))
    if first is None or second is None:
        return None
    first_from_second = se3.inverse(first.camera_from_world) @ second.camera_from_world
    centroid = torch.tensor(second.centroid_world, dtype=torch.float64)
    shift = se3.transform_points(first_from_second, centroid[None])[0] - centroid
    angles = joint_angles_deg(first_from_second[:3, :3])
    right_mm, anterior_mm, superior_mm = shift.tolist()
    signed = tuple(sign * angle for sign, angle in zip(joint.signs, angles, strict=True))
    return RelativeMotion(
        angles_deg=(signed[0], signed[1], signed[2]),
        shift_mm=(right_mm, anterior_mm, superior_mm),
        right=_right(record, first) and _right(record, second),
        expected_error_mm=_together(first.expected_error_mm, second.expected_error_mm),
    )


def joint_angles_deg(first_from_second: Tensor) -> tuple[float, float, float]:
    """Turns about the first one's x axis, the floating axis and the second one's z axis [deg].

    A joint coordinate system's angles are those of the sequence R = Rx(a) Ry(b) Rz(c) (Grood & Suntay 1983,
    appendix): the axes of the first and the last turn are fixed in the two bones, that of the second one is
    perpendicular to both. Where the second turn is 90 deg only the sum of the others is known; c is 0 then.

    Args:
        first_from_second: rotation [3, 3].
    """
    r = first_from_second.tolist()
    b = math.asin(max(-1.0, min(1.0, r[0][2])))
    if math.hypot(r[0][0], r[0][1]) < 1e-9:
        return math.degrees(math.atan2(r[2][1], r[1][1])), math.degrees(b), 0.0
    a, c = math.atan2(-r[1][2], r[2][2]), math.atan2(-r[0][1], r[0][0])
    return math.degrees(a), math.degrees(b), math.degrees(c)


def _joint(one: str, other: str) -> Joint | None:
    """The joint of two bones of one side; None where names do not say so."""
    for name, proximal, distal, angles, flexion in _JOINTS:
        for first, second in ((one, other), (other, one)):
            if not (_names(first, proximal) and _names(second, distal)):
                continue
            side = _side(first)
            if side is None or side != _side(second):
                return None
            # The distal end turns towards the patient's left about the floating axis, and its front towards
            # the left about the long axis: inwards on the right side of the body.
            inwards = 1.0 if side == "right" else -1.0
            return Joint(
                first=first,
                second=second,
                name=f"{side} {name}: {second} relative to {first}",
                angles=angles,
                signs=(flexion, inwards, inwards),
            )
    return None


def _names(structure: str, bone: str) -> bool:
    """Whether every part of a structure is such a bone, or one of them and others that move with it."""
    return any(re.search(rf"(?<![a-z])(?:{bone})(?![a-z])", part.lower()) for part in structure.split("+"))


def _side(structure: str) -> str | None:
    sides = {
        found[0] for part in structure.split("+") for found in _SIDE.findall(part.lower().replace("_", " "))
    }
    initials = {side[0] for side in sides}
    return {"l": "left", "r": "right"}[initials.pop()] if len(initials) == 1 else None


def _together(
    one: tuple[float, float] | None, other: tuple[float, float] | None
) -> tuple[float, float] | None:
    if one is None or other is None:
        return None
    return math.hypot(one[0], other[0]), math.hypot(one[1], other[1])


def _right(record: FrameRecord, structure: StructureRecord) -> bool:
    return record.usable and not record.doubts and not structure.doubts
