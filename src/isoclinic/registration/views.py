"""X-rays of one patient, and the positions of their cameras relative to each other."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .._files import read_text, reading
from ..errors import InputError, UsageError
from ..geometry import gantry_view, se3
from ..volumes import XRay, written_poses
from .pose_file import read_initial_pose

_KEY = "view_from_first"
# The first view relative to itself: up to what rounding leaves of a pose times its inverse.
_SAME_ROTATION = 1e-4
_SAME_PLACE_MM = 0.05
# Views are metres from each other's pixels: three decimals of a rotation are half a millimetre there.
_SAID_BEYOND = 1e-4


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """One of several X-rays of a patient who did not move between them.

    Attributes:
        xray: the X-ray with its camera.
        view_from_first: [4, 4], from the first X-ray's camera frame to this one's, mm; None for the first.

    Raises:
        InputError: a matrix that is not rigid.
    """

    xray: XRay
    view_from_first: Any = None

    def __post_init__(self) -> None:
        if self.view_from_first is not None:
            matrix = _one_pose(self.view_from_first, f"{_KEY} of {_name(self.xray)}")
            object.__setattr__(self, "view_from_first", matrix)


def views_from_angles(xrays: Sequence[XRay]) -> tuple[View, ...]:
    """Views of a C-arm that turned about one isocentre, from each X-ray's angles.

    The isocentre lies on the principal axis, `source_isocentre_mm` from the source; patient and table must
    not have moved. See `view` for the angles.

    Raises:
        InputError: an X-ray without an angle or distance; the message names the options that supply them.
    """
    cameras = [_camera_from_gantry(xray) for xray in xrays]
    return _relative(xrays, cameras)


def views_from_file(xrays: Sequence[XRay], path: str | Path) -> tuple[View, ...]:
    """Views from a JSON file: {"view_from_first": [...]}, or that list alone.

    The list has a 4x4 matrix (millimetres) for every X-ray, the first being the identity, or for every one
    but the first.

    Raises:
        InputError: a file that cannot be read, or that says something else.
    """
    with reading(f"view file {path}", code="views.unreadable"):
        try:
            document = json.loads(read_text(Path(path)))
        except (RecursionError, ValueError) as error:
            raise InputError(
                f"{path} is not JSON, so not a view file: {error}", code="views.wrong-kind"
            ) from error
    if isinstance(document, Mapping):
        if _KEY not in document:
            raise InputError(
                f'{path} is not a view file: it lacks "{_KEY}"; give a list of 4x4 matrices, or the pose '
                "files of all X-rays",
                code="views.wrong-kind",
            )
        document = document[_KEY]
    count = len(document) if isinstance(document, list) else 0
    if count not in (len(xrays), len(xrays) - 1) or not count:
        raise InputError(
            f"{path}: {_KEY} must be a list of {len(xrays) - 1} 4x4 matrices, one for every X-ray after the "
            f"first, or of {len(xrays)}, but holds {count}",
            code="views.invalid-value",
        )
    matrices = [_one_pose(matrix, f"{path}: {_KEY}[{index}]") for index, matrix in enumerate(document)]
    if count == len(xrays):
        _check_identity(matrices.pop(0), f"{path}: {_KEY}[0]")
    return (View(xray=xrays[0]), *_views(xrays[1:], matrices))


def views_from_poses(xrays: Sequence[XRay], paths: Sequence[str | Path]) -> tuple[View, ...]:
    """Views from pose files, one for every X-ray, whose poses are right relative to each other.

    They may be poses of a calibration phantom: all that is used is how the cameras lie.

    Raises:
        InputError: a number of files other than that of the X-rays, or one that cannot be used.
    """
    if len(paths) != len(xrays):
        raise InputError(
            f"{len(xrays)} X-rays need one pose file each, not {len(paths)}",
            code="views.wrong-count",
        )
    return _relative(xrays, [read_initial_pose(path) for path in paths])


def stacked_views(views: Sequence[View]) -> Tensor:
    """view_from_first [V, 4, 4] of all views, checked.

    Raises:
        UsageError: no view, a first one that is not its own reference, or others without geometry.
    """
    if not views:
        raise UsageError("a registration needs at least one X-ray", code="views.wrong-count")
    identity = torch.eye(4, dtype=torch.float64)
    if views[0].view_from_first is not None:
        _check_identity(views[0].view_from_first, f"{_KEY} of the first X-ray, {_name(views[0].xray)},")
    for view in views[1:]:
        if view.view_from_first is None:
            raise UsageError(
                f"the relative geometry of {_name(views[0].xray)} and {_name(view.xray)} is unknown: take it "
                f"from the C-arm angles, from pose files of both, or from a file with {_KEY}",
                code="views.geometry-missing",
            )
    return torch.stack([identity, *(view.view_from_first for view in views[1:])])


def _relative(xrays: Sequence[XRay], cameras_from_common: Sequence[Tensor]) -> tuple[View, ...]:
    common_from_first = se3.inverse(cameras_from_common[0])
    matrices = [camera @ common_from_first for camera in cameras_from_common[1:]]
    return (View(xray=xrays[0]), *_views(xrays[1:], matrices))


def _views(xrays: Sequence[XRay], matrices: Sequence[Tensor]) -> list[View]:
    return [View(xray=xray, view_from_first=matrix) for xray, matrix in zip(xrays, matrices, strict=True)]


def camera_from_gantry(xray: XRay) -> Tensor | None:
    """Pose [4, 4] of a C-arm's camera about its isocentre, by the X-ray's angles; None where it lacks one."""
    primary, secondary = xray.primary_angle_deg, xray.secondary_angle_deg
    if primary is None or secondary is None or xray.source_isocentre_mm is None:
        return None
    return gantry_view(primary, secondary, xray.source_isocentre_mm)


def _camera_from_gantry(xray: XRay) -> Tensor:
    needed = {
        "primary_angle_deg": xray.primary_angle_deg,
        "secondary_angle_deg": xray.secondary_angle_deg,
        "source_isocentre_mm (`source_isocentre_mm`)": xray.source_isocentre_mm,
    }
    missing = [name for name, value in needed.items() if value is None]
    if missing:
        raise InputError(
            f"{_name(xray)} does not say where its camera is: it lacks {' and '.join(missing)}; supply it in "
            "its header, or give the relative geometry of all X-rays in a file (`views`)",
            code="views.geometry-missing",
        )
    primary, secondary, distance = needed.values()
    assert primary is not None and secondary is not None and distance is not None
    return gantry_view(primary, secondary, distance)


def _check_identity(matrix: Tensor, name: str) -> None:
    off = (matrix - torch.eye(4, dtype=torch.float64)).abs()
    if off[:3, :3].max() > _SAME_ROTATION or off[:3, 3].max() > _SAME_PLACE_MM:
        raise UsageError(
            f"{name} must be the identity, because the transforms are relative to the first X-ray",
            code="views.invalid-value",
        )


def _one_pose(matrix: Any, name: str) -> Tensor:
    poses = written_poses(matrix, name, said_beyond=_SAID_BEYOND)
    if len(poses) != 1:
        raise InputError(f"{name} must be one 4x4 matrix, not {len(poses)}", code="views.wrong-shape")
    return poses[0]


def _name(xray: XRay) -> str:
    return str(xray.path or "an X-ray")
