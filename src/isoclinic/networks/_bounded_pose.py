"""The last step of pose regressors: raw numbers become a motion within reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from ..errors import UsageError
from ..geometry import se3, so3, so4

Head = Literal["so4", "quaternion", "matrix"]
Triple = tuple[float, float, float]

_OUTPUTS: dict[Head, int] = {"so4": 8, "quaternion": 7, "matrix": 9}


@dataclass(frozen=True, kw_only=True)
class BoundedPoseConfig:
    """What a pose regressor emits, and its reach.

    Attributes:
        head: what the network emits: two quaternions ("so4"), a quaternion and a translation, or the first
            two columns of a rotation matrix and a translation (Zhou et al. 2019); the last two as ablations.
        length_mm: characteristic length L of the SO(4) head, that of the `PoseSpace` it is trained in.
        rotation_deg: largest rotation vector about the camera's x, y, z [deg].
        translation_mm: largest translation of the isocentre along x, y, z (for "so4" each on its own) [mm].
    """

    head: Head = "so4"
    length_mm: float = 100.0
    rotation_deg: Triple = (60.0, 75.0, 45.0)
    translation_mm: Triple = (90.0, 90.0, 225.0)

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise UsageError(f"head must be one of {', '.join(get_args(Head))}, not {self.head!r}")
        if not all(bound > 0 for bound in (*self.rotation_deg, *self.translation_mm, self.length_mm)):
            raise UsageError("rotation_deg, translation_mm and length_mm must be positive")
        if math.hypot(*self.rotation_deg) >= 180:
            raise UsageError(f"rotation_deg {self.rotation_deg} must together stay below 180 degrees")
        if math.hypot(*self.translation_angles) >= math.pi / 2:
            raise UsageError(
                f"translation_mm {self.translation_mm} reaches too far for length_mm {self.length_mm}: "
                "the angles arctan(translation / 2 length) must together stay below 90 degrees"
            )

    @property
    def translation_angles(self) -> Triple:
        """What the largest translations are in SO(4), arctan(t / 2L) [rad]."""
        x, y, z = (math.atan(t / (2 * self.length_mm)) for t in self.translation_mm)
        return x, y, z


class BoundedPose:
    """Raw numbers [B, `outputs`] to motions [B, 4, 4] of a `PoseSpace`, in float64.

    All heads are bounded smoothly by `r tanh(x / r)` per axis and start at the nominal view. The SO(4) head
    bounds the logarithm (a, b) of its two quaternions: half the sum (a + b) / 2 is the rotation vector, half
    the difference is the angle arctan(|t| / 2L) along the translation t. Exponentials on the sphere do not
    enlarge distances, so every element predicted is the projection of a pose (`so4.to_se3`).
    """

    def __init__(self, config: BoundedPoseConfig) -> None:
        self.config = config

    @property
    def outputs(self) -> int:
        """Raw numbers a motion is made of."""
        return _OUTPUTS[self.config.head]

    @staticmethod
    def start_nominal(last: nn.Linear) -> None:
        """Give the layer that emits the raw numbers its first weights: motions about the nominal view."""
        nn.init.normal_(last.weight, std=1e-2 / math.sqrt(last.in_features))
        nn.init.zeros_(last.bias)

    def __call__(self, raw: Tensor) -> Tensor:
        """Motion [B, 4, 4] float64 of raw numbers [B, `outputs`] of any type."""
        raw = raw.double()
        match self.config.head:
            case "so4":
                return self._from_so4(raw)
            case "quaternion":
                return self._from_quaternion(raw)
            case "matrix":
                return self._from_matrix(raw)

    def _from_so4(self, raw: Tensor) -> Tensor:
        pair = raw.unflatten(-1, (2, 4)) + so4.identity(device=raw.device)
        left, right = so4.log(pair / torch.linalg.vector_norm(pair, dim=-1, keepdim=True)).split(3, -1)
        rotation = self._bounded_rotation((left + right) / 2)
        shift = _bounded((left - right) / 2, self.config.translation_angles)
        return so4.to_se3(so4.exp(torch.cat([rotation + shift, rotation - shift], -1)), self.config.length_mm)

    def _from_quaternion(self, raw: Tensor) -> Tensor:
        identity = so4.identity(device=raw.device)[0]
        return self._rigid(so3.matrix_from_quaternion(raw[:, :4] + identity), raw[:, 4:])

    def _from_matrix(self, raw: Tensor) -> Tensor:
        first, second = (raw[:, :6].unflatten(-1, (2, 3)) + torch.eye(3, device=raw.device)[:2]).unbind(-2)
        x = first / torch.linalg.vector_norm(first, dim=-1, keepdim=True)
        y = second - (x * second).sum(-1, keepdim=True) * x
        y = y / torch.linalg.vector_norm(y, dim=-1, keepdim=True)
        return self._rigid(torch.stack([x, y, torch.linalg.cross(x, y)], -1), raw[:, 6:])

    def _rigid(self, rotation: Tensor, raw_translation: Tensor) -> Tensor:
        bound = self.config.translation_mm
        # The raw numbers of all heads are of the order of radians.
        translation = _bounded(2 * self.config.length_mm * raw_translation, bound)
        return se3.rigid(so3.exp(self._bounded_rotation(so3.log(rotation))), translation)

    def _bounded_rotation(self, vector: Tensor) -> Tensor:
        x, y, z = (math.radians(bound) for bound in self.config.rotation_deg)
        return _bounded(vector, (x, y, z))


def _bounded(x: Tensor, bound: Triple) -> Tensor:
    limit = x.new_tensor(bound)
    return limit * (x / limit).tanh()
