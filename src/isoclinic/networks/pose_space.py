"""Poses as SO(4) elements about a nominal view: what networks predict and what they are compared in."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ..errors import UsageError
from ..geometry import as_poses, se3, so4

Rows = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class PoseSpace:
    """Camera poses relative to a nominal view, and their distance.

    The motion of a pose is how the patient moved from the nominal view, in camera axes, about the isocentre:
    the rotation turns it there and the translation is how far the isocentre went. It is small for every
    view near the nominal one, as the projection onto SO(4) wants it (`so4.recentre`).

    Attributes:
        nominal_camera_from_world: 4x4, rows.
        isocentre_world: point of the CT that motions turn about [mm].
        length_mm: characteristic length L: 2L millimetres of translation count about like one radian.

    Raises:
        InputError: a nominal view that is not a rigid transform.
        UsageError: a length that is not positive.
    """

    nominal_camera_from_world: Rows
    isocentre_world: tuple[float, float, float]
    length_mm: float

    def __post_init__(self) -> None:
        as_poses(self.nominal_camera_from_world, "nominal_camera_from_world")
        if not self.length_mm > 0:
            raise UsageError(f"length_mm must be positive, not {self.length_mm}", code="model.invalid-value")

    @classmethod
    def about(cls, camera_from_world: Any, isocentre_world: Any, length_mm: float) -> PoseSpace:
        """Space about the pose [4, 4] and the point [3] [mm], both tensors, arrays or lists.

        Raises:
            InputError, UsageError: as the constructor.
        """
        (pose,) = as_poses(camera_from_world, "camera_from_world")
        x, y, z = torch.as_tensor(isocentre_world, dtype=torch.float64).tolist()
        rows = tuple(tuple(row) for row in pose.tolist())
        return cls(nominal_camera_from_world=rows, isocentre_world=(x, y, z), length_mm=length_mm)

    def about_isocentre(self, isocentre_world: Tensor) -> PoseSpace:
        """The same view of another CT, whose isocentre [3] [mm] lies where that of this one did."""
        moved = se3.rigid(torch.eye(3, dtype=torch.float64), self.isocentre - isocentre_world.double())
        return PoseSpace.about(self._nominal @ moved, isocentre_world, self.length_mm)

    @cached_property
    def _nominal(self) -> Tensor:
        return torch.tensor(self.nominal_camera_from_world, dtype=torch.float64)

    @cached_property
    def isocentre(self) -> Tensor:
        """`isocentre_world` [3], float64."""
        return torch.tensor(self.isocentre_world, dtype=torch.float64)

    @cached_property
    def _recentred_nominal(self) -> Tensor:
        """The nominal view between frames with their origins at the isocentre: a rotation."""
        return so4.recentre(self._nominal, self._isocentre_camera, self.isocentre)

    @cached_property
    def _isocentre_camera(self) -> Tensor:
        return self._nominal[:3, :3] @ self.isocentre + self._nominal[:3, 3]

    def motion(self, camera_from_world: Tensor) -> Tensor:
        """Motion [..., 4, 4] from the nominal view to poses [..., 4, 4] float64."""
        recentred = so4.recentre(
            camera_from_world, *self._on(camera_from_world, self._isocentre_camera, self.isocentre)
        )
        return recentred @ self._recentred_nominal.to(recentred.device).mT

    def pose(self, motion: Tensor) -> Tensor:
        """The camera_from_world [..., 4, 4] float64 that a motion [..., 4, 4] leads to."""
        motion = motion.double()
        recentred = motion @ self._recentred_nominal.to(motion.device)
        return so4.recentre(recentred, *self._on(motion, -self._isocentre_camera, -self.isocentre))

    def element(self, camera_from_world: Tensor) -> Tensor:
        """SO(4) element [..., 2, 4] of the motion to poses [..., 4, 4]; the nominal view is the identity."""
        return so4.from_se3(self.motion(camera_from_world), self.length_mm)

    def squared_distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Squared geodesic distance [...] [rad^2] of two poses [..., 4, 4] in SO(4)."""
        return so4.squared_distance(self.element(a), self.element(b))

    def squared_distance_gradient(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Gradient [B, 6] of `squared_distance` as the moving pose [B, 4, 4] moves along `se3.perturb`."""
        centre = self.isocentre.to(moving.device)
        with torch.enable_grad():
            tangent = moving.new_zeros(len(moving), 6, requires_grad=True)
            distance = self.squared_distance(se3.perturb(moving, tangent, centre), fixed)
            (gradient,) = torch.autograd.grad(distance.sum(), tangent)
        return gradient

    @staticmethod
    def _on(like: Tensor, *points: Tensor) -> list[Tensor]:
        return [point.to(like.device) for point in points]
