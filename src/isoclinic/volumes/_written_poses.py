"""Poses as people and programs write them, with few digits."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ..geometry import nearest_poses
from ._warnings import warn_geometry

# Of an entry of a rotation: beyond what three decimals leave.
_SAID_BEYOND = 1e-3


def written_poses(poses: Any, name: str, *, said_beyond: float = _SAID_BEYOND) -> Tensor:
    """Rigid transforms nearest to what was written, float64 [B, 4, 4]; see `geometry.nearest_poses`.

    Args:
        poses: tensor, array or nested lists of shape [4, 4] or [B, 4, 4].
        name: the option, file or argument they come from.
        said_beyond: largest change of an entry of a rotation without a warning.

    Raises:
        InputError: as for `geometry.nearest_poses`.

    Warns:
        GeometryWarning: rotations that were changed by more than `said_beyond`.
    """
    nearest, changes = nearest_poses(poses, name)
    if max(changes) > said_beyond:
        warn_geometry(
            f"{name}: its matrix differs from a rotation by up to {max(changes):.2g}, as if it had been "
            "rounded; the nearest rotation is used; write the matrix with more decimals"
        )
    return nearest
