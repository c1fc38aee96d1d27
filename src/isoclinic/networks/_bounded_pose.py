"""The last step of pose regressors: raw numbers become a motion within reach."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ..geometry import se3, so3, so4
from .config import BoundedPoseConfig, Head, Triple

_OUTPUTS: dict[Head, int] = {"so4": 8, "quaternion": 7, "matrix": 9}


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
